"""SHAP's explainers through their adapter: closed forms, our own DeepLIFT, and what their hooks leave behind."""

from typing import Any

import adapted_networks as nets
import numpy as np
import pytest
import torch
from adapted_networks import X, Y
from torch import Tensor, nn

import heatproof as hp
from heatproof.adapters import Shap
from heatproof.auditing.traces import none_left
from heatproof.draws import reseed
from heatproof.errors import InputError

BACKGROUND = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.fixture(autouse=True, scope="module")
def shap() -> Any:
    from heatproof.adapters.base import package

    try:
        return package("shap", "a test")
    except ImportError:
        pytest.skip("the package shap is not installed")


def test_of_a_linear_network() -> None:
    """w_c ⊙ (x − b), whatever is drawn, for one background."""
    net = nn.Linear(4, 3).eval()
    x, background = torch.rand(3, 4), torch.rand(1, 4)
    found = Shap("GradientExplainer", background=background, call={"nsamples": 3})(net, x, Y)
    torch.testing.assert_close(found, net.weight[Y].detach() * (x - background), rtol=1e-5, atol=1e-6)


def test_the_deep_explainer_is_our_deeplift_over_baselines() -> None:
    net = nets.cnn()
    ours = hp.methods.OverBaselines(hp.methods.DeepLIFT(), baselines=BACKGROUND)
    torch.testing.assert_close(Shap("DeepExplainer", background=BACKGROUND)(net, X, Y), ours(net, X, Y))


@pytest.mark.parametrize(
    "adapter",
    [Shap(background=BACKGROUND, call={"nsamples": 5}), Shap("DeepExplainer", background=BACKGROUND)],
    ids=["gradient", "deep"],
)
class TestBoth:
    def test_one_sample_is_as_in_a_batch(self, adapter: Shap) -> None:
        net = nets.cnn()
        assert torch.equal(adapter(net, X, Y)[1:2], adapter(net, X[1:2], Y[1:2]))

    def test_side_inputs_follow(self, adapter: Shap) -> None:
        found = adapter(nets.bound(), X, Y)
        for row in range(3):
            one = adapter(nets.with_gain(row), X[row : row + 1], Y[row : row + 1])
            torch.testing.assert_close(found[row : row + 1], one)

    def test_nothing_is_left(self, adapter: Shap) -> None:
        """Its deep explainer leaves parameters `x` and `y` on what is no container; both seed NumPy."""
        net = nn.Sequential(nets.Residual(), *nets.cnn()).eval()
        before = np.random.get_state()[1].tolist()  # noqa: NPY002  # the one that it seeds
        names = [name for name, _ in net.named_parameters()]
        with none_left(net, 0):
            adapter(net, X, Y)
        adapter(net, X, Y)
        assert [name for name, _ in net.named_parameters()] == names
        assert np.random.get_state()[1].tolist() == before  # noqa: NPY002  # as above

    def test_other_labels_cost_nothing(self, adapter: Shap) -> None:
        """SHAP would explain every output and choose afterwards."""
        runs = []
        for outputs in (2, 20):
            net = nn.Sequential(*nets.cnn()[:6], nn.Linear(6, outputs)).eval()
            calls: list[int] = []
            net.register_forward_hook(lambda _m, _x, _y, calls=calls: calls.append(1))
            adapter(net, X, Y.clamp_max(1))
            runs.append(len(calls))
        assert runs[0] == runs[1] > 0


def test_draws() -> None:
    """Another seed draws anew, as an audit asks of what is repeated; `rseed` is SHAP's own, for all samples."""
    net = nets.cnn()
    adapter = Shap(background=BACKGROUND, call={"nsamples": 5})
    assert torch.equal(adapter(net, X, Y), adapter(net, X, Y))
    assert not torch.equal(adapter(net, X, Y), reseed(adapter, 1)(net, X, Y))
    import shap

    fixed = Shap(background=BACKGROUND, call={"nsamples": 5, "rseed": 3})
    by_hand = shap.GradientExplainer(net, BACKGROUND).shap_values(X[:1], nsamples=5, rseed=3)
    torch.testing.assert_close(fixed(net, X, Y)[:1], torch.from_numpy(by_hand[..., 2]).to(X))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.sigmoid(self.conv(3 * x)).mean((2, 3)) ** 2)
        return out


@pytest.mark.parametrize(("net", "said"), [(nets.cnn(inplace=True), "RuntimeError"), (Functional().eval(), "Assert")])
def test_what_its_hooks_cannot(net: nn.Module, said: str) -> None:
    with pytest.raises(InputError, match=rf"calls modules alone.*OverBaselines\(DeepLIFT.*It raised {said}"):
        Shap("DeepExplainer", background=BACKGROUND)(net, 10 * X, Y)


def test_the_background_is_needed() -> None:
    with pytest.raises(InputError, match="Expected `background`, inputs"):
        Shap()(nets.cnn(), X, Y)
