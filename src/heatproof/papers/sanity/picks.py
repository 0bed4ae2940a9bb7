"""001: its networks, methods and measures, and the rows that its claims and pictures pick."""

from heatproof.papers.measure import STAGES, Pick

SMALL_NETWORKS = {
    "mnist-cnn": "MNIST CNN",
    "mnist-mlp": "MNIST MLP",
    "fashion-cnn": "Fashion-MNIST CNN",
    "fashion-mlp": "Fashion-MNIST MLP",
}
NETWORKS = {**SMALL_NETWORKS, "imagenet": "ImageNet"}
# Where the appendix has curves of a network: Fig. 22 to 25 are of MNIST alone.
CURVES = {
    "mnist-cnn": "Fig. 22, 23",
    "mnist-mlp": "Fig. 24, 25",
    "fashion-cnn": "Fig. 12",
    "fashion-mlp": "Fig. 12",
    "imagenet": "Fig. 16–21",
}
LABELS = {
    "mnist-cnn": "ours, after Fig. 13",
    "mnist-mlp": "Fig. 13",
    "fashion-cnn": "Fig. 14",
    "fashion-mlp": "Fig. 15",
}
WORDLESS = "a figure without words"
OF_CNNS = ("grad-cam", "guided-grad-cam")
METHODS = (
    "gradient",
    "gradient-sg",
    "gradient-vg",
    "gradient-x-input",
    "guided-backprop",
    *OF_CNNS,
    "integrated-gradients",
    "integrated-gradients-sg",
    "integrated-gradients-vg",
)
WORDS = {
    "gradient-x-input": "gradient × input",
    "integrated-gradients": "Integrated Gradients",
    "guided-backprop": "guided backprop",
}
ABSOLUTE = "spearman-absolute"
DOWN = "randomized layers, from the output down"
SIMILARITY = {ABSOLUTE: "Spearman, absolute values", "spearman": "Spearman, signed", "ssim": "SSIM", "hog": "HOG"}
# Appendix B, calibration: (rank correlation without absolute values, with them, HOG, SSIM).
MEASURES = ("spearman", ABSOLUTE, "hog", "ssim")
CALIBRATION = {
    "gradient": ("-0.00049", "0.00032", "-0.0016", "0.00027"),
    "integrated-gradients": ("0.00084", "0.00059", "0.0048", "0.00018"),
    "gradient-x-input": ("0.00081", "0.00099", "-0.0024", "0.00023"),
}
UNIFORM = ("0.00016", "-0.0015", "0.078", "0.00076")
GAUSSIAN = ("0.00018", "0.00023")  # it prints two figures for four metrics; the first two, we take it


def methods_of(step: str) -> tuple[str, ...]:
    """The paper's methods that apply to a network: Grad-CAM needs feature maps."""
    return tuple(method for method in METHODS if not (step.endswith("mlp") and method in OF_CNNS))


def group_of(step: str, check: str) -> str:
    """The states of a randomization in a step's maps; on ImageNet there is one a check, whatever its blocks."""
    return check if step == "imagenet" else f"{check} truncated-normal"


def randomized(
    method: str, metric: str = ABSOLUTE, position: float | str | None = "last", check: str = "cascading"
) -> Pick:
    """Similarity to the trained network's map, after everything is randomized by default."""
    return Pick(check=check, method=method, metric=metric, setting=STAGES, position=position)


def noise(method: str, metric: str = ABSOLUTE) -> Pick:
    """Similarity of a method's trained map to Gaussian noise."""
    return Pick(check="calibration", method=method, metric=metric, setting="map-vs-gaussian")


def permuted(method: str, metric: str = ABSOLUTE, labels: str = "permuted-labels") -> Pick:
    """Similarity of the maps on a network that learned such labels to those on the true one."""
    return Pick(check="data-randomization", method=method, metric=metric, setting=labels)


def of_masks(kind: str, metric: str) -> Pick:
    """Similarity of two masks of noise of that kind."""
    return Pick(check="calibration", method="", setting=f"{kind}-vs-{kind}", metric=metric)
