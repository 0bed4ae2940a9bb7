"""Slow twin of the pattern estimator: every place of a convolution as a row of data, every neuron by itself."""

import torch


def rows_of_convolution(x, layer):
    """The inputs (places, C·k·k) that a convolution's neurons see, by loops."""
    k, stride, pad = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    padded = torch.nn.functional.pad(x, [pad] * 4)
    rows = []
    for image in padded:
        for top in range(0, image.shape[1] - k + 1, stride):
            for left in range(0, image.shape[2] - k + 1, stride):
                rows.append(image[:, top : top + k, left : left + k].reshape(-1))
    return torch.stack(rows)


def pattern(rows, weight, bias, *, rectified):
    """a = (E₊[xy] − E₊[x]E[y]) / (wᵀE₊[xy] − wᵀE₊[x]E[y]) of each row of `weight` (neurons, inputs)."""
    patterns = []
    for w, b in zip(weight, bias, strict=True):
        ys = [float(row @ w + b) for row in rows]
        kept = [(row, y) for row, y in zip(rows, ys, strict=True) if y > 0 or not rectified]
        mean_y = sum(ys) / len(ys)
        mean_x = sum(row for row, _ in kept) / len(kept)
        mean_xy = sum(row * y for row, y in kept) / len(kept)
        covariance = mean_xy - mean_x * mean_y
        patterns.append(covariance / (w @ covariance))
    return torch.stack(patterns)
