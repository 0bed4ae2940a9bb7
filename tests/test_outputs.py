import math

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.fingerprint import network_fingerprint
from heatproof.methods import MeaningfulPerturbation, PerSampleBottleneck
from heatproof.outputs import Outputs, TwoSided, for_softmax, outputs_of

RAW = torch.tensor([[2.0, -1.0, 0.5]])


class Squeezed(nn.Module):
    """A network whose one output comes as (N,)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out.squeeze(1)


def one_output(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 1))
    return net.double().eval()


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class TestKinds:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("labels", [math.exp(v) / (math.exp(2) + math.exp(-1) + math.exp(0.5)) for v in (2, -1, 0.5)]),
            ("multi-label", [1 / (1 + math.exp(-v)) for v in (2, -1, 0.5)]),
            ("logit", [1 / (1 + math.exp(-v)) for v in (2, -1, 0.5)]),
        ],
    )
    def test_probabilities(self, kind: str, expected: list[float]) -> None:
        likely = Outputs(kind).probability  # type: ignore[arg-type]  # a kind
        assert likely is not None
        assert likely(RAW)[0].tolist() == pytest.approx(expected, abs=1e-7)

    def test_numbers_and_what_nobody_named_have_none(self) -> None:
        assert Outputs("scalars").probability is None
        assert Outputs("score").probability is None

    def test_several_are_labels_and_one_claims_nothing(self) -> None:
        assert outputs_of(None, 3) == Outputs("labels")
        assert outputs_of(None, 1) == Outputs("score")
        assert outputs_of("scalars", 3) == Outputs("scalars")

    @pytest.mark.parametrize(
        ("said", "count", "message"),
        [
            ("labels", 1, r"Expected at least 2 outputs .* but the model has 1; say outputs='logit'"),
            ("logit", 3, "Expected one output where outputs='logit', but the model has 3; say 'labels' where one"),
            ("logits", 1, "Expected the name of a kind of outputs, but got 'logits'; did you mean 'logit'"),
        ],
    )
    def test_errors(self, said: str, count: int, message: str) -> None:
        with pytest.raises(InputError, match=message):
            outputs_of(said, count)


class TestTwoSided:
    @pytest.mark.parametrize("net", [one_output(), Squeezed(one_output())], ids=["(N, 1)", "(N,)"])
    @pytest.mark.parametrize(
        "method", ["gradient", "gradient-x-input", "integrated-gradients", "lrp-epsilon", "deeplift", "occlusion"]
    )
    def test_label_1_is_the_logit_and_label_0_its_complement(self, net: nn.Module, method: str) -> None:
        x, both = images(), TwoSided(net.eval())
        recipe = hp.methods.get(method)
        alone = recipe(net, x, torch.zeros(3, dtype=torch.int64))
        for label, sign in ((1, 1), (0, -1)):
            maps = recipe(both, x, torch.full((3,), label))
            torch.testing.assert_close(maps, sign * alone, rtol=1e-9, atol=1e-12)

    def test_it_is_as_bound_as_what_it_is_made_of(self) -> None:
        class Gained(nn.Module):
            def forward(self, x: Tensor, gain: Tensor) -> Tensor:
                return (x.flatten(1).sum(1) * gain)[:, None]

        gain = torch.tensor([1.0, 2.0, 3.0])
        bound = hp.Bound(Gained().eval(), given={"gain": gain}, preprocessing=lambda x: x + 1)
        rows = torch.tensor([2, 2, 0])
        out = hp.models.forward(TwoSided(bound), torch.zeros(3, 4), rows)
        assert out.tolist() == [[-12.0, 12.0], [-12.0, 12.0], [-4.0, 4.0]]

    def test_it_is_another_network_than_what_it_is_made_of(self) -> None:
        assert network_fingerprint(TwoSided(one_output())) != network_fingerprint(one_output())

    def test_more_outputs_have_no_two_sides(self) -> None:
        with pytest.raises(InputError, match=r"one output to have two sides, but it gives \(2, 3\)"):
            TwoSided(nn.Linear(4, 3).eval())(torch.zeros(2, 4))

    def test_its_softmax_is_the_sigmoid(self) -> None:
        s = torch.tensor([[0.7], [-3.0]])
        both = torch.cat([-s, s], 1)
        likely = for_softmax(TwoSided(one_output()), both).softmax(1)
        torch.testing.assert_close(likely, both.sigmoid())

    def test_bottlenecks_and_masks_know_its_probability(self) -> None:
        net, x, targets = one_output(), images(), torch.tensor([0, 1, 0])
        expected = torch.where(targets == 1, 1, -1) * net(x)[:, 0]
        recipe = PerSampleBottleneck(layer="0", steps=1, samples=1).fit(TwoSided(net), [images(8)])
        small = MeaningfulPerturbation(steps=1, scale=2, mask_sigma=0.0)
        for method in (recipe, small):
            found = method.explain(TwoSided(net), x, targets).diagnostics["probability-before"]
            torch.testing.assert_close(found, expected.sigmoid().detach())


@pytest.mark.parametrize("method", [MeaningfulPerturbation(steps=1, scale=2, mask_sigma=0.0)])
def test_the_softmax_of_one_output_is_refused(method: MeaningfulPerturbation) -> None:
    with pytest.raises(InputError, match=r"at least 2 outputs.*TwoSided\(model\) where it is a"):
        method(one_output(), images(), torch.zeros(3, dtype=torch.int64))
