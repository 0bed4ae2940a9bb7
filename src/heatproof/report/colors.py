"""One color and one dash a method, the same in every report, told apart with any kind of color vision."""

from collections.abc import Iterable

# Okabe & Ito's palette without its yellow and black, which vanish on white or on black paper.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b61c9", "#a6611a")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
GREY = "#808a94"
# What became of a method, on white: those of the page in the light, as its style sheet has them.
TONES = {"good": "#0b7468", "mid": "#875503", "bad": "#b42318", "noise": "#6d4fa3", "unknown": "#5f6875"}

# The order decides the color: methods that often stand together are kept apart.
KNOWN = (
    "gradient-x-input", "cgi", "guided-backprop", "gradient",
    "integrated-gradients", "smoothgrad", "grad-cam", "lrp-epsilon-plus",
    "lrp-epsilon", "clrp", "guided-grad-cam", "saliency", "deeplift", "vargrad", "occlusion", "iba",
    "lrp-epsilon-gamma-box", "deconvnet", "pattern-attribution", "integrated-gradients-smoothgrad",
    "integrated-gradients-vargrad", "deep-taylor", "lrp-epsilon-plus-flat", "iba-readout",
    "lrp-alpha1-beta0", "lrp-epsilon-alpha2-beta1", "pattern-net", "meaningful-perturbation",
    "lrp-epsilon-alpha2-beta1-flat", "lrp-adaptive-beta", "gradient-l2",
)  # fmt: skip


def strokes(methods: Iterable[tuple[str, str | None, bool]]) -> dict[str, tuple[str, str]]:
    """(color, dash) by label for (label, registered name, is a control); controls are grey and dashed."""
    slots = [(color, dash) for dash in DASHES for color in PALETTE]
    chosen: dict[str, tuple[str, str]] = {}
    controls = 0
    for label, name, control in methods:
        if control:
            chosen[label] = (GREY, DASHES[1:][controls % 3])
            controls += 1
            continue
        start = KNOWN.index(name) if name in KNOWN else len(KNOWN)
        order = [slots[(start + k) % len(slots)] for k in range(len(slots))]
        taken = set(chosen.values())
        chosen[label] = next((slot for slot in order if slot not in taken), order[0])
    return chosen
