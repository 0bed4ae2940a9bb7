"""What a measure says about maps that show nothing: the yardstick beside every similarity (Adebayo et al., B)."""

from torch import Tensor

from heatproof import draws
from heatproof.errors import unknown
from heatproof.similarity.base import Similarity
from heatproof.similarity.normalization import normalized

NOISES = ("gaussian", "uniform")


def noise(maps: Tensor, kind: str, *, seed: int = 0, replicate: int = 0, samples: Tensor | None = None) -> Tensor:
    """Random maps of the shape, dtype and device of `maps` (N, *grid), in [−1, 1].

    `uniform` on [−1, 1), or `gaussian`: standard normal, then divided by each map's largest magnitude. Keyed by seed,
    kind, replicate and sample: `samples` are `draws.marks` of the images, so that every method meets the same noise;
    None takes the marks of `maps`.
    Raises: UnknownNameError.
    """
    if kind == "gaussian":
        drawn = draws.normal(maps, seed, "calibration", kind, replicate, samples=samples)
        return normalized(drawn, "max-abs").to(maps.dtype)
    if kind == "uniform":
        return draws.uniform(maps, seed, "calibration", kind, replicate, samples=samples)
    raise unknown("kind of noise", kind, NOISES)


def map_vs_noise(
    measure: Similarity, maps: Tensor, kind: str, *, seed: int = 0, samples: Tensor | None = None
) -> Tensor:
    """Similarity (N,) float64 of each map to a random map: what a randomized model could reach by being noise."""
    return measure(maps, noise(maps, kind, seed=seed, samples=samples))


def noise_vs_noise(
    measure: Similarity, maps: Tensor, kind: str, *, seed: int = 0, samples: Tensor | None = None
) -> Tensor:
    """Similarity (N,) float64 of two random maps shaped like `maps` (N, *grid), whose values only name the draws."""
    first = noise(maps, kind, seed=seed, samples=samples)
    return measure(first, noise(maps, kind, seed=seed, replicate=1, samples=samples))
