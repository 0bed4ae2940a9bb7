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
