"""Meaningful perturbation: its slow twin, masks known in advance, the starting disc, and errors."""

import math

import pytest
import torch
from method_networks import Watched, cnn, images
from torch import nn

from heatproof import InputError
from heatproof.baselines import Blur, Mean, Zero
from heatproof.methods import MeaningfulPerturbation
from heatproof.models import Bound
from heatproof.propagation.independence import check_independent
from heatproof.testing import check_method
from reference import perturbation as reference

TARGETS = torch.tensor([0, 3, 1])


def sharper(net, factor=5.0):
    """A network with more decided probabilities."""
    with torch.no_grad():
        net[-1].weight.mul_(factor)
    return net


class Region(nn.Module):
    """Logit 0 is `gain` times the mean of the pixels in rows and columns below `size`; logit 1 is 0."""

    def __init__(self, size, gain):
        super().__init__()
        self.size, self.gain = size, gain
        self.eval()

    def forward(self, x):
        inside = self.gain * x[:, :, : self.size, : self.size].mean((1, 2, 3))
        return torch.stack([inside, torch.zeros_like(inside)], 1)


@pytest.mark.parametrize("power", [3.0, 1.0])
def test_equals_its_slow_twin(power):
    model, x = sharper(cnn()), images()
    method = MeaningfulPerturbation(
        steps=4, scale=3, mask_sigma=0.4, jitter=3, variation=0.05, power=power, baseline=Mean(), start="kept", seed=5
    )
    explanation = method.explain(model, x, TARGETS)
    background = Mean()(x).expand_as(x)
    start = torch.ones(3, 3, dtype=x.dtype)
    for n, target in enumerate(TARGETS):
        expected = reference.meaningful_perturbation(model, x[n], background[n], target, start, method)
        torch.testing.assert_close(explanation.maps[n, 0], expected, rtol=1e-9, atol=1e-12)


def test_diagnostics_are_of_the_image_and_of_the_map():
    model, x = sharper(cnn()), images()
    explanation = MeaningfulPerturbation(steps=20, scale=2, mask_sigma=1.0, baseline=Blur(sigma=2.0))
    explanation = explanation.explain(model, x, TARGETS)
    maps = explanation.maps
    before, after = (
        model(image).detach().softmax(1).gather(1, TARGETS[:, None])[:, 0]
        for image in (x, (1 - maps) * x + maps * Blur(sigma=2.0)(x))
    )
    torch.testing.assert_close(explanation.diagnostics["probability-before"], before)
    torch.testing.assert_close(explanation.diagnostics["probability-after"], after)
    torch.testing.assert_close(explanation.diagnostics["deleted-share"], maps.mean((1, 2, 3)))
    assert maps.shape == (3, 1, 8, 8)


def test_only_what_the_label_needs_is_deleted():
    # Nothing but one cell moves the probability, and nothing ties the cells together.
    x, y = torch.ones(2, 3, 8, 12, dtype=torch.float64), torch.zeros(2).long()
    method = MeaningfulPerturbation(
        steps=60, scale=4, mask_sigma=0.0, jitter=1, variation=0.0, baseline=Zero(), start="kept"
    )
    expected = torch.zeros(2, 1, 8, 12, dtype=torch.float64)
    expected[:, :, :4, :4] = 1
    explanation = method.explain(Region(4, gain=3.0), x, y)
    assert torch.equal(explanation.maps, expected)
    assert explanation.diagnostics["probability-after"].tolist() == [0.5, 0.5]


def test_area_that_costs_more_than_it_gains_is_kept():
    x, y = torch.ones(1, 3, 8, 8, dtype=torch.float64), torch.zeros(1).long()
    # One cell: p(m) = sigmoid(3m) rises by 0.1355 at m = 1, and faster below. A dearer area is kept but for the last
    # few steps of Adam, a cheaper one is deleted.
    settings = {"scale": 8, "mask_sigma": 0.0, "jitter": 1, "baseline": Zero(), "start": "kept", "rate": 0.005}
    slope = 3 * math.exp(-3) / (1 + math.exp(-3)) ** 2
    kept = MeaningfulPerturbation(area=1.1 * slope, steps=400, **settings)(Region(8, gain=3.0), x, y)
    assert float(kept.max()) < 0.02
    deleted = MeaningfulPerturbation(area=0.9 * slope, steps=400, **settings)(Region(8, gain=3.0), x, y)
    assert bool((deleted == 1).all())


