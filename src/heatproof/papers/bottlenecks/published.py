"""What 004 prints in its tables, under our labels; None where it prints a dash."""

# Table 1: degradation with tiles of 8 and of 14 pixels on ResNet-50, the same on VGG-16, boxes on both.
TABLE_1: dict[str, tuple[float | None, float | None, float, float, float | None, float]] = {
    "random": (0.000, 0.000, 0.000, 0.000, 0.167, 0.167),
    "occlusion-8": (0.162, 0.130, 0.267, 0.258, 0.296, 0.312),
    "occlusion-14": (0.228, 0.231, 0.402, 0.404, 0.341, 0.358),
    "gradient": (0.002, 0.005, 0.001, 0.005, 0.259, 0.276),
    "saliency": (0.287, 0.305, 0.326, 0.362, 0.363, 0.393),
    "guided-backprop": (0.491, 0.515, 0.460, 0.493, 0.388, 0.373),
    "pattern-attribution": (None, None, 0.440, 0.457, None, 0.404),
    "lrp-alpha1-beta0": (None, None, 0.471, 0.486, None, 0.397),
    "lrp-alpha0-beta-1": (None, None, 0.462, 0.467, None, 0.441),
    "integrated-gradients": (0.401, 0.424, 0.420, 0.453, 0.372, 0.396),
    "smoothgrad": (0.485, 0.502, 0.438, 0.455, 0.439, 0.399),
    "grad-cam": (0.536, 0.541, 0.510, 0.517, 0.465, 0.399),
    "guided-grad-cam": (0.565, 0.577, 0.555, 0.576, 0.468, 0.419),
    "iba-1": (0.573, 0.573, 0.581, 0.583, 0.606, 0.566),
    "iba-10": (0.572, 0.571, 0.582, 0.585, 0.620, 0.593),
    "iba-100": (0.534, 0.535, 0.542, 0.545, 0.574, 0.568),
    "iba-readout": (0.536, 0.536, 0.490, 0.536, 0.484, 0.437),
}
# Tables 2 and 3: parameter, ResNet-50, VGG-16, and the field of our recipe that has it.
TABLE_2 = (
    ("target layer", "conv3_4", "conv4_1", "layer"),
    ("learning rate", "1", "1", "rate"),
    ("balance factor β, in 1/k", "10", "10", "beta"),
    ("iterations", "10", "10", "steps"),
    ("batch size", "10", "10", "samples"),
    ("smoothing σ", "1", "1", "smoothing"),
)
TABLE_3 = (
    ("target layer", "conv2_3", "conv3_1", "layer"),
    (
        "reading out",
        "conv2_3, conv3_4, conv4_6, conv5_3, fc",
        "conv3_1, conv4_1, conv5_1, conv5_3, fc",
        "readouts",
    ),
    ("learning rate", "1e-05", "1e-05", "rate"),
    ("balance factor β, in 1/k", "10", "10", "beta"),
    ("epochs (§4.1 says 20)", "10", "10", "epochs"),
    ("smoothing σ", "1", "1", "smoothing"),
)
# Table 4, ResNet-50: L_I/k, top-5 and top-1 accuracy.
ORIGINAL = (None, 0.928, 0.760)
INITIAL = (2.500, 0.928, 0.760)
PER_SAMPLE = {
    "0.01": (3.174, 1.000, 1.000),
    "0.1": (0.525, 0.971, 0.963),
    "1": (0.248, 1.000, 1.000),
    "10": (0.098, 0.990, 0.984),
    "100": (0.019, 0.522, 0.427),
}
READOUT = {
    "0.01": (1.822, 0.930, 0.761),
    "0.1": (0.628, 0.928, 0.756),
    "1": (0.222, 0.917, 0.735),
    "10": (0.079, 0.870, 0.660),
    "100": (0.023, 0.505, 0.302),
}
