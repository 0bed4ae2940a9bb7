"""Slow twins of attribution methods, written again from the papers' equations with scalar loops."""

import numpy as np
import torch

from heatproof import draws


def label_gradients(model, inputs):
    """∂S_i/∂x for every label i: (C, N, …), one backward pass a label."""
    x = inputs.clone().requires_grad_()
    outputs = model(x.clone())
    return torch.stack(
        [torch.autograd.grad(outputs[:, i].sum(), x, retain_graph=True)[0] for i in range(outputs.shape[1])]
    )


def competitive_gradient_x_input(model, inputs, targets):
    """Algorithm 1 of Gupta & Arora, line by line."""
    gradients = label_gradients(model, inputs).flatten(2).numpy()
    labels, samples, elements = gradients.shape
    image = inputs.flatten(1).numpy()
    H = np.zeros((samples, elements))  # line 1
    for n in range(samples):
        y = int(targets[n])
        for j in range(elements):  # line 2
            score = [gradients[i, n, j] * image[n, j] for i in range(labels)]  # line 3
            others = [score[i] for i in range(labels) if i != y]
            if score[y] > 0:  # line 4
                if all(score[y] >= other for other in others):  # line 5
                    H[n, j] = score[y]  # line 6
            else:  # line 8
                if all(score[y] <= other for other in others):  # line 9
                    H[n, j] = score[y]  # line 10
    return torch.from_numpy(H).view_as(inputs)


def score_gradient(model, point, target):
    """∂S_target/∂x at one point (…)."""
    x = point.clone()[None].requires_grad_()
    return torch.autograd.grad(model(x.clone())[0, target], x)[0][0]


def integrated_gradients(model, inputs, targets, baseline, nodes, weights):
    """(x − x̄) ⊙ Σ_k w_k ∂S_c(x̄ + a_k(x − x̄))/∂x, one sample and one node at a time."""
    maps = []
    for x, target in zip(inputs, targets, strict=True):
        total = torch.zeros_like(x)
        for a, w in zip(nodes, weights, strict=True):
            total = total + w * score_gradient(model, baseline + a * (x - baseline), target)
        maps.append((x - baseline) * total)
    return torch.stack(maps)


def noisy_gradients(model, inputs, targets, *, samples, noise, seed):
    """E(x + g_i) of the gradient, as a NumPy array (samples, N, …), one copy of one sample at a time."""
    maps = []
    for copy in range(samples):
        row = []
        for x, target in zip(inputs, targets, strict=True):
            sigma = noise * (x.max() - x.min())
            g = sigma * draws.normal(x[None], seed, "noise", copies=range(copy, copy + 1))[0, 0]
            row.append(score_gradient(model, x + g, target).numpy())
        maps.append(row)
    return np.array(maps)


def sobel(image):
    """Sobel magnitude / 8 of one channel (H, W), pixel by pixel, border pixels repeated outwards."""
    height, width = image.shape
    kernel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    edges = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            gx = gy = 0.0
            for a in range(3):
                for b in range(3):
                    pixel = image[min(max(i + a - 1, 0), height - 1), min(max(j + b - 1, 0), width - 1)]
                    gx += kernel[a][b] * pixel
                    gy += kernel[b][a] * pixel
            edges[i, j] = (gx**2 + gy**2) ** 0.5 / 8
    return edges
