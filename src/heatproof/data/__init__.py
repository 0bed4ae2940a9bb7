"""Where samples come from: each source is a frozen recipe that lists samples and reads any block of them."""

from heatproof.data.base import DATA, Box, Dataset, PermutedLabels, Source, permuted_labels
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.demo import DemoDigits
from heatproof.data.detection import Coco, PascalVOC
from heatproof.data.files import NpzImages
from heatproof.data.folder import ImageFile, ImageFolder
from heatproof.data.hugging_face import HuggingFace
from heatproof.data.measured import Series, Volumes
from heatproof.data.snapshots import Snapshot, snapshot
from heatproof.data.table import Table, table
from heatproof.data.tars import WebDataset
from heatproof.data.text import TextTable
from heatproof.data.vision import TorchvisionDataset

get, names = DATA.get, DATA.names

__all__ = [
    "DATA",
    "Blocks",
    "Box",
    "Coco",
    "Dataset",
    "DemoDigits",
    "HuggingFace",
    "ImageFile",
    "ImageFolder",
    "NpzImages",
    "PascalVOC",
    "PermutedLabels",
    "Series",
    "Snapshot",
    "Source",
    "Table",
    "TextTable",
    "TorchvisionDataset",
    "Volumes",
    "WebDataset",
    "as_blocks",
    "get",
    "names",
    "permuted_labels",
    "snapshot",
    "table",
]
