"""Slow twins of checks: scalar loops over one image and one method at a time, from the papers' equations."""

import math

from reference.similarity import pearson


def flat(values):
    """Every number of a nested list, in order."""
    if not isinstance(values, list):
        return [values]
    return [number for part in values for number in flat(part)]


def share_of_zeros(*maps):
    """How many features are exactly 0 in every one of the maps, as a share."""
    together = list(zip(*(flat(one) for one in maps), strict=True))
    return sum(1 for values in together if all(value == 0 for value in values)) / len(together)


def relative_energy(one, trained):
    """Σ map² / Σ trained²; NaN where the trained map is all zero."""
    below = math.fsum(value * value for value in flat(trained))
    return math.fsum(value * value for value in flat(one)) / below if below > 0 else math.nan


def score_of(model, image, label):
    """S_c of one image, alone in its batch."""
    return float(model(image[None])[0, label].detach())


def without(image, features, baseline):
    """The image with the pixels (row, column) at the baseline (C, H, W), in every channel."""
    changed = image.clone()
    for row, column in features:
        for channel in range(len(image)):
            changed[channel, row, column] = baseline[channel, row, column]
    return changed


def sensitivity_n(model, image, label, attribution, sets, baseline):
    """003, section 4: Pearson over sets of pixels between Σ_{i∈T} R_i and S_c(x) − S_c(x without T)."""
    sums, losses = [], []
    for pixels in sets:
        sums.append(math.fsum(float(attribution[:, row, column].sum()) for row, column in pixels))
        losses.append(score_of(model, image, label) - score_of(model, without(image, pixels, baseline), label))
    return pearson(sums, losses)


def inside(boxes, row, column):
    return any(left <= column < right and top <= row < bottom for left, top, right, bottom in boxes)


def box_ratio(attribution, boxes):
    """004, 4.5: of the n highest pixels of a map (H, W) without ties, n being the boxes' size, the share inside."""
    height, width = attribution.shape
    pixels = [(row, column) for row in range(height) for column in range(width)]
    size = sum(1 for row, column in pixels if inside(boxes, row, column))
    highest = sorted(pixels, key=lambda at: float(attribution[at]), reverse=True)[:size]
    return sum(1 for row, column in highest if inside(boxes, row, column)) / size


def probability_of(model, image, label):
    return float(model(image[None]).softmax(1)[0, label].detach())


def tiles_of(height, width, size):
    """The pixels of each tile, in reading order; tiles at the edges may be smaller."""
    return [
        [
            (row, column)
            for row in range(top, min(top + size, height))
            for column in range(left, min(left + size, width))
        ]
        for top in range(0, height, size)
        for left in range(0, width, size)
    ]


def degradation_curve(model, image, label, attribution, size, baseline, *, most_first, counts):
    """004, 4.6: p(y|x) with the first `counts` tiles, by attribution without ties, replaced in the original."""
    tiles = tiles_of(*image.shape[1:], size)
    sums = [sum(float(attribution[:, row, column].sum()) for row, column in tile) for tile in tiles]
    order = sorted(range(len(tiles)), key=lambda t: sums[t], reverse=most_first)
    curve = []
    for count in counts:
        pixels = [pixel for t in order[:count] for pixel in tiles[t]]
        curve.append(probability_of(model, without(image, pixels, baseline), label))
    return curve


def area(positions, values):
    """By trapezoids."""
    return sum((positions[k + 1] - positions[k]) * (values[k + 1] + values[k]) / 2 for k in range(len(positions) - 1))


def box_blur(image, kernel):
    """The mean of kernel × kernel pixels of an image (C, H, W); beyond the border the nearest pixel counts again."""
    channels, height, width = image.shape
    blurred = image.clone()
    reach = range(-(kernel // 2), kernel // 2 + 1)
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                near = [
                    float(image[c, min(max(row + i, 0), height - 1), min(max(column + j, 0), width - 1)])
                    for i in reach
                    for j in reach
                ]
                blurred[c, row, column] = math.fsum(near) / len(near)
    return blurred


def blurred_patches(model, image, label, attribution, size, kernel, count):
    """002, A.1: p(y|x) with 0 … count regions of highest mean attribution, without ties, from a blurred copy."""
    tiles = tiles_of(*image.shape[1:], size)
    means = [sum(float(attribution[:, r, c].sum()) for r, c in tile) / len(tile) for tile in tiles]
    order = sorted(range(len(tiles)), key=lambda t: means[t], reverse=True)
    blurred = box_blur(image, kernel)
    curve = []
    for k in range(count + 1):
        pixels = [pixel for t in order[:k] for pixel in tiles[t]]
        curve.append(probability_of(model, without(image, pixels, blurred), label))
    return curve


def quantile(values, q):
    """Between neighbors of the ordered values, by linear interpolation."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def completeness_over_labels(model, image, maps, labels, baseline):
    """000, Figure 2: slope and r of ΣR against the logit (less the baseline's, if any), and the relative gap."""
    sums = [math.fsum(flat(one.tolist())) for one in maps]
    logits = [score_of(model, image, label) for label in labels]
    if baseline is not None:
        logits = [logit - score_of(model, baseline, label) for logit, label in zip(logits, labels, strict=True)]
    means = math.fsum(sums) / len(sums), math.fsum(logits) / len(logits)
    both = list(zip(sums, logits, strict=True))
    slope = math.fsum((s - means[0]) * (y - means[1]) for s, y in both) / math.fsum((y - means[1]) ** 2 for y in logits)
    gap = math.fsum(abs(s - y) for s, y in both) / math.fsum(abs(y) for y in logits)
    return slope, pearson(sums, logits), gap


def max_sensitivity(maps, trained):
    """max over draws y of ‖Φ(y) − Φ(x)‖ / ‖Φ(x)‖ for one sample, from its maps at every y and at x."""
    theirs = flat(trained)
    size = math.sqrt(math.fsum(value * value for value in theirs))
    far = [math.sqrt(math.fsum((a - b) ** 2 for a, b in zip(flat(one), theirs, strict=True))) for one in maps]
    return max(far) / size if size > 0 else math.nan
