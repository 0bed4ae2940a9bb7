"""What Python can say of methods, baselines, rules and features a spec can say: no field is left without a way."""

import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

import heatproof as hp
from heatproof.adapters import ADAPTERS, Captum
from heatproof.auditing.spec import parse
from heatproof.baselines import BASELINES, Blur, Constant, PerSample, Rows, Token, Values
from heatproof.errors import InputError, UnknownNameError
from heatproof.features import FEATURES
from heatproof.frozen import Frozen
from heatproof.methods import (
    BetaSmooth,
    Competitive,
    DeepLIFT,
    ExpectedGradients,
    GradCAM,
    IntegratedGradients,
    Occlusion,
    OverBaselines,
    SmoothGrad,
)
from heatproof.methods.base import METHODS, Method
from heatproof.propagation.composites import BY_NAME, COMPOSITES, Composite
from heatproof.propagation.first_rules import FIRST_RULES, Flat, WSquare
from heatproof.propagation.rules import RULES, AlphaBeta, Epsilon, Gamma, Pass, z_plus
from heatproof.recipes import NOUNS
from heatproof.registry import Registry

AROUND = {"model": {"name": "a:b"}, "data": {"name": "demo"}, "checks": ["calibration"]}
# Fields that a spec leaves at their default, and why.
UNSAID = {
    "fitted": "an audit fits, on the training data that the spec names",
    "samples of given": "the ids of a block, which the audit knows",
}


