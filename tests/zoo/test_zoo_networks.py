import pytest
import torch
from torch import nn

from heatproof import zoo
from heatproof.data import DemoDigits, TorchvisionDataset


def test_sizes_by_hand():
    """Weights and biases counted from the layers' names."""
    demo = (
        (25 * 12 + 12) + (9 * 12 * 24 + 24) + (9 * 24 * 48 + 48) + (9 * 48 * 96 + 96) + (96 * 64 + 64) + (64 * 10 + 10)
    )
    mnist = (25 * 32 + 32) + (25 * 32 * 64 + 64) + (7 * 7 * 64 * 1024 + 1024) + (1024 * 10 + 10)
    assert sum(p.numel() for p in zoo.DemoCNN().parameters()) == demo
    assert sum(p.numel() for p in zoo.MnistCNN().parameters()) == mnist


@pytest.mark.parametrize(("network", "side"), [(zoo.DemoCNN, 56), (zoo.MnistCNN, 28)])
def test_ten_logits_an_image(network: type[nn.Module], side: int):
    assert network()(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_the_demo_network_finds_the_digit():
    """The first run trains; later ones read the kept weights."""
    model, test = zoo.demo()
    assert zoo.accuracy_of(model, test) >= 0.97
    assert zoo.demo_cnn_trained().test_accuracy == zoo.accuracy_of(model, test)
    assert not model.training


def test_the_evidence_is_in_the_box():
    """Without the clutter the demo network keeps its labels; without the digit it is at chance."""
    model, test = zoo.demo_cnn(), DemoDigits().load()
    places = torch.arange(56)
    boxes = torch.tensor([boxes[0] for boxes in test.boxes])
    x0, y0, x1, y1 = (edge[:, None, None] for edge in boxes.unbind(1))
    inside = ((places >= x0) & (places < x1) & (places[:, None] >= y0) & (places[:, None] < y1))[:, None]
    with torch.no_grad():
        right = [
            (model(x).argmax(1) == test.targets).sum().item() for x in (test.inputs * inside, test.inputs * ~inside)
        ]
    assert right[0] >= 0.97 * 450
    # 450 guesses at one in ten have a standard deviation of 6.4: 45 ± 5 of those.
    assert abs(right[1] - 45) <= 32


@pytest.mark.slow
@pytest.mark.data
def test_the_mnist_network_reaches_its_accuracy(data_folder):
    pytest.importorskip("torchvision")
    model = zoo.mnist_cnn(data_folder)
    assert zoo.accuracy_of(model, TorchvisionDataset(root=str(data_folder)).load()) >= 0.99
