"""What the dimensions of inputs mean, told by what the network does with them first."""

import math

import pytest
import torch
from layout_networks import Mixer, Pooling, Sequences, Tokens, noise, seeded
from torch import nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.features import Columns, Pixels, Tiles
from heatproof.features import Tokens as TokenFeatures
from heatproof.layouts.inputs import features_of
from heatproof.methods import ChannelNorm, Competitive, Gradient, GradientXInput, Occlusion
from heatproof.models import Bound

SEQUENCE = TokenFeatures()
LAST = Pixels(layout="channels-last")


class Function(nn.Module):
    """A network of one expression."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, x):
        return self.run(x)


W = noise(4, 5)
FIRST = Function(lambda x: x.permute(0, 3, 1, 2))
NETWORKS = {
    "series": (lambda: Pooling(1, channels=5), (5, 20), Pixels()),
    "series of one lead": (lambda: Pooling(1, channels=1), (1, 20), Pixels()),
    "series, normalized by lead": (lambda: nn.Sequential(nn.BatchNorm1d(5), Pooling(1, channels=5)), (5, 20), Pixels()),
    "series, normalized in time": (lambda: nn.Sequential(nn.LayerNorm(20), Pooling(1, channels=5)), (5, 20), Pixels()),
    "series, pooled first": (lambda: nn.Sequential(nn.AvgPool1d(2), Pooling(1, channels=5)), (5, 40), Pixels()),
    "series by an image's layers": (
        lambda: nn.Sequential(nn.Unflatten(1, (5, 1)), Pooling1x(5)), (5, 20), Pixels(),
    ),
    "series, averaged": (lambda: Function(lambda x: x.mean(2) @ W.T), (5, 20), Pixels()),
    "tokens, averaged": (lambda: Function(lambda x: x.mean(1) @ W.T), (20, 5), SEQUENCE),
    "tokens, by einsum": (lambda: Function(lambda x: torch.einsum("nte,ke->ntk", x, W).amax(1)), (20, 5), SEQUENCE),
    "tokens, by product": (lambda: Function(lambda x: (x @ W.T).tanh().sum(1)), (20, 5), SEQUENCE),
    "tokens, scaled first": (lambda: Function(lambda x: (3 * (x - x.mean()) @ W.T).sum(1)), (20, 5), SEQUENCE),
    "tokens, by their norm": (lambda: nn.Sequential(nn.LayerNorm(6), Sequences("linear", 6)), (7, 6), SEQUENCE),
    **{f"tokens: {way}": (lambda way=way: Sequences(way, 6), (7, 6), SEQUENCE)
       for way in ("linear", "lstm", "time first", "encoder", "attention", "convolution", "words")},
    "images": (lambda: Pooling(2), (2, 9, 14), Pixels()),
    "images, grey": (lambda: Pooling(2, channels=1), (1, 9, 14), Pixels()),
    "images as patches": (lambda: Mixer(15), (2, 6, 10), Pixels()),
    "images as tokens": (lambda: Tokens(), (2, 9, 13), Pixels()),
    "images, flattened": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 4)), (3, 4, 5), Pixels()),
    "images, channels last": (lambda: nn.Sequential(FIRST, Pooling(2)), (9, 14, 2), LAST),
    "images, one channel last": (lambda: nn.Sequential(FIRST, Pooling(2, channels=1)), (9, 14, 1), LAST),
    "images without channels": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 9)), Pooling(2, channels=1)), (9, 14), Columns(),
    ),
    "volumes": (lambda: Pooling(3), (2, 7, 8, 9), Pixels()),
    "volumes without channels": (
        lambda: nn.Sequential(nn.Unflatten(1, (1, 7)), Pooling(3, channels=1)), (7, 8, 9), Columns(),
    ),
    "tables": (lambda: nn.Linear(7, 4), (7,), Columns()),
}  # fmt: skip


class Pooling1x(nn.Module):
    """Convolutions over time, written as those of images of one row."""

    def __init__(self, channels):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(channels, 3, (1, 3)), nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_tells(name):
    build, shape, expected = NETWORKS[name]
    model, x = seeded(build), noise(3, *shape)
    with torch.no_grad():
        model(x)  # lazy layers
    assert features_of(model, x) == expected


def test_texts_are_read_from_their_embedding_on():
    class Texts(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.fc = nn.Embedding(9, 6), nn.Linear(6, 4)

        def forward(self, ids):
            return self.fc(self.embed(ids).mean(1))

    bound = Bound(seeded(Texts), at="embed", given={"ids": torch.randint(9, (3, 5))})
    assert features_of(bound, bound.inputs()) == SEQUENCE


def test_where_nothing_tells_it_is_asked():
    flat = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 4)))
    for shape in [(5, 12), (12, 5), (5, 4, 3)]:
        with pytest.raises(InputError, match="mixes all of them at once; say what one feature is: features=Pixels"):
            features_of(flat, noise(3, *shape))
    # Two branches that read the same input in two ways.
    both = seeded(
        lambda: Function(lambda x: (x @ noise(12, 4)).sum(1) + nn.functional.conv1d(x, noise(4, 5, 3)).sum(2))
    )
    with pytest.raises(InputError, match=r"tell what the dimensions of inputs \(3, 5, 12\) mean"):
        features_of(both, noise(3, 5, 12))


# Those who use it.

Y = torch.tensor([0, 3, 1])


def test_occlusion_of_a_series_gives_one_number_a_time_step():
    model, x = seeded(lambda: Pooling(1, channels=5)), noise(3, 5, 20)
    maps = Occlusion(window=1)(model, x, Y)
    assert maps.shape == (3, 1, 20)
    without = x.clone()
    without[:, :, 7] = 0
    drop = (model(x) - model(without)).gather(1, Y[:, None])[:, 0]
    torch.testing.assert_close(maps[:, 0, 7], drop.detach())


def test_lengths_and_competition_are_over_leads():
    model, x = seeded(lambda: Pooling(1, channels=5)), noise(3, 5, 20)
    gradient = Gradient()(model, x, Y)
    torch.testing.assert_close(ChannelNorm()(model, x, Y), gradient.norm(dim=1, keepdim=True))
    competing = Competitive(GradientXInput(), per="pixel")(model, x, Y)
    every = torch.stack([GradientXInput()(model, x, torch.full_like(Y, label)).sum(1) for label in range(4)])
    own = every[Y, torch.arange(3)]
    rivals = every.clone()
    rivals[Y, torch.arange(3)] = torch.nan
    wins = torch.where(own > 0, ~(rivals > own).any(0), ~(rivals < own).any(0))
    torch.testing.assert_close(competing[:, 0], torch.where(wins, own, 0))


def test_an_audit_asks_the_network(tmp_path):
    model, x = seeded(lambda: Pooling(1, channels=5)), noise(6, 5, 20)
    y = torch.tensor([0, 3, 1, 2, 0, 1])
    audit = hp.audit(model, x, y, methods={"gradient": Gradient()}, checks=["input-controls"], out=tmp_path / "run")
    assert audit is not None
    flat = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(100, 4)))
    with pytest.raises(InputError, match="say what one feature is: features=Pixels"):
        hp.audit(flat, x, y, methods={"gradient": Gradient()}, checks=["input-controls"], out=tmp_path / "other")
    said = {"methods": {"gradient": Gradient()}, "checks": ["input-controls"], "features": Tiles(size=5)}
    assert hp.audit(flat, x, y, **said, out=tmp_path / "said") is not None


@pytest.mark.parametrize("shape", [(1, 1, 12), (1, 12, 1), (12, 1, 1)])
def test_an_image_of_one_row_is_an_image_where_it_is_flattened(shape):
    network = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))
    assert features_of(network, noise(2, *shape)) == Pixels()


@pytest.mark.parametrize("shape", [(5, 4), (3, 8, 8)])
def test_a_compiled_network_tells_without_a_warning(shape):
    flat = 3 * math.prod(shape[:-1])
    network = seeded(lambda: nn.Sequential(nn.Linear(shape[-1], 3), nn.ReLU(), nn.Flatten(), nn.Linear(flat, 2)))
    compiled = torch.compile(network, backend="eager")
    compiled(noise(2, *shape))
    assert features_of(compiled, noise(2, *shape)) == features_of(network, noise(2, *shape))
