"""Slow twins of the information bottleneck: equation 2 element by element, and the authors' program, image by image."""

import math

import torch
from torch.nn import functional as F


def kl(signal, mean, std, passed, noise="paper"):
    """KL[N(λR + (1−λ)μ, v) || N(μ, σ²)] in nats of one element, by the formula for two Gaussians."""
    variance = (1 - passed) ** 2 * std**2 if noise == "paper" else (1 - passed) * std**2
    shift = passed * signal + (1 - passed) * mean - mean
    return math.log(std / math.sqrt(variance)) + (variance + shift**2) / (2 * std**2) - 0.5


def blurred(values, sigma):
    """A map (h, w) under a Gaussian of 2·round(2σ)+1 taps, reflected at the border without repeating it; loops."""
    reach = round(2 * sigma)
    taps = [math.exp(-0.5 * (t / sigma) ** 2) for t in range(-reach, reach + 1)]
    height, width = values.shape

    def reflect(i, size):
        while not 0 <= i < size:
            i = -i if i < 0 else 2 * (size - 1) - i
        return i

    out = torch.zeros_like(values)
    for y in range(height):
        for x in range(width):
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    weight = taps[dy + reach] * taps[dx + reach] / sum(taps) ** 2
                    out[y, x] += weight * values[reflect(y + dy, height), reflect(x + dx, width)]
    return out


def authors(
    above, signal, target, mean, std, noises, size, *, beta=10.0, rate=1.0, sigma=1.0, variance="published", active=1.0
):
    """The per-sample bottleneck as the authors' repository runs it, for one image.

    `above` maps copies (S, C, h, w) of the layer's output to logits; `signal` (1, C, h, w) is the layer's output;
    `noises` holds a tensor (S, C, h, w) for each step. The information is read from the last forward pass, before the
    last update, and the map is scaled by the areas. `variance="corrected"` is the repository's later (1 − λ)²; `active`
    is its later mask of features, 1 where one is not 0 on more than a hundredth of the data.
    """
    channels = signal.shape[1]
    kernel_size = round(2 * sigma) * 2 + 1
    axis = torch.arange(kernel_size, dtype=signal.dtype) - (kernel_size - 1) / 2
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    kernel = (kernel / kernel.sum())[:, None] * (kernel / kernel.sum())[None, :]
    kernel = kernel.expand(channels, 1, kernel_size, kernel_size)

    alpha = torch.full_like(signal, 5.0).requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=rate)
    for noise in noises:
        optimizer.zero_grad()
        lamb = torch.sigmoid(alpha).expand(len(noise), -1, -1, -1)
        lamb = F.conv2d(F.pad(lamb, [kernel_size // 2] * 4, mode="reflect"), kernel, groups=channels)
        normalized = lamb * (signal.expand(len(noise), -1, -1, -1) - mean) / std
        log_variance = torch.log(1 - lamb if variance == "published" else (1 - lamb) ** 2)
        capacity = -0.5 * (1 + log_variance - normalized**2 - log_variance.exp()) * active
        z = ((normalized + torch.exp(log_variance / 2) * noise) * std + mean) * active
        loss = F.cross_entropy(above(z), target.expand(len(noise))) + beta * capacity.mean()
        loss.backward()
        optimizer.step()
    bits = capacity.detach().mean(0).sum(0)[None, None] / math.log(2)
    scale = bits.shape[2] * bits.shape[3] / (size[0] * size[1])
    return F.interpolate(bits * scale, size=size, mode="bilinear", align_corners=False)[0, 0]
