"""Propagation rules as sums over single connections, written from the papers' equations.

A linear operation is its matrix of connections W (outputs, inputs) with biases b; z_ji = W_ji x_i is one connection.
`relevance[j]` arrives at output j, the result is what each input i gets.
"""

import numpy as np


def connections(apply, x):
    """The matrix (outputs, inputs) of a bias-free linear operation on ONE sample x, one unit input at a time."""
    size = x.numel()
    columns = []
    for i in range(size):
        unit = x.new_zeros(size)
        unit[i] = 1.0
        columns.append(apply(unit.view(1, *x.shape)).flatten().numpy())
    return np.stack(columns, 1)


def sign(z):
    return 1.0 if z >= 0 else -1.0


def sized(eps, denominators, relative):
    """ε itself, or its share of the mean magnitude of a layer's denominators, biases left out."""
    if not relative:
        return eps
    size = sum(abs(d) for d in denominators) / len(denominators)
    return eps * (size if size > 0 else 1.0)


def signed_sums(W, x):
    """For each output the sums of positive and of negative contributions."""
    sums = []
    for j in range(len(W)):
        z = [W[j, i] * x[i] for i in range(len(x))]
        sums.append((sum(max(c, 0.0) for c in z), sum(min(c, 0.0) for c in z)))
    return sums


def epsilon(W, b, x, relevance, *, eps, relative=False):
    """Bach et al. 2015, eq. 58."""
    result = np.zeros(len(x))
    outputs = [sum(W[j, i] * x[i] for i in range(len(x))) + b[j] for j in range(len(W))]
    eps = sized(eps, [z - b[j] for j, z in enumerate(outputs)], relative)
    for j, z in enumerate(outputs):
        for i in range(len(x)):
            result[i] += W[j, i] * x[i] / (z + eps * sign(z)) * relevance[j]
    return result


def alpha_beta(W, b, x, relevance, *, alpha, beta, eps, count_bias=False, conserving=False, relative=False):
    """Bach et al. 2015, eq. 60."""
    result = np.zeros(len(x))
    rises, falls = zip(*signed_sums(W, x), strict=True)
    eps_above, eps_below = sized(eps, rises, relative), sized(eps, falls, relative)
    for j in range(len(W)):
        z = [W[j, i] * x[i] for i in range(len(x))]
        above = sum(max(c, 0.0) for c in z) + (max(b[j], 0.0) if count_bias else 0.0)
        below = sum(min(c, 0.0) for c in z) + (min(b[j], 0.0) if count_bias else 0.0)
        a, c_ = alpha, beta
        if conserving and below == 0:
            a = 1.0
        if conserving and above == 0:
            c_ = -1.0
        for i, c in enumerate(z):
            result[i] += a * max(c, 0.0) / (above + eps_above) * relevance[j]
            if c < 0:
                result[i] -= c_ * c / (below - eps_below) * relevance[j]
    return result


def lost(W, x, relevance, *, alpha, beta):
    """What neurons without a contribution of a sign do not hand on under α and β: relevance[j] is R_j."""
    total = 0.0
    for j in range(len(W)):
        z = [W[j, i] * x[i] for i in range(len(x))]
        if not any(c > 0 for c in z):
            total += alpha * relevance[j]
        if not any(c < 0 for c in z):
            total -= beta * relevance[j]
    return total


def adaptive_beta(W, b, x, relevance, *, maximum, eps, code=False, relative=False):
    """Binder et al. 2023, A.2, eq. 1 solved for β."""
    result = np.zeros(len(x))
    rises, falls = zip(*signed_sums(W, x), strict=True)
    eps_above, eps_below = sized(eps, rises, relative), sized(eps, falls, relative)
    for j in range(len(W)):
        z = [W[j, i] * x[i] for i in range(len(x))]
        P, M = sum(max(c, 0.0) for c in z), -sum(min(c, 0.0) for c in z)
        if code:
            total = sum(z) + b[j]
            beta = min(M / total, maximum) if total > 0 else 0.0
        elif M == 0:
            beta = 0.0
        else:
            beta = min(M / (P - M), maximum) if P > M else maximum
        for i, c in enumerate(z):
            result[i] += (1 + beta) * max(c, 0.0) / (P + eps_above) * relevance[j]
            if c < 0:
                result[i] -= beta * c / (-M - eps_below) * relevance[j]
    return result


def gamma(W, b, x, relevance, *, gamma, eps, count_bias=True, relative=False):
    """Montavon et al. 2019, with the favored sign that of z; each sign has a size of its own."""
    result = np.zeros(len(x))

    def parts_and_sum(j, favored):
        parts = [W[j, i] * x[i] + gamma * favored(W[j, i] * x[i]) for i in range(len(x))]
        return parts, sum(parts) + ((b[j] + gamma * favored(b[j])) if count_bias else 0.0)

    rising, falling = (lambda c: max(c, 0.0)), (lambda c: min(c, 0.0))
    least = {f: sized(eps, [sum(parts_and_sum(j, f)[0]) for j in range(len(W))], relative) for f in (rising, falling)}
    for j in range(len(W)):
        total = sum(W[j, i] * x[i] for i in range(len(x))) + b[j]
        if total == 0:
            continue
        favored = rising if total > 0 else falling
        (parts, den), eps = parts_and_sum(j, favored), least[favored]
        for i, c in enumerate(parts):
            result[i] += c / (den + eps * sign(den)) * relevance[j]
    return result


