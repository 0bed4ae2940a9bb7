"""The page of what initializers leave of networks is whole, and says of the default what it promises."""

from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "randomization.md"
FAMILIES = """
    alexnet vgg squeezenet googlenet inception resnet resnext wide_resnet regnet densenet mobilenet_v2 mobilenet_v3
    mnasnet shufflenet efficientnet_b efficientnet_v2 convnext swin_t swin_v2 vit maxvit
"""


def rows() -> dict[str, list[str]]:
    cells = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells[2:]}


def test_every_family_of_torchvision_is_on_it() -> None:
    assert all(any(name.startswith(family) for name in rows()) for family in FAMILIES.split())


@pytest.mark.parametrize("network", rows())
def test_the_default_leaves_every_network_alive(network: str) -> None:
    layers, default, *others = rows()[network]
    assert int(layers) > 1
    assert len(others) == 3
    answer, gradient = (float(number) for number in default.split(", "))  # and nothing dead beside them
    assert answer > 0.05
    assert 1e-7 < gradient < 1e12


def test_the_truncated_normal_does_not() -> None:
    assert sum("dead" in row[-1] for row in rows().values()) > len(rows()) / 2