def test_disc_starts_where_the_probability_is_gone():
    size = 64
    x, y = torch.ones(1, 1, size, size, dtype=torch.float64), torch.zeros(1).long()

    class Center(nn.Module):
        def forward(self, x):
            inside = 20 * x[:, :, 30:34, 30:34].mean((1, 2, 3)) - 10
            return torch.stack([inside, torch.zeros_like(inside)], 1)

    # No step is made that could matter: what comes back is the starting mask.
    method = MeaningfulPerturbation(steps=1, rate=1e-9, scale=1, mask_sigma=0.0, jitter=1, baseline=Zero())
    explanation = method.explain(Center().eval(), x, y)
    assert float(explanation.diagnostics["probability-after"]) < 0.01
    disc = explanation.maps[0, 0]
    assert bool((disc[32] >= disc[10]).all())
    assert float(disc[32, 32]) == disc.max()
    # The next smaller disc is not enough: radii go up in steps of 5, and one that is 5 smaller leaves over 1 %.
    radius = math.sqrt(float(disc.sum()) / math.pi)
    y_, x_ = torch.arange(size) - 32, torch.arange(size) - 32
    smaller = ((y_[:, None] ** 2 + x_**2) <= (5 * round(radius / 5) - 5) ** 2).double()[None, None]
    left = Center()((1 - Blur(sigma=10.0)(smaller)) * x).softmax(1)[0, 0]
    last = Center()(x * 0).softmax(1)[0, 0]
    assert (left - last) / (1 - last) > 0.01


def test_image_that_nothing_deletes_starts_from_the_largest_disc():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 2, dtype=x.dtype) + 0 * x.sum()

    maps = MeaningfulPerturbation(steps=2)(Constant().eval(), images(), torch.zeros(3).long())
    assert bool((maps > 0.5).all())


def test_passes():
    model, x = Watched(cnn()), images(3)
    check_independent(model, x)  # once a model
    model.rows.clear()
    MeaningfulPerturbation(steps=7, start="kept")(model, x, TARGETS)
    assert model.rows == [3] * (7 + 2)
    model.rows.clear()
    MeaningfulPerturbation(steps=7)(model, x, TARGETS)
    assert model.rows == [3] * (7 + 3 + 4)  # radii 0, 5, 10, 15 of an 8 × 8 image, and the image as it is once more
    assert MeaningfulPerturbation(steps=7).cost(10, (3, 224, 224)) == 7


def test_more_samples_than_a_pass_takes(monkeypatch):
    model, x = sharper(cnn()), images(5)
    y, method = torch.tensor([0, 1, 2, 3, 4]), MeaningfulPerturbation(steps=10, scale=2, mask_sigma=1.0)
    together = method.explain(model, x, y)
    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 2)
    apart = method.explain(model, x, y)
    torch.testing.assert_close(apart.maps, together.maps, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(
        apart.diagnostics["probability-after"], together.diagnostics["probability-after"], rtol=1e-7, atol=1e-9
    )


def test_side_inputs_follow_their_samples(monkeypatch):
    class Gated(nn.Module):
        def forward(self, x, gate):
            inside = (gate * x[:, 0].mean((1, 2)))[:, None]
            return torch.cat([inside, -inside], 1)

    monkeypatch.setattr("heatproof.methods.base.rows_per_pass", lambda _: 2)
    x, gate = torch.ones(3, 1, 4, 4, dtype=torch.float64), torch.tensor([3.0, -3.0, 0.5], dtype=torch.float64)
    bound = Bound(Gated().eval(), given={"gate": gate})
    method = MeaningfulPerturbation(steps=1, start="kept", baseline=Zero())
    before = method.explain(bound, x, torch.zeros(3).long()).diagnostics["probability-before"]
    torch.testing.assert_close(before, (2 * gate).sigmoid())


def test_shifts_depend_on_seed_and_sample_alone():
    model, x = sharper(cnn()), images()
    method = MeaningfulPerturbation(steps=5, scale=2, mask_sigma=1.0)
    maps = method(model, x, TARGETS)
    assert torch.equal(method(model, x, TARGETS), maps)
    other = MeaningfulPerturbation(steps=5, scale=2, mask_sigma=1.0, seed=1)(model, x, TARGETS)
    assert not torch.equal(other, maps)
    still = [
        MeaningfulPerturbation(steps=5, scale=2, mask_sigma=1.0, jitter=1, seed=seed)(model, x, TARGETS)
        for seed in (0, 1)
    ]
    assert torch.equal(*still)


@pytest.mark.parametrize(
    "method",
    [
        MeaningfulPerturbation(steps=10),
        MeaningfulPerturbation(steps=10, scale=3, mask_sigma=0.0, jitter=1, baseline=Mean(), start="kept", power=1.0),
    ],
    ids=str,
)
def test_keeps_the_contract(method):
    check_method(method)


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match=r"images \(N, C, H, W\) to delete regions of, but got \(3, 7\)"):
        MeaningfulPerturbation()(nn.Linear(7, 5).double().eval(), torch.randn(3, 7, dtype=torch.float64), TARGETS)
    with pytest.raises(InputError, match="Expected steps to be at least 1, but got 0"):
        MeaningfulPerturbation(steps=0)
    with pytest.raises(InputError, match="Expected mask_sigma to be finite and at least 0, but got -1"):
        MeaningfulPerturbation(mask_sigma=-1.0)
    with pytest.raises(InputError, match="Expected rate to be finite and above 0, but got 0"):
        MeaningfulPerturbation(rate=0.0)
    with pytest.raises(InputError, match="name of a start, but got 'disk'; did you mean 'disc'"):
        MeaningfulPerturbation(start="disk")
    with pytest.raises(InputError, match="between 0 and 4, the model's last output, but got 9"):
        MeaningfulPerturbation(steps=1)(cnn(), images(), torch.tensor([0, 9, 1]))
