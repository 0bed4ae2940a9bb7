"""Slow twin of meaningful perturbation: one image at a time, masks and penalties cell by cell, Adam by hand."""

import math

import torch

from heatproof import draws


def enlarged(m, height, width, scale, sigma):
    """Cells repeated to pixels, then averaged with Gaussian weights that reach to 3σ and stop at the border."""
    reach = int(3 * sigma + 0.5)
    taps = [math.exp(-(a**2) / (2 * sigma**2)) for a in range(-reach, reach + 1)]
    rows = []
    for i in range(height):
        for j in range(width):
            total = 0.0
            for a in range(-reach, reach + 1):
                for b in range(-reach, reach + 1):
                    y, x = min(max(i + a, 0), height - 1), min(max(j + b, 0), width - 1)
                    total = total + taps[a + reach] * taps[b + reach] / sum(taps) ** 2 * m[y // scale, x // scale]
            rows.append(total)
    return torch.stack(rows).view(height, width)


def loss(model, x, background, target, M, m, area, variation, power):
    """λ₁ Σ |1 − m| + λ₂ Σ ‖∇m‖^β + p_c(M ⊙ x + (1 − M) ⊙ x̄)."""
    result = model((M * x + (1 - M) * background)[None]).softmax(1)[0, target]
    h, w = m.shape
    for i in range(h):
        for j in range(w):
            result = result + area * (1 - m[i, j]).abs()
            down = m[i + 1, j] - m[i, j] if i + 1 < h else torch.zeros(())
            right = m[i, j + 1] - m[i, j] if j + 1 < w else torch.zeros(())
            if float((down**2 + right**2).detach()) > 1e-12:
                result = result + variation * (down**2 + right**2) ** (power / 2)
    return result


def meaningful_perturbation(model, x, background, target, start, method):
    """R = 1 − M (H, W) of one image, from the mask `start` (h, w), with the fields of `method`."""
    height, width = x.shape[1:]
    key, marks = (method.seed, "meaningful-perturbation"), draws.marks(x[None])
    shifts = draws.integers(method.jitter, (method.steps, 2), *key, samples=marks)[0].tolist()
    m, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step, (down, right) in enumerate(shifts, start=1):
        rows = [min(i + down, height - 1) for i in range(height)]
        columns = [min(j + right, width - 1) for j in range(width)]
        seen, behind = x[:, rows][:, :, columns], background[:, rows][:, :, columns]
        m.requires_grad_()
        M = enlarged(m, height, width, method.scale, method.mask_sigma)
        value = loss(model, seen, behind, target, M, m, method.area, method.variation, method.power)
        (gradient,) = torch.autograd.grad(value, m)
        m = m.detach()
        for i in range(m.shape[0]):
            for j in range(m.shape[1]):
                mean[i, j] = 0.9 * mean[i, j] + 0.1 * gradient[i, j]
                square[i, j] = 0.999 * square[i, j] + 0.001 * gradient[i, j] ** 2
                change = mean[i, j] / (1 - 0.9**step) / (math.sqrt(square[i, j] / (1 - 0.999**step)) + 1e-8)
                m[i, j] = min(max(float(m[i, j] - method.rate * change), 0.0), 1.0)
    return 1 - enlarged(m, height, width, method.scale, method.mask_sigma)
