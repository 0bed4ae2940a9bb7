"""Names for things that a user chooses by name."""

import pickle
from dataclasses import dataclass

import pytest

from heatproof.baselines import Blur
from heatproof.checks import CHECKS, ParameterRandomization
from heatproof.errors import HeatproofError, InputError, MissingExtraError, UnknownNameError, unknown
from heatproof.methods import LRP, Competitive, GradientXInput, IntegratedGradients, Saliency, SmoothGrad
from heatproof.methods.base import METHODS
from heatproof.randomization import Independent
from heatproof.registry import Registry, with_fields


@dataclass(frozen=True, kw_only=True)
class Spoon:
    size: int = 3
    material: str = "wood"


@dataclass(frozen=True, kw_only=True)
class Fork:
    pass


@pytest.fixture
def tools():
    registry = Registry("tool")
    registry.register("spoon")(Spoon)
    registry.register("big-spoon")(lambda: Spoon(size=9))
    registry.register("fork")(Fork)
    return registry


def test_names_are_sorted_and_give_defaults(tools):
    assert tools.names() == ["big-spoon", "fork", "spoon"]
    assert tools.get("big-spoon") == Spoon(size=9)
    assert tools.get("big-spoon", material="steel") == Spoon(size=9, material="steel")


def test_a_name_is_the_equal_default_or_the_nearest_of_its_class(tools):
    assert tools.name_of(Spoon(size=9)) == "big-spoon"
    assert tools.name_of(Spoon()) == "spoon"
    assert tools.name_of(Spoon(size=9, material="steel")) == "big-spoon"
    assert tools.name_of(Spoon(size=5)) is None  # as far from the one as from the other
    assert tools.name_of(Fork()) == "fork"
    assert tools.name_of("stranger") is None


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (IntegratedGradients(steps=20), "integrated-gradients"),
        (IntegratedGradients(baseline=Blur()), "integrated-gradients"),
        (SmoothGrad(samples=20), "smoothgrad"),
        (SmoothGrad(IntegratedGradients()), "integrated-gradients-smoothgrad"),
        (SmoothGrad(Saliency()), None),
        (SmoothGrad(SmoothGrad()), None),
        (Competitive(GradientXInput(), ties="drop"), "cgi"),
        (Competitive(IntegratedGradients()), None),
        (Competitive(SmoothGrad(IntegratedGradients())), None),
        (LRP(composite="epsilon-gamma-box", allow_detached=True), "lrp-epsilon-gamma-box"),
    ],
    ids=str,
)
def test_another_method_inside_is_another_name(method, name):
    assert METHODS.name_of(method) == name


def test_a_check_keeps_its_name_whatever_its_recipes():
    check = ParameterRandomization(randomization=Independent(initializer="he"), similarities=("mse",))
    assert CHECKS.name_of(check) == "parameter-randomization"


def test_registering_again(tools):
    tools.register("spoon")(Spoon)  # the same module imported twice
    with pytest.raises(InputError, match="new name for a tool, but 'spoon' is registered already"):
        tools.register("spoon")(Fork)


def test_unknown_names_get_the_nearest(tools):
    with pytest.raises(UnknownNameError, match="name of a tool, but got 'sporn'; did you mean 'spoon'"):
        tools.get("sporn")
    with pytest.raises(UnknownNameError, match="known are: big-spoon, fork, spoon"):
        tools.get("xyz")
    with pytest.raises(UnknownNameError, match="field of tool 'spoon', but got 'sise'; did you mean 'size'"):
        tools.get("spoon", sise=4)
    with pytest.raises(UnknownNameError, match="field of tool 'fork', but got 'tines'; known are:"):
        tools.get("fork", tines=4)


def test_with_fields_of_something_without_fields():
    assert with_fields(3, {}, "number") == 3
    with pytest.raises(UnknownNameError, match="field of number"):
        with_fields(3, {"size": 4}, "number")


def test_plugins_are_loaded_once_when_a_name_is_first_needed(monkeypatch, tools):
    loaded = []

    class Entry:
        def load(self):
            loaded.append("plugin")
            tools.register("ladle")(Spoon)

    monkeypatch.setattr(
        "heatproof.registry.entry_points", lambda group: [Entry()] if group == "heatproof.tools" else []
    )
    assert "ladle" in tools.names()
    assert tools.get("ladle") == Spoon()
    assert loaded == ["plugin"]


def test_errors_are_caught_as_what_they_are():
    error = unknown("tool", "spon", ["spoon"])
    assert isinstance(error, HeatproofError | ValueError | LookupError)
    assert isinstance(error, LookupError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    missing = MissingExtraError("scikit-image", "image", "Canny")
    assert isinstance(missing, ImportError)
    assert str(missing) == "Canny needs the package 'scikit-image'. Install it with: pip install 'heatproof[image]'"
