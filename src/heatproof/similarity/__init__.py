"""How alike two batches of maps are: one number a sample."""

from heatproof.similarity.base import SIMILARITIES, Prepared, Similarity
from heatproof.similarity.calibration import map_vs_noise, noise, noise_vs_noise
from heatproof.similarity.hog import HOG
from heatproof.similarity.mse import MSE
from heatproof.similarity.normalization import NORMALIZATIONS, normalized
from heatproof.similarity.spearman import Spearman
from heatproof.similarity.ssim import SSIM

get = SIMILARITIES.get
names = SIMILARITIES.names

__all__ = [
    "HOG",
    "MSE",
    "NORMALIZATIONS",
    "SIMILARITIES",
    "SSIM",
    "Prepared",
    "Similarity",
    "Spearman",
    "get",
    "map_vs_noise",
    "names",
    "noise",
    "noise_vs_noise",
    "normalized",
]
