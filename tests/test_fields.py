"""A recipe's fields hold what they are declared to hold, whichever recipe it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.baselines import Blur, Constant, Zero
from heatproof.checks import ParameterRandomization
from heatproof.checks import get as get_check
from heatproof.errors import InputError, UnknownNameError, unknown
from heatproof.features import Pixels, Tiles
from heatproof.fields import typed
from heatproof.methods import Competitive, GradCAM, Gradient, IntegratedGradients, Occlusion, SmoothGrad, get
from heatproof.methods.lrp import LRP
from heatproof.randomization import Cascading
from heatproof.similarity import SSIM

STEPS = r"Expected steps to be an int, but got 'many'; it is a field of IntegratedGradients\."
WRONG = {
    "a word for a number": (lambda: get("integrated-gradients", steps="many"), STEPS),
    "at construction": (lambda: IntegratedGradients(steps="many"), STEPS),
    "a float for an int": (lambda: IntegratedGradients(steps=2.5), r"steps to be an int, but got 2\.5 \(float\)"),
    "a bool for an int": (lambda: IntegratedGradients(steps=True), r"steps to be an int, but got True"),
    "None": (lambda: SmoothGrad(noise=None), r"noise to be a float, but got None; it is a field of SmoothGrad"),
    "a baseline's name": (
        lambda: IntegratedGradients(baseline="blur"),
        r"baseline to be a Baseline, but got 'blur'; .*IntegratedGradients: make one, heatproof\.baselines\.Blur\(\)",
    ),
    "no baseline's name": (
        lambda: get("occlusion", baseline="blurred"),
        r"baseline to be a Baseline, but got 'blurred'; .*baselines are blur, constant, mean, values, zero",
    ),
    "a table for a baseline": (
        lambda: IntegratedGradients(baseline={"value": 1}),
        r"baseline to be a Baseline, but got .*; .*one of Blur\(\), Constant\(\)",
    ),
    "a class for a baseline": (
        lambda: IntegratedGradients(baseline=Zero),
        r"but got the class Zero; it is a field of IntegratedGradients: make one, Zero\(…\)",
    ),
    "a class for a method": (
        lambda: SmoothGrad(Gradient),
        "Expected a method, such as IntegratedGradients",
    ),
    "a module for its name": (
        lambda: GradCAM(layer=nn.Conv2d(1, 2, 3)),
        r"layer to be a str or .*, but got .*Conv2d.*: give the module's name, as in model\.named_modules\(\)",
    ),
    "a list for a tuple": (lambda: Occlusion(window=[2, 2]), r"window to be an int or a tuple \(int, …\) or None, but"),
    "features by name": (
        lambda: Occlusion(features="tiles"),
        r"features to be a Features or None, .*features\.Tiles\(\)",
    ),
    "a recipe for LRP": (lambda: LRP(composite=3), r"name of a composite, but got 3 \(int\)"),
    "a partial's class": (
        lambda: get("lrp-epsilon", allow_detached="yes"),
        r"allow_detached to be a bool, but got 'yes'",
    ),
    "a plain class": (lambda: Competitive(Gradient(), ties=3), r"way to settle ties, but got 3 \(int\); known are"),
    "a baseline's field": (lambda: Constant(value="grey"), r"value to be a float, but got 'grey'; .*Constant\."),
    "of a similarity": (lambda: SSIM(sigma="wide"), r"sigma to be a float, but got 'wide'"),
    "of a randomization": (lambda: Cascading(seed="x"), r"seed to be an int, but got 'x'"),
    "of features": (lambda: Pixels(reduction=2), "reduction to be one of sum, mean, l2, max, but got 2"),
    "of a check": (
        lambda: get_check("parameter-randomization", randomization=3),
        r"randomization to be a Randomization",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_type_is_refused_by_its_field(name):
    make, said = WRONG[name]
    with pytest.raises(InputError, match=said):
        make()


def test_what_fits_is_taken():
    assert IntegratedGradients(steps=np.int64(3)).steps == 3
    assert SmoothGrad(noise=1).noise == 1
    assert SmoothGrad(lambda model, x, y: x).samples == 50
    assert Occlusion(window=(2, 3), baseline=Blur(sigma=np.float64(2))).window == (2, 3)
    assert ParameterRandomization(similarities=("mse",)).similarities == ("mse",)

    class Own:
        def __call__(self, inputs):
            return inputs * 0

    assert IntegratedGradients(baseline=Own()).steps == 50


def test_every_kind_of_annotation():
    @typed
    @dataclass(frozen=True)
    class Recipe:
        anything: Any = None
        choice: Literal["a", 1] = "a"
        pair: tuple[int, str] = (1, "a")
        many: tuple[float, ...] = ()
        call: Callable[[int], int] = abs
        table: dict[str, int] = field(default_factory=dict)
        kind: type = int
        items: list[int] = field(default_factory=list)

    Recipe(object(), 1, (2, "b"), (1, 2.5), len, {"a": 1}, float, [1])
    Recipe(pair=[1, "a"])
    for value, said in [
        ({"choice": "b"}, "choice to be 'a' or 1"),
        ({"choice": True}, "choice to be 'a' or 1"),
        ({"pair": (1, 2)}, r"pair to be a tuple \(int, str\)"),
        ({"pair": (1,)}, "pair to be"),
        ({"many": ("a",)}, r"many to be a tuple \(float, …\)"),
        ({"call": 3}, "call to be a callable"),
        ({"table": (1,)}, "table to be a dict"),
        ({"kind": 3}, "kind to be a type"),
    ]:
        with pytest.raises(InputError, match=said):
            Recipe(**value)
    with pytest.raises(InputError, match="choice to be"):
        Recipe(None, "b")
    assert typed(Recipe) is Recipe
    assert typed(len) is len


def test_python_says_what_only_it_knows():
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        IntegratedGradients(step=3)


def test_an_error_of_another_kind_stays():
    @typed
    @dataclass(frozen=True)
    class Broken:
        size: int = 3

        def __post_init__(self):
            raise ZeroDivisionError("own")

    with pytest.raises(ZeroDivisionError, match="own"):
        Broken(size=3)
    with pytest.raises(InputError, match="size to be an int"):
        Broken(size="3")


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("steps", ["method", "per", "rank", "ties"], None),
        ("cgy", ["cgi", "clrp"], "cgi"),
        ("GradCAM", ["grad-cam", "gradient"], "grad-cam"),
        ("eps", ["epsilon", "gamma"], "epsilon"),
        ("hee", ["he", "uniform"], "he"),
        ("wrods", ["words", "head"], "words"),
        ("n_samples", ["samples", "noise"], "samples"),
        ("xyz", ["abc", "abd"], None),
        ("", ["abc"], None),
    ],
)
def test_only_what_is_near_is_meant(name, known, near):
    said = str(unknown("thing", name, known))
    assert (f"did you mean {near!r}?" if near else f"known are: {', '.join(known)}.") in said


@pytest.mark.parametrize("name", [None, 3, ["gradient"], Gradient, Gradient(), torch.zeros(2)])
def test_a_name_that_is_no_text(name):
    with pytest.raises(
        UnknownNameError, match=r"name of a method, but got (None|3|\['gra|the class|Gradient\(\)|a Tensor)"
    ):
        get(name)


def test_a_value_without_its_fields_name_is_refused():
    with pytest.raises(InputError, match=r"fields of Tiles by name, Tiles\(size=…, layout=…\), but got 8 \(int\)"):
        Tiles(8)
