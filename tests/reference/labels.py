"""Slow twin of training on labels: softmax regression by its own gradient, one number at a time."""

import math


def softmax_regression(weights, biases, images, labels, batches, rate):
    """Plain descent on the mean cross-entropy of each batch: ∂L/∂w_ck = mean of (p_c − [c = label]) x_k."""
    weights = [list(row) for row in weights]
    biases = list(biases)
    for batch in batches:
        steps = [[0.0] * len(row) for row in weights]
        shifts = [0.0] * len(biases)
        for i in batch:
            logits = scores(weights, biases, images[i])
            total = sum(math.exp(z) for z in logits)
            for c, z in enumerate(logits):
                error = math.exp(z) / total - (1.0 if c == labels[i] else 0.0)
                shifts[c] += error / len(batch)
                for k, x in enumerate(images[i]):
                    steps[c][k] += error * x / len(batch)
        for c in range(len(biases)):
            biases[c] -= rate * shifts[c]
            for k in range(len(weights[c])):
                weights[c][k] -= rate * steps[c][k]
    return weights, biases


def scores(weights, biases, image):
    return [sum(w * x for w, x in zip(row, image, strict=True)) + b for row, b in zip(weights, biases, strict=True)]


def accuracy(weights, biases, images, labels):
    right = 0
    for image, label in zip(images, labels, strict=True):
        logits = scores(weights, biases, image)
        right += logits.index(max(logits)) == label
    return right / len(images)
