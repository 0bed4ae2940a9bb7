"""The tables of networks and methods in the documentation are whole, and hide no gap."""

import sys
from pathlib import Path

import pytest
from more_networks import EVERY

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

import support_trained  # noqa: E402

TABLE = DOCS / "support.md"
PROMISED = """
    alexnet vgg16 vgg16_bn vgg19 vgg19_bn resnet18 resnet50 densenet121 efficientnet_b0 inception_v3 googlenet
    squeezenet1_1 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large convnext_tiny regnet_x_400mf regnet_y_400mf
    shufflenet_v2_x1_0 vit_b_16 swin_t lstm gru bert
"""


def rows():
    text = TABLE.read_text(encoding="utf-8").splitlines()
    lines = [line.strip("| ").split(" | ") for line in text if line[:1] == "|"]
    return {row[0]: row[1:] for row in lines if row[0] != "network" and not row[0].startswith("---")}


def test_every_network_is_in_it():
    labels = {
        f"{name}, {part}" if part else name
        for name in support_trained.CASES
        for part in support_trained.PARTS.get(name, ("",))
    }
    assert set(rows()) == set(EVERY) | labels
    assert set(PROMISED.split()) | {"inception_v4 (timm)"} <= set(EVERY)
    assert len(EVERY) >= 60


@pytest.mark.parametrize("network", EVERY)
def test_no_cell_is_empty_and_deeplift_is_complete_or_says_that_it_is_not(network):
    row = rows()[network]
    assert len(row) == 12
    assert all(row)
    assert not any("nan" in cell for cell in row)
    if len(row[-1]) > 1:  # and no letter of a reason
        gap, condition = row[-1].split(" / ")
        assert float(gap.removesuffix("!")) <= 1e-3 or gap.endswith("!")
        assert float(condition) >= 1


def test_deeplift_is_complete_on_trained_networks():
    for name, row in rows().items():
        if len(row) == 6:
            assert float(row[1]) <= 1e-3, name
            assert "nan" not in row
