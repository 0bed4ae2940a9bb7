import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heatproof.toml import dumped, inline

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXTS)
VALUES = st.recursive(
    PLAIN, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4))
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_what_is_written_is_read_back(data: dict[str, object]) -> None:
    assert tomllib.loads(dumped(data)) == data


def test_a_spec_reads_as_one_writes_it() -> None:
    spec = {
        "title": "Digits",
        "methods": ["grad-cam", {"name": "iba", "samples": 4}],
        "out": None,
        "model": {"name": "a:b", "arguments": {"wide": True}},
    }
    assert dumped(spec) == (
        'title = "Digits"\nmethods = ["grad-cam", { name = "iba", samples = 4 }]\n\n[model]\nname = "a:b"\n\n'
        "[model.arguments]\nwide = true\n"
    )


@pytest.mark.parametrize(("value", "said"), [(0.1, "0.1"), (1e30, "1e+30"), (math.inf, "inf"), ("\x00", '"\\u0000"')])
def test_values_on_one_line(value: object, said: str) -> None:
    assert inline(value) == said
