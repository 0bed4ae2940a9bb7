"""Slow twin of occlusion: one sample, one window, one feature at a time."""

import itertools

import torch


def starts(size, window, stride):
    """Where windows begin along one dimension: on until one reaches the end."""
    places = [0]
    while places[-1] + window < size:
        places.append(places[-1] + stride)
    return places


def occlusion(score, x, baseline, window, stride, grid, scalars_of):
    """Mean drop (grid) over the windows around each feature.

    `score` maps a sample to a number; `scalars_of(position)` indexes the scalars of the feature at a grid position.
    """
    total, count = torch.zeros(grid, dtype=x.dtype), torch.zeros(grid, dtype=x.dtype)
    corners = itertools.product(*(starts(*one) for one in zip(grid, window, stride, strict=True)))
    for corner in corners:
        ends = [min(at + width, size) for at, width, size in zip(corner, window, grid, strict=True)]
        inside = list(itertools.product(*(range(at, end) for at, end in zip(corner, ends, strict=True))))
        occluded = x.clone()
        for position in inside:
            occluded[scalars_of(position)] = baseline[scalars_of(position)]
        drop = score(x) - score(occluded)
        for position in inside:
            total[position] += drop
            count[position] += 1
    return total / count