def flat(W, relevance, *, reached, eps, relative=False):
    """Every input that reaches the output gets the same; `reached` is 1 for a connection, also one of weight 0."""
    result = np.zeros(W.shape[1])
    eps = sized(eps, [row.sum() for row in reached], relative)
    for j in range(len(W)):
        for i in range(W.shape[1]):
            result[i] += reached[j, i] / (reached[j].sum() + eps) * relevance[j]
    return result


def w_square(W, relevance, *, eps, relative=False):
    """Montavon et al. 2017, eq. 10."""
    result = np.zeros(W.shape[1])
    eps = sized(eps, [(row**2).sum() for row in W], relative)
    for j in range(len(W)):
        for i in range(W.shape[1]):
            result[i] += W[j, i] ** 2 / ((W[j] ** 2).sum() + eps) * relevance[j]
    return result


def box(W, x, relevance, *, low, high, eps, relative=False):
    """Montavon et al. 2017, eq. 14."""
    result = np.zeros(len(x))
    shares = [
        [W[j, i] * x[i] - low[i] * max(W[j, i], 0) - high[i] * min(W[j, i], 0) for i in range(len(x))]
        for j in range(len(W))
    ]
    eps = sized(eps, [sum(parts) for parts in shares], relative)
    for j, parts in enumerate(shares):
        for i, c in enumerate(parts):
            result[i] += c / (sum(parts) + eps) * relevance[j]
    return result


def reveal_cancel(f, W, b, x, x_bar, relevance):
    """Shrikumar et al. 2017, eq. 11 and 12: what f(Wx + b) hands back to x, relevance given a unit of f's output."""
    result = np.zeros(len(x))
    for j in range(len(W)):
        z_bar = sum(W[j, i] * x_bar[i] for i in range(len(x))) + b[j]
        parts = [W[j, i] * (x[i] - x_bar[i]) for i in range(len(x))]
        up, down = sum(max(c, 0.0) for c in parts), sum(min(c, 0.0) for c in parts)
        d_up = (f(z_bar + up) - f(z_bar) + f(z_bar + up + down) - f(z_bar + down)) / 2
        d_down = (f(z_bar + down) - f(z_bar) + f(z_bar + up + down) - f(z_bar + up)) / 2
        for i, c in enumerate(parts):
            if c > 0:
                result[i] += d_up * c / up * relevance[j]
            elif c < 0:
                result[i] += d_down * c / down * relevance[j]
    return result


def logarithmic_mean(p, q, *, points=200):
    """∫₀¹ q^(1−t) p^t dt, by Gauss–Legendre quadrature: not the closed form."""
    if p == 0 or q == 0:
        return 0.0
    nodes, weights = np.polynomial.legendre.leggauss(points)
    return sum(w / 2 * q ** (1 - (t + 1) / 2) * p ** ((t + 1) / 2) for t, w in zip(nodes, weights, strict=True))


def softmax_secant(x, bar):
    """The multipliers (outputs, inputs) of a softmax, L_i (δ_ij − L_j/ΣL), and those of logsumexp."""
    p, q = ([np.exp(v - max(t)) / sum(np.exp(u - max(t)) for u in t) for v in t] for t in (x, bar))
    means = [logarithmic_mean(a, b) for a, b in zip(p, q, strict=True)]
    total = sum(means)
    rows = [[means[i] * ((i == j) - means[j] / total) for j in range(len(x))] for i in range(len(x))]
    return np.array(rows), np.array([mean / total for mean in means])


def normalization_secant(x, bar, *, eps, centered):
    """The multipliers (outputs, inputs) of d·r with r = 1/√(s² + ε) and s² = mean d².

    Δd (θr + (1−θ)r̄) + ((1−θ)d + θd̄) Δr, with θ = s/(s + s̄).
    """
    n = len(x)
    d, e = ([v - sum(t) / n if centered else v for v in t] for t in (x, bar))
    s, z = (np.sqrt(sum(v * v for v in t) / n) for t in (d, e))
    r, q = (1 / np.sqrt(size**2 + eps) for size in (s, z))
    theta = s / (s + z) if s + z > 0 else 0.5
    result = np.zeros((n, n))
    for i in range(n):
        for k in range(n):  # with respect to the deviation k
            of_root = -r * q / (1 / r + 1 / q) * (d[k] + e[k]) / n
            slope = (i == k) * (theta * r + (1 - theta) * q) + ((1 - theta) * d[i] + theta * e[i]) * of_root
            for j in range(n):
                result[i, j] += slope * ((k == j) - (1 / n if centered else 0.0))
    return result


def quotient_secant(a, d, a_bar, d_bar):
    """The multipliers of a and d in a/d: mediants of the slopes at both ends."""
    return 2 / (d + d_bar), -(a / d + a_bar / d_bar) / (d + d_bar)
