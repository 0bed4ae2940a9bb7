import pytest
import torch
from torch import nn

from heatproof import zoo
from heatproof.data import DemoDigits, TorchvisionDataset
from heatproof.errors import UnknownNameError


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


SIZES = {
    "mnist-mlp": 784 * 2500 + 2500 + 2500 * 1500 + 1500 + 1500 * 500 + 500 + 500 * 10 + 10,
    "ancona-mlp-tanh": 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10,
    "ancona-cnn-sigmoid": 9 * 32 + 32 + 9 * 32 * 64 + 64 + 12 * 12 * 64 * 128 + 128 + 128 * 10 + 10,
    "ancona-cifar10": 27 * 32 + 32 + 288 * 32 + 32 + 288 * 64 + 64 + 576 * 64 + 64 + 2304 * 256 + 256 + 2560 + 10,
    "imdb-mlp": 5000 * 32 + 16000 * 250 + 250 + 250 + 1,
    "imdb-lstm": 5000 * 32 + 4 * 64 * (32 + 64 + 2) + 64 + 1,
}


@pytest.mark.parametrize("name", SIZES)
def test_the_papers_networks_have_the_papers_layers(name: str):
    assert sum(p.numel() for p in zoo.entry(name).network().parameters()) == SIZES[name]


@pytest.mark.parametrize(
    ("name", "shape", "outputs"),
    [
        ("mnist-mlp", (2, 1, 28, 28), 10),
        ("ancona-mlp-relu", (2, 1, 28, 28), 10),
        ("ancona-cnn-softplus", (2, 1, 28, 28), 10),
        ("ancona-cifar10", (2, 3, 32, 32), 10),
        ("alexnet-mnist", (2, 1, 28, 28), 10),
    ],
)
def test_outputs_of_the_papers_networks(name: str, shape: tuple[int, ...], outputs: int):
    if name == "alexnet-mnist":
        pytest.importorskip("torchvision")
    assert zoo.entry(name).network()(torch.zeros(shape)).shape == (2, outputs)


@pytest.mark.parametrize("name", ["imdb-mlp", "imdb-lstm"])
def test_networks_of_texts_have_one_output(name: str):
    network = zoo.entry(name).network()
    assert network(torch.zeros(2, 500, dtype=torch.int64)).shape == (2, 1)
    # Keras's first weights: the embedding uniform in ±0.05, the forget gate open
    assert 0.045 < network.embedding.weight.abs().max() <= 0.05
    if name == "imdb-lstm":
        bias = (network.lstm.bias_ih_l0 + network.lstm.bias_hh_l0).view(4, 64)
        assert torch.equal(bias, torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand(4, 64))


def test_the_zoo_knows_its_names():
    with pytest.raises(UnknownNameError, match="did you mean 'ancona-mlp-tanh'"):
        zoo.entry("ancona-mlp-tan")
    with pytest.raises(UnknownNameError, match="activation, but got 'rellu'; did you mean 'relu'"):
        zoo.AnconaMLP("rellu")
    assert [one.name for one in zoo.ZOO.values() if one.full] == ["alexnet-mnist", "alexnet-mnist-permuted"]
    assert all(not one.training.weight_decay for name, one in zoo.ZOO.items() if "permuted" in name)


@pytest.mark.parametrize(
    ("name", "widths", "bias"),
    [
        ("mnist-cnn-permuted", {"features.0": 0.1, "classifier.1": 0.1}, 0.1),
        ("mnist-mlp-permuted", {"layers.1": 2 / 28, "layers.3": 2 / 50}, 0.0),
    ],
)
def test_first_weights_of_the_authors_code(name: str, widths: dict[str, float], bias: float):
    """A normal distribution cut off at 2σ: nothing beyond, and a standard deviation of 0.88 σ."""
    network = zoo.entry(name).network()
    for layer, std in widths.items():
        weight = network.get_submodule(layer).weight
        assert weight.abs().max() <= 2 * std
        assert weight.std().item() == pytest.approx(0.8796 * std, rel=0.05)
        assert (network.get_submodule(layer).bias == bias).all()


def test_the_sigmoid_network_starts_in_the_middle_of_its_sigmoids():
    """On a picture that is all background every unit's sum is 0."""
    network = zoo.entry("ancona-cnn-sigmoid").network()
    with torch.no_grad():
        hidden = network.features[0](torch.full((1, 1, 28, 28), -1.0))
        torch.testing.assert_close(hidden, torch.zeros_like(hidden), atol=1e-5, rtol=0)
        logits = network(torch.full((1, 1, 28, 28), -1.0))
    torch.testing.assert_close(logits, torch.zeros_like(logits), atol=1e-4, rtol=0)
