"""Methods share what they need of one state: fewer passes, the same rows to the bit."""

from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof import sharing
from heatproof.methods import ChannelNorm, Gradient, GradientXInput, GuidedBackprop, GuidedGradCAM, Saliency
from heatproof.methods.base import Method

NAMES = [
    "gradient",
    "saliency",
    "gradient-x-input",
    "gradient-l2",
    "guided-backprop",
    "grad-cam",
    "guided-grad-cam",
    "integrated-gradients",
    "deeplift",
    "smoothgrad",
]


def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 3)).eval()


def images(count=3):
    return torch.randn(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@contextmanager
def counted(model):
    """Rows forward, with a graph and without."""
    rows = {"derived": 0, "plain": 0}

    def hook(_, given):
        rows["derived" if torch.is_grad_enabled() and given[0].requires_grad else "plain"] += len(given[0])

    handle = model.register_forward_pre_hook(hook)
    yield rows
    handle.remove()


@contextmanager
def apart(*_):
    yield


def audited(model, folder, methods=NAMES):
    run = hp.audit(
        model,
        images(),
        torch.tensor([0, 1, 2]),
        methods=methods,
        checks=["parameter-randomization", "completeness"],
        out=folder,
        progress=False,
    )
    return run.rows().sort_values(list(run.rows().columns.drop("value"))).reset_index(drop=True)


def test_rows_are_the_same_to_the_bit_and_passes_fewer(tmp_path, monkeypatch):
    model = network()
    with counted(model) as with_sharing:
        shared = audited(model, tmp_path / "shared")
    monkeypatch.setattr(sharing, "shared", apart)
    with counted(model) as without:
        plain = audited(model, tmp_path / "plain")
    pd.testing.assert_frame_equal(shared, plain, check_exact=True)
    assert with_sharing["derived"] < without["derived"] - 3 * 3 * 4  # gradients and guided backprop, in each state


def explained(recipes, model, x, y):
    found = {}
    with sharing.shared(model, x, y, recipes), counted(model) as rows:
        for recipe in recipes:
            found[recipe] = recipe.explain(model, x, y)
    return found, rows


@pytest.mark.parametrize(
    ("recipes", "derived"),
    [
        ((Gradient(), Saliency(), GradientXInput(), ChannelNorm()), 1),
        ((Saliency(), ChannelNorm(Saliency())), 1),
        ((GuidedGradCAM(), GuidedBackprop()), 1),  # Grad-CAM's graph begins inside
        ((Gradient(), GuidedBackprop()), 2),
    ],
    ids=str,
)
def test_what_is_needed_is_computed_once(recipes, derived):
    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    alone = {recipe: recipe.explain(model, x, y) for recipe in recipes}
    found, rows = explained(recipes, model, x, y)
    assert rows["derived"] == derived * len(x)
    for recipe, explanation in found.items():
        assert torch.equal(explanation.maps, alone[recipe].maps)
        assert explanation.diagnostics.keys() == alone[recipe].diagnostics.keys()
        for name, value in explanation.diagnostics.items():
            assert torch.equal(value, alone[recipe].diagnostics[name])


def test_outputs_on_the_samples_are_computed_once():
    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    recipes = [hp.methods.get(name) for name in ("integrated-gradients", "vargrad", "occlusion")]
    explained(recipes, model, x, y)  # what is settled once a model
    _, rows = explained(recipes, model, x, y)
    settled, windows = 5, 2 * 2  # anew, as a hook counts; of 8 × 8, on 12 × 12
    assert rows["plain"] == settled + len(x) * (1 + 1 + windows)  # f(x), f at the baseline of IG, windows


def test_nothing_is_shared_between_other_samples_models_labels_or_afterwards():
    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    with sharing.shared(model, x, y, [Gradient(), Gradient(), Gradient(), Gradient()]), counted(model) as rows:
        first = Gradient().explain(model, x, y)
        assert Gradient().explain(model, x, y) is first
        assert rows["derived"] == 3
        assert not torch.equal(Gradient()(model, x, y.flip(0)), first.maps)
        assert not torch.equal(Gradient()(model, x.flip(0), y), first.maps)
        Gradient()(model, x[:2], y[:2])
        assert rows["derived"] == 3 + 3 + 3 + 2
    with counted(model) as rows:
        Gradient()(model, x, y)
    assert rows["derived"] == 3


def test_maps_are_kept_no_longer_than_they_are_asked_for():
    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    with sharing.shared(model, x, y, [Gradient(), Saliency(), GradientXInput()]):
        here = sharing._shared.get()
        Gradient()(model, x, y)
        assert list(here.explanations) == [Gradient()]
        Saliency()(model, x, y)
        assert list(here.explanations) == [Gradient()]
        GradientXInput()(model, x, y)
        assert here.explanations == {}


def test_a_recipe_without_a_hash_takes_no_part():
    @dataclass(frozen=True, kw_only=True)
    class Listed(Method):
        """The gradient, with a list for a field."""

        parts: list[int]

        def _explain(self, model, inputs, targets):
            return Gradient().explain(model, inputs, targets)

    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    recipes = [Listed(parts=[1]), Gradient(), len]
    with sharing.shared(model, x, y, recipes):
        assert torch.equal(recipes[0](model, x, y), recipes[1](model, x, y))


def test_what_was_shared_counts_for_everybody_who_asks(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(sharing.time, "perf_counter", lambda: now[0])
    model, x, y = network(), images(), torch.tensor([0, 1, 2])
    model.register_forward_hook(lambda *_: now.__setitem__(0, now[0] + 1.0))  # a pass takes a second
    recipes = [Gradient(), Saliency(), GradientXInput(), ChannelNorm()]
    for recipe in recipes:
        recipe.explain(model, x, y)  # what is settled once a model
    taken, began = [], now[0]
    with sharing.shared(model, x, y, recipes):
        for recipe in recipes:
            clock = sharing.Clock()
            recipe.explain(model, x, y)
            taken.append(clock.seconds())
    assert taken == [1.0] * 4
    assert now[0] - began == 1.0
