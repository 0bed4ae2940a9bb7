"""The table of networks and methods in the documentation is whole."""

from pathlib import Path

import pytest
from networks import BUILDERS

TABLE = Path(__file__).resolve().parents[2] / "docs" / "support.md"
PROMISED = """
    alexnet vgg16 vgg16_bn vgg19 vgg19_bn resnet18 resnet50 densenet121 efficientnet_b0 inception_v3 googlenet
    squeezenet1_1 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large convnext_tiny regnet_x_400mf regnet_y_400mf
    shufflenet_v2_x1_0 vit_b_16 swin_t lstm gru bert
"""


def rows():
    cells = [
        line.strip("| ").split(" | ") for line in TABLE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"
    ]
    return {row[0]: row[1:] for row in cells[2:]}


def test_every_network_is_in_it():
    assert set(rows()) == set(BUILDERS)
    assert set(PROMISED.split()) | {"inception_v4 (timm)"} <= set(BUILDERS)


@pytest.mark.parametrize("network", BUILDERS)
def test_no_cell_is_empty_and_deeplift_is_complete(network):
    row = rows()[network]
    assert len(row) == 12
    assert all(row)
    assert float(row[-1]) < 1e-6
