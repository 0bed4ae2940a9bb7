"""Slow twins of checks: scalar loops over one image and one method at a time, from the papers' equations."""

import math


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
