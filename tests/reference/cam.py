"""Slow twin of Grad-CAM, with scalar loops, for a network given as the part up to the layer and the part behind it."""

import math

import torch


def bilinear(values, height, width):
    """`values` (h, w) at the centers of height × width pixels, corners not aligned, the border's value beyond it."""
    h, w = values.shape
    result = torch.zeros(height, width, dtype=values.dtype)
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            top, left = math.floor(y), math.floor(x)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = values[top, left] * (1 - (x - left)) + values[top, right] * (x - left)
            lower = values[below, left] * (1 - (x - left)) + values[below, right] * (x - left)
            result[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return result


def grad_cam(up_to, behind, inputs, targets):
    """ReLU(Σ_k α_k A^k) with α_k = (1/Z) Σ_i Σ_j ∂S_c/∂A^k_ij, one sample at a time: (N, 1, H, W)."""
    maps = []
    for x, target in zip(inputs, targets, strict=True):
        A = up_to(x[None]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(behind(A)[0, target], A)
        A = A.detach()
        _, channels, h, w = A.shape
        Z = h * w
        alpha = [sum(float(gradient[0, k, i, j]) for i in range(h) for j in range(w)) / Z for k in range(channels)]
        combined = torch.zeros(h, w, dtype=A.dtype)
        for i in range(h):
            for j in range(w):
                combined[i, j] = max(sum(alpha[k] * float(A[0, k, i, j]) for k in range(channels)), 0.0)
        maps.append(bilinear(combined, *x.shape[1:])[None])
    return torch.stack(maps)
