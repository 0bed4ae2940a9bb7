"""What a method or check says of itself, taken apart."""

import json

from heatproof.checks import CHECKS
from heatproof.described import described, unit
from heatproof.methods.base import METHODS


def test_fields_have_defaults_types_and_meanings() -> None:
    found = described(METHODS, "smoothgrad")
    fields = {one.name: one for one in found.fields}
    assert (fields["samples"].default, fields["samples"].kind) == ("50", "int")
    assert fields["samples"].meaning == "number of noisy copies."
    assert fields["method"].default == "Gradient()"
    assert found.cost == "M times E's, and one forward pass."
    assert found.source.startswith("Smilkov et al. 2017; ")
    assert found.example.startswith(">>> hp.methods.SmoothGrad(")
    assert ">>>" not in found.text
    assert "\n" not in found.text.split("\n\n")[0]


def test_every_method_and_check_can_be_told_as_json() -> None:
    for registry in (METHODS, CHECKS):
        for name in registry.names():
            found = described(registry, name)
            assert found.summary, name
            told = json.loads(json.dumps(found.as_data()))
            assert [one["name"] for one in told["fields"]] == [one.name for one in found.fields]


def test_units_are_those_of_the_docstring_and_of_the_method_within() -> None:
    assert unit(METHODS.get("gradient-x-input")) == "score"
    assert unit(METHODS.get("gradient")) == "score per input unit"
    assert unit(METHODS.get("iba")) == "bits"
    assert unit(METHODS.get("cgi")) == "score"
    assert unit(METHODS.get("random")) == ""
