"""Methods of others in a spec: adapters by name, files of maps and modules beside it."""

from pathlib import Path

import numpy as np
import pytest

from heatproof.adapters import Captum, Given, Python, Zennit
from heatproof.auditing.spec import parse
from heatproof.errors import InputError, UnknownNameError

AROUND = {"model": {"name": "a:b"}, "data": {"name": "demo"}, "checks": ["calibration"]}


def methods(folder: Path, *entries: object) -> dict[str, object]:
    return dict(parse({**AROUND, "methods": list(entries)}, folder).methods)


def test_adapters_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "maps.npz", a=np.ones((2, 2)))
    (tmp_path / "my_maps_of_a_spec.py").write_text("def twice(model, inputs, targets):\n    return inputs * 2\n")
    found = methods(
        tmp_path,
        "cgi",
        {"name": "captum", "explainer": "IntegratedGradients", "call": {"n_steps": 20}},
        {"name": "zennit", "composite": "EpsilonPlus", "label": "z"},
        {"name": "given", "maps": "maps.npz", "label": "theirs"},
        {"name": "python", "call": "my_maps_of_a_spec:twice"},
    )
    assert list(found) == ["cgi", "captum", "z", "theirs", "python"]
    assert found["captum"] == Captum("IntegratedGradients", call={"n_steps": 20})
    assert found["z"] == Zennit("EpsilonPlus")
    assert found["theirs"] == Given(str(tmp_path / "maps.npz"))
    assert isinstance(found["python"], Python)
    assert repr(found["python"]) == "Python('my_maps_of_a_spec:twice')"


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError, match="field of adapter 'captum', but got 'explaner'; did you mean 'explainer'"
    ):
        methods(tmp_path, {"name": "captum", "explaner": "Saliency"})
    with pytest.raises(InputError, match="a module 'there_is_none' with the method"):
        methods(tmp_path, {"name": "python", "call": "there_is_none:method"})
    with pytest.raises(InputError, match=r"Expected maps in .*none\.npz, but it cannot be read"):
        methods(tmp_path, {"name": "given", "maps": "none.npz"})
