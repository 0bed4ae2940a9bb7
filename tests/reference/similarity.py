"""Slow twins of similarity measures, written again from the papers' equations with scalar loops."""

import math


def pearson(a, b):
    """Σ(a−ā)(b−b̄) / √(Σ(a−ā)² Σ(b−b̄)²) of two lists."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    product = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a = math.fsum((x - mean_a) ** 2 for x in a)
    square_b = math.fsum((y - mean_b) ** 2 for y in b)
    return product / math.sqrt(square_a * square_b)


def average_ranks(values):
    """The mean of the places 1 … F that a value and its equals take in increasing order."""
    ranks = []
    for value in values:
        below = sum(1 for other in values if other < value)
        equal = sum(1 for other in values if other == value)
        places = [below + 1 + k for k in range(equal)]
        ranks.append(sum(places) / equal)
    return ranks


def spearman(a, b):
    return pearson(average_ranks(a), average_ranks(b))


def max_abs(image):
    """001, A: values in [−1, 1]."""
    largest = max(abs(value) for row in image for value in row)
    return [[value / largest for value in row] for row in image]


def second_moment(image):
    """002, eq. 11."""
    values = [value for row in image for value in row]
    root = math.sqrt(math.fsum(value**2 for value in values) / len(values))
    return [[value / root for value in row] for row in image]


def min_max(image):
    low, high = min(map(min, image)), max(map(max, image))
    return [[(value - low) / (high - low) for value in row] for row in image]


def percentile(image):
    """004, G.1: clamped at the 1st and 99th percentile, between neighbors by linear interpolation, then to [0, 1]."""
    ordered = sorted(value for row in image for value in row)

    def at(percent):
        position = percent / 100 * (len(ordered) - 1)
        below = math.floor(position)
        share = position - below
        return ordered[below] * (1 - share) + ordered[min(below + 1, len(ordered) - 1)] * share

    low, high = at(1), at(99)
    return [[(min(max(value, low), high) - low) / (high - low) for value in row] for row in image]


def box_weights(size):
    return [[1 / size**2] * size for _ in range(size)]


def gaussian_weights(size, sigma):
    half = size // 2
    raw = [[math.exp(-((i - half) ** 2 + (j - half) ** 2) / (2 * sigma**2)) for j in range(size)] for i in range(size)]
    total = sum(map(sum, raw))
    return [[value / total for value in row] for row in raw]


def ssim(a, b, weights, data_range):
    """Wang et al. 2004, eq. 13–16, at every window inside; sample variances."""
    size = len(weights)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    sample = size**2 / (size**2 - 1)
    values = []
    for top in range(len(a) - size + 1):
        for left in range(len(a[0]) - size + 1):
            window = [
                (weights[i][j], a[top + i][left + j], b[top + i][left + j]) for i in range(size) for j in range(size)
            ]
            mean_a = math.fsum(w * x for w, x, _ in window)
            mean_b = math.fsum(w * y for w, _, y in window)
            variance_a = sample * math.fsum(w * (x - mean_a) ** 2 for w, x, _ in window)
            variance_b = sample * math.fsum(w * (y - mean_b) ** 2 for w, _, y in window)
            covariance = sample * math.fsum(w * (x - mean_a) * (y - mean_b) for w, x, y in window)
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
            values.append(luminance * structure)
    return math.fsum(values) / len(values)


def hog(image, cell):
    """Dalal and Triggs 2005: cell by cell, then block by block; 9 directions, 3 × 3 cells a block, L2-Hys."""
    height, width = len(image), len(image[0])

    def down(i, j):
        return image[i + 1][j] - image[i - 1][j] if 0 < i < height - 1 else 0.0

    def across(i, j):
        return image[i][j + 1] - image[i][j - 1] if 0 < j < width - 1 else 0.0

    rows, columns = height // cell, width // cell
    histograms = [[[0.0] * 9 for _ in range(columns)] for _ in range(rows)]
    for i in range(rows * cell):
        for j in range(columns * cell):
            angle = math.degrees(math.atan2(down(i, j), across(i, j))) % 180
            direction = min(int(angle / 20), 8)
            histograms[i // cell][j // cell][direction] += math.hypot(down(i, j), across(i, j)) / cell**2
    descriptor = []
    for top in range(rows - 2):
        for left in range(columns - 2):
            block = [value for i in range(3) for j in range(3) for value in histograms[top + i][left + j]]
            descriptor += normalized_block([min(value, 0.2) for value in normalized_block(block)])
    return descriptor


def normalized_block(block):
    length = math.sqrt(math.fsum(value**2 for value in block) + 1e-5**2)
    return [value / length for value in block]


def mse(a, b):
    pairs = [(x, y) for row_a, row_b in zip(a, b, strict=True) for x, y in zip(row_a, row_b, strict=True)]
    return math.fsum((x - y) ** 2 for x, y in pairs) / len(pairs)


def histogram_entropy(values, low, high, bins):
    """−Σ p log₂ p over `bins` equal bins from low to high, each open above but for the last."""
    edges = [low + (high - low) * k / bins for k in range(bins + 1)]
    counts = [0] * bins
    for value in values:
        counts[next((k for k in range(bins) if value < edges[k + 1]), bins - 1)] += 1
    shares = [count / len(values) for count in counts if count]
    return -math.fsum(share * math.log2(share) for share in shares)


def entropy_rise(trained, random, bins, *, shared=True):
    """Hedström et al. 2024, Efficient MPRT: maps by their second moment, then (H(random) − H(trained)) / H(trained)."""
    maps = [[v for row in second_moment(image) for v in row] for image in (trained, random)]
    both = maps[0] + maps[1]
    ends = [(min(both), max(both)) if shared else (min(one), max(one)) for one in maps]
    before, after = (histogram_entropy(one, *end, bins) for one, end in zip(maps, ends, strict=True))
    return (after - before) / before