def said(text: str, folder: Path = Path()) -> Any:
    """The method of a line of a spec."""
    table = tomllib.loads(f"methods = [{text}]")
    (found,) = parse({**AROUND, **table}, folder).methods.values()
    return found


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ('"beta-smooth"', BetaSmooth()),
        ('{ name = "beta-smooth", beta = 5 }', BetaSmooth(beta=5.0)),
        (
            '{ name = "expected-gradients", baselines = [[0.0, 1.0], [1.0, 1.0]], samples = 7, multipliers = true }',
            ExpectedGradients(baselines=Frozen([[0.0, 1.0], [1.0, 1.0]]), samples=7, multipliers=True),
        ),
        (
            '{ name = "over-baselines", method = { name = "deeplift" }, baselines = "b.npy", samples = 2 }',
            OverBaselines(DeepLIFT(), baselines=Frozen([[0.5, 2.5]]), samples=2),
        ),
        (
            '{ name = "smoothgrad", method = { name = "expected-gradients", baselines = "b.npz" }, sigma = "s.npy" }',
            SmoothGrad(ExpectedGradients(baselines=Frozen([[0.5, 2.5]])), sigma=Frozen([0.1, 0.2])),
        ),
        (
            '{ name = "integrated-gradients", quadrature = "riemann-left", baseline = 0.5 }',
            IntegratedGradients(quadrature="riemann-left", baseline=Constant(value=0.5)),
        ),
        (
            '{ name = "integrated-gradients", baseline = { name = "values", values = "b.safetensors" } }',
            IntegratedGradients(baseline=Values(Frozen([[0.5, 2.5]]))),
        ),
        ('{ name = "occlusion", show = "window", window = [2, 3] }', Occlusion(show="window", window=(2, 3))),
        (
            '{ name = "occlusion", features = { name = "segments", mask = [[0, 0, 1]] }, baseline = "blur" }',
            Occlusion(features=hp.features.Segments([[0, 0, 1]]), baseline=Blur()),
        ),
        ('{ name = "grad-cam", layer = ["a", "b"], relu = false }', GradCAM(layer=("a", "b"), relu=False)),
        ('{ name = "smoothgrad", sigma = [1, 2], of = "squares" }', SmoothGrad(sigma=(1.0, 2.0), of="squares")),
        (
            '{ name = "smoothgrad", method = { name = "captum", explainer = "Saliency" } }',
            SmoothGrad(Captum("Saliency")),
        ),
        ('{ name = "lrp-epsilon", composite = "epsilon-plus-flat" }', hp.methods.LRP(composite="epsilon-plus-flat")),
        (
            '{ name = "lrp-epsilon", composite = { name = "epsilon", first = "w-square", convolution = "z-plus", '
            'layers = { "features.0" = { name = "gamma", gamma = 1 }, head = "pass" } } }',
            hp.methods.LRP(
                composite=Composite(
                    convolution=z_plus(),
                    dense=Epsilon(),
                    first=WSquare(),
                    layers={"features.0": Gamma(gamma=1.0), "head": Pass()},
                )
            ),
        ),
        (
            '{ name = "clrp", method = { name = "lrp-epsilon", composite = { name = "epsilon", '
            'dense = { name = "alpha-beta", alpha = 3, beta = 2, lone = "conserving" } } } }',
            Competitive(
                hp.methods.LRP(
                    composite=Composite(convolution=Epsilon(), dense=AlphaBeta(alpha=3.0, beta=2.0, lone="conserving"))
                )
            ),
        ),
    ],
)
def test_a_line_of_a_spec(text: str, made: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    np.save(tmp_path / "b.npy", np.array([[0.5, 2.5]]))
    np.savez(tmp_path / "b.npz", whatever=np.array([[0.5, 2.5]]))
    save_file({"values": torch.tensor([[0.5, 2.5]], dtype=torch.float64)}, tmp_path / "b.safetensors")
    np.save(tmp_path / "s.npy", np.array([0.1, 0.2]))
    found = said(text, tmp_path)
    assert found == made
    assert repr(found) == repr(made)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            '{ name = "over-baselines", baselines = "none.npy" }',
            r"Expected numbers in .*none\.npy, but it cannot be read",
        ),
        (
            '{ name = "over-baselines", baselines = "b.pt" }',
            r"in a file \.safetensors, \.npz or \.npy, but got '.*b\.pt'",
        ),
        ('{ name = "expected-gradients", baselines = "two.npz" }', r"one array of numbers in .*, but it has 2: a, b"),
        (
            '{ name = "lrp-epsilon", composite = { name = "epsilom" } }',
            "name of a composite, but got 'epsilom'; did you",
        ),
        (
            '{ name = "lrp-epsilon", composite = { name = "epsilon", dense = "gama" } }',
            "name of a rule, but got 'gama'; did you mean 'gamma'",
        ),
        (
            '{ name = "lrp-epsilon", composite = { name = "epsilon", first = "gamma" } }',
            "name of a rule for the first layer, but got 'gamma'",
        ),
        (
            '{ name = "lrp-epsilon", composite = { name = "epsilon", dense = { name = "gamma", gama = 1 } } }',
            "field of rule 'gamma', but got 'gama'; did you mean 'gamma'",
        ),
    ],
)
def test_what_is_wrong_is_said(text: str, error: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises((InputError, UnknownNameError), match=error):
        said(text, tmp_path)


def test_every_class_of_a_method_has_a_name() -> None:
    """But what others derive from, and maps that are given, whose name is an adapter's."""
    named = {type(METHODS.get(name)) for name in METHODS.names()} | {type(ADAPTERS.get(n)) for n in ADAPTERS.names()}
    public = {value for value in vars(hp.methods).values() if isinstance(value, type) and issubclass(value, Method)}
    assert {one.__name__ for one in public - named} == {"FittedMethod", "Linearizable", "Method"}


def test_every_class_of_a_baseline_has_a_name() -> None:
    """But a token, whose embedding is `values` of a file, and what belongs to the samples of one call."""
    named = {type(BASELINES.get(name)) for name in BASELINES.names()}
    import heatproof.baselines as module

    every = {v for v in vars(module).values() if is_dataclass(v) and v.__module__ == module.__name__}
    assert every - named == {Token, PerSample, Rows}


def test_rules_and_composites_have_their_names() -> None:
    assert RULES.names() == ["adaptive-beta", "alpha-beta", "epsilon", "gamma", "pass", "z-plus"]
    assert FIRST_RULES.names() == ["box", "flat", "w-square"]
    assert FIRST_RULES.get("flat") == Flat()
    assert {name: BY_NAME.get(name) for name in BY_NAME.names()} == dict(COMPOSITES)


def sayable(hint: Any) -> bool:
    """Whether a value of a spec becomes one of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in NOUNS or hint in (int, float, str, bool, type(None), Frozen, Composite):
        return True
    if origin in (Union, types.UnionType):  # a function has a name, or a noun stands beside it
        rest = tuple(one for one in inner if one is not type(None))
        return Union[rest] in NOUNS or any(sayable(one) for one in rest)  # noqa: UP007  # of a tuple
    if origin is Mapping:
        return inner[1] is Any or sayable(inner[1])
    return origin is Literal or (origin is tuple and all(sayable(one) for one in inner if one is not Ellipsis))


REGISTRIES: list[Registry[Any]] = [METHODS, ADAPTERS, BASELINES, FEATURES, RULES, FIRST_RULES, BY_NAME]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.kind)
def test_every_field_can_be_said(registry: Registry[Any]) -> None:
    for name in registry.names():
        recipe = registry.get(name)
        hints = get_type_hints(type(recipe))
        for one in fields(recipe):
            plain = hints[one.name] is Any  # a file, a name or numbers, as the recipe itself reads it
            excused = one.name in UNSAID or f"{one.name} of {name}" in UNSAID
            assert plain or excused or not one.init or sayable(hints[one.name]), f"{name}: {one.name}"
            assert get_origin(hints[one.name]) is not Callable, f"{name}: {one.name}"
