"""Names for things that a user chooses by name."""

import importlib
import pickle
import subprocess
import sys
from dataclasses import dataclass

import pytest

from heatproof.adapters import ADAPTERS
from heatproof.baselines import Blur
from heatproof.checks import CHECKS, ParameterRandomization
from heatproof.data import DATA
from heatproof.errors import HeatproofError, HeatproofWarning, InputError, MissingExtraError, UnknownNameError, unknown
from heatproof.methods import LRP, Competitive, GradientXInput, IntegratedGradients, Saliency, SmoothGrad
from heatproof.methods.base import METHODS
from heatproof.randomization import Independent
from heatproof.reading.base import READINGS
from heatproof.registry import Registry, with_fields
from heatproof.similarity.base import SIMILARITIES
from heatproof.targets import TARGETS


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


class Plugin:
    """An entry point whose module raises, or registers."""

    def __init__(self, name, load):
        self.name, self.value, self.load = name, f"{name}.module", load


def plug_in(monkeypatch, *plugins):
    monkeypatch.setattr("heatproof.registry.entry_points", lambda group: list(plugins))


def test_a_broken_plug_in_is_named_where_it_is_listed_and_where_it_is_chosen(monkeypatch, tools):
    def breaks():
        tools.register("whisk")(Fork)
        raise ImportError("no module named 'eggs'")

    plug_in(monkeypatch, Plugin("kitchen", breaks), Plugin("good", lambda: tools.register("ladle")(Fork)))
    said = r"plug-in 'kitchen' \(kitchen\.module\) to add its tools, but its import raised ImportError: no module named"
    with pytest.warns(HeatproofWarning, match=said):
        assert tools.names() == ["big-spoon", "fork", "ladle", "spoon"]
    assert tools.get("ladle") == Fork()
    with pytest.raises(UnknownNameError, match=r"'whisk'.*could not be imported: 'kitchen' .*ImportError: no module"):
        tools.get("whisk")


def test_an_entry_may_be_what_it_adds(monkeypatch, tools):
    """A class is entered under the entry's name; one that is taken is the plug-in's fault."""

    @dataclass(frozen=True, kw_only=True)
    class Ladle:
        size: int = 1

    @dataclass(frozen=True, kw_only=True)
    class OtherFork:
        pass

    plug_in(monkeypatch, Plugin("ladle", lambda: Ladle), Plugin("fork", lambda: OtherFork))
    with pytest.warns(
        HeatproofWarning, match="plug-in 'fork' .* a new name for a tool, but 'fork' is registered already"
    ):
        assert tools.names() == ["big-spoon", "fork", "ladle", "spoon"]
    assert tools.get("ladle", size=5) == Ladle(size=5)
    assert tools.get("fork") == Fork()


@pytest.mark.parametrize(
    ("registry", "group"),
    [
        (METHODS, "heatproof.methods"),
        (CHECKS, "heatproof.checks"),
        (SIMILARITIES, "heatproof.similarities"),
        (DATA, "heatproof.data"),
        (READINGS, "heatproof.readings"),
        (TARGETS, "heatproof.targets"),
        (ADAPTERS, "heatproof.adapters"),
    ],
)
def test_groups_of_entry_points(registry, group):
    assert registry.group == group


def test_a_plug_in_whose_defaults_cannot_be_made_is_named(tools):
    def breaks():
        raise RuntimeError("no eggs")

    tools.register("whisk")(breaks)
    assert tools.name_of(Fork()) == "fork"
    with pytest.raises(InputError, match="tool 'whisk' to have defaults, but making it raised RuntimeError: no eggs"):
        tools.get("whisk")


def test_an_interrupted_load_is_done_again(monkeypatch, tools):
    times = []

    def interrupted():
        times.append(1)
        tools.register("ladle")(Fork)
        if len(times) == 1:
            raise KeyboardInterrupt
        tools.register("whisk")(Fork)

    plug_in(monkeypatch, Plugin("kitchen", interrupted))
    with pytest.raises(KeyboardInterrupt):
        tools.names()
    assert tools.names() == ["big-spoon", "fork", "ladle", "spoon", "whisk"]
    tools.names()
    assert len(times) == 2


def test_the_home_package_is_imported_until_it_is_whole(monkeypatch, tmp_path):
    package = tmp_path / "drawer"
    package.mkdir()
    (package / "__init__.py").write_text("from drawer.spoons import Spoon\nfrom drawer.forks import Fork\n")
    (package / "base.py").write_text(
        "from heatproof.registry import Registry\nTOOLS = Registry('tool', 'drawer')\ninterrupted = [True]\n"
    )
    head = "from dataclasses import dataclass\nfrom drawer.base import TOOLS, interrupted\n"
    (package / "spoons.py").write_text(head + "@TOOLS.register('spoon')\n@dataclass\nclass Spoon:\n    size: int = 1\n")
    (package / "forks.py").write_text(
        head + "@TOOLS.register('fork')\n@dataclass\nclass Fork:\n    size: int = 1\n"
        "if interrupted.pop():\n    interrupted.append(False)\n    raise KeyboardInterrupt\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("drawer")
    tools = sys.modules["drawer.base"].TOOLS
    assert tools.names() == ["fork", "spoon"]
    assert type(tools.get("fork")) is sys.modules["drawer"].Fork
    for name in [name for name in sys.modules if name.partition(".")[0] == "drawer"]:
        del sys.modules[name]


def test_ctrl_c_during_the_first_import_leaves_nothing_half_filled():
    code = """
import importlib.abc, sys
class Interrupt(importlib.abc.MetaPathFinder):
    left = ["heatproof.methods.path", "heatproof.methods.lrp", "heatproof.data.text", "heatproof.similarity.ssim"]
    def find_spec(self, name, path, target=None):
        if name in self.left:
            self.left.remove(name)
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import heatproof as hp
while Interrupt.left:
    try:
        hp.methods.names(), hp.data.names(), hp.checks.names()
    except KeyboardInterrupt:
        pass
from heatproof.methods.base import METHODS
from heatproof.similarity.base import SIMILARITIES
print(METHODS.names() + hp.data.names() + hp.checks.names() + SIMILARITIES.names())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(METHODS.names() + DATA.names() + CHECKS.names() + SIMILARITIES.names())


def test_errors_are_caught_as_what_they_are():
    error = unknown("tool", "spon", ["spoon"])
    assert isinstance(error, HeatproofError | ValueError | LookupError)
    assert isinstance(error, LookupError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    missing = MissingExtraError("scikit-image", "image", "Canny")
    assert isinstance(missing, ImportError)
    assert str(missing) == "Canny needs the package 'scikit-image'. Install it with: pip install 'heatproof[image]'"
