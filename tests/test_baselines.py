"""What stands for a missing feature."""

import math
import pickle

import pytest
import torch

from heatproof import InputError
from heatproof.baselines import BASELINES, Baseline, Blur, Constant, Mean, Token, Zero

SHAPES = [(3, 4), (3, 5, 4), (3, 2, 4, 6), (2, 1, 3, 4, 5)]


@pytest.mark.parametrize("name", BASELINES.names())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_baseline_broadcasts_and_knows_one_sample_only(name, shape):
    baseline = BASELINES.get(name)
    assert isinstance(baseline, Baseline)
    x = torch.randn(shape, dtype=torch.float64)
    if name == "blur" and len(shape) < 4:
        pytest.skip("a table or a sequence has no pixels to blur")
    value = baseline(x)
    assert value.dtype == x.dtype
    assert value.expand_as(x).shape == x.shape
    alone = torch.cat([baseline(one[None]).expand_as(one[None]) for one in x])
    torch.testing.assert_close(value.expand_as(x), alone)


def test_values():
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])
    assert Zero()(x).tolist() == [[[[0.0]]]]
    assert Constant(value=-1.5)(x).tolist() == [[[[-1.5]]]]
    assert Mean()(x).tolist() == [[[[2.0]], [[2.0]]]]
    assert Mean()(x + torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)).tolist() == [[[[2.0]], [[3.0]]]]
    assert Mean()(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[3.0]]


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_blur_equals_its_slow_twin(sigma):
    x = torch.randn(2, 3, 6, 9, dtype=torch.float64)
    reach = round(3 * sigma)
    offsets = range(-reach, reach + 1)
    weights = {(a, b): math.exp(-(a * a + b * b) / (2 * sigma**2)) for a in offsets for b in offsets}
    expected = torch.zeros_like(x)
    for i in range(6):
        for j in range(9):
            for (a, b), weight in weights.items():
                source = x[:, :, min(max(i + a, 0), 5), min(max(j + b, 0), 8)]
                expected[:, :, i, j] += weight / sum(weights.values()) * source
    torch.testing.assert_close(Blur(sigma=sigma)(x), expected)


def test_blur_keeps_constants_and_smooths_volumes():
    x = torch.full((2, 3, 40, 5), 1.7, dtype=torch.float64)
    torch.testing.assert_close(Blur()(x), x)
    volume = torch.zeros(1, 1, 15, 15, 15, dtype=torch.float64)
    volume[0, 0, 7, 7, 7] = 1
    blurred = Blur(sigma=1.0)(volume)
    torch.testing.assert_close(blurred.sum(), volume.sum())
    torch.testing.assert_close(blurred, blurred.transpose(2, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_token_stands_in_every_place(dtype):
    embeddings = torch.nn.Embedding(5, 3, dtype=dtype)
    mask = Token.of(embeddings, 4)
    x = torch.randn(2, 7, 3, dtype=dtype)
    assert torch.equal(mask(x).expand_as(x), embeddings(torch.full((2, 7), 4)).detach())
    assert pickle.loads(pickle.dumps(mask)) == mask
    assert hash(mask) == hash(Token.of(embeddings, 4))


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="a token between 0 and 4, but got 5"):
        Token.of(torch.nn.Embedding(5, 3), 5)
    with pytest.raises(InputError, match=r"sequences \(N, T, 2\) for such a token, but got \(2, 7, 3\)"):
        Token(values=(0.0, 1.0))(torch.randn(2, 7, 3))
    with pytest.raises(InputError, match=r"images \(N, C, H, W\) to blur, but got \(2, 5\); use Mean\(\)"):
        Blur()(torch.randn(2, 5))
    with pytest.raises(InputError, match="sigma to be positive, but got 0"):
        Blur(sigma=0)
