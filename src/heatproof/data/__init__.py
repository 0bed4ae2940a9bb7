"""Where samples come from: each source is a frozen recipe whose `load()` gives a `Dataset`."""

from heatproof.data.base import DATA, Box, Dataset, PermutedLabels, Source, permuted_labels
from heatproof.data.demo import DemoDigits
from heatproof.data.detection import Coco, PascalVOC
from heatproof.data.files import NpzImages
from heatproof.data.folder import ImageFile, ImageFolder
from heatproof.data.text import TextTable
from heatproof.data.vision import TorchvisionDataset

get, names = DATA.get, DATA.names

__all__ = [
    "DATA",
    "Box",
    "Coco",
    "Dataset",
    "DemoDigits",
    "ImageFile",
    "ImageFolder",
    "NpzImages",
    "PascalVOC",
    "PermutedLabels",
    "Source",
    "TextTable",
    "TorchvisionDataset",
    "get",
    "names",
    "permuted_labels",
]
