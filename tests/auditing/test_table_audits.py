"""Rows of a table, from a specification to the report: by numbers, one-hots and embeddings."""

from pathlib import Path
from typing import Any

import pytest

import heatproof as hp
from heatproof.auditing import from_spec
from heatproof.auditing.run import Run
from heatproof.auditing.spec import parse, read
from heatproof.errors import InputError
from heatproof.features import Segments

NETWORKS = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return self.body(x)


class One(Plain):
    def forward(self, x):
        return super().forward(x)[:, :1]


class Each(nn.Module):
    '''An embedding a category.'''

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.towns, self.shades = nn.Embedding(2, 3), nn.Embedding(3, 4)
        self.body = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, numbers, color, town):
        return self.body(torch.cat([numbers, self.shades(color), self.towns(town)], 1))


class Together(nn.Module):
    '''One embedding of all categories, whose integers lie behind one another.'''

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("before", torch.tensor([0, 3]))
        self.words = nn.Embedding(5, 4)
        self.body = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, numbers, categories):
        return self.body(torch.cat([numbers, self.words(categories + self.before).flatten(1)], 1))


class Alone(nn.Module):
    '''Of categories alone, without offsets.'''

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.Embedding(3, 4), nn.Linear(8, 2)

    def forward(self, categories):
        return self.head(self.words(categories).relu().flatten(1))
"""
ROWS = "age,color,income,town,label\n20,red,1.5,a,ill\n30,blue,2.5,b,well\n40,red,3.5,a,ill\n50,green,8.5,b,well\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "table_networks.py").write_text(NETWORKS)
    (tmp_path / "rows.csv").write_text(ROWS)
    return tmp_path


def audited(folder: Path, model: dict[str, Any], data: dict[str, Any], **changes: Any) -> Run:
    table = {
        "methods": ["gradient-x-input", "random"], "checks": ["completeness", "degradation", "sensitivity-n"],
        "threads": 1, "model": model, "data": {"name": "table", "path": "rows.csv", **data}, **changes,
    }  # fmt: skip
    lines = [f"{key} = {toml(value)}" for key, value in table.items()]
    (folder / "spec.toml").write_text("\n".join(lines))
    return from_spec.run(read(folder / "spec.toml"), folder / "run", progress=False)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def maps_of(run: Run) -> tuple[list[str], int]:
    data = run.manifest["data"]
    assert not run.manifest["failures"]
    assert len(data["columns"]) == data["grid"][0]
    return data["columns"], data["grid"][0]


def test_one_hots(folder: Path) -> None:
    model = {"name": "table_networks:Plain", "arguments": {"inputs": 7}}
    run = audited(folder, model, {"encoding": "one-hot", "standardize": True}, targets="label")
    assert maps_of(run) == (["age", "income", "color", "town"], 4)
    assert run.manifest["data"]["cells"]["row 3"] == ["50", "8.5", "green", "b"]
    assert run.manifest["data"]["classes"] == ["ill", "well"]
    assert run.manifest["data"]["features"]["class"].endswith("Segments")
    page = run.report().read_text(encoding="utf-8")
    assert "color red" in page
    assert "bars of 4 of 4 columns" in page


def test_an_embedding_a_category_is_one_feature_and_keeps_its_column_s_name(folder: Path) -> None:
    model = {
        "name": "table_networks:Each", "at": ["numbers", "towns", "shades"], "given": ["numbers", "color", "town"],
    }  # fmt: skip
    run = audited(folder, model, {})
    assert maps_of(run) == (["age", "income", "town", "color"], 4)  # in the order of `at`
    assert run.manifest["data"]["cells"]["row 1"] == ["30", "2.5", "b", "blue"]
    assert "town a" in run.report().read_text(encoding="utf-8")


def test_one_embedding_of_all_categories(folder: Path) -> None:
    model = {"name": "table_networks:Together", "at": ["numbers", "words"], "given": ["numbers", "categories"]}
    run = audited(folder, model, {})
    columns, count = maps_of(run)
    assert count == 4
    assert columns[:2] == ["age", "income"]
    # The first category's integers go in as they are, the other's moved by 3: no column holds those.
    assert columns[2:] == ["color", "words 1"]


def test_categories_alone(folder: Path) -> None:
    model = {"name": "table_networks:Alone", "at": "words", "given": ["categories"]}
    run = audited(folder, model, {"categories": ["color", "town"]})
    assert maps_of(run) == (["color", "town"], 2)
    assert run.manifest["data"]["cells"]["row 0"] == ["red", "a"]


def test_groups_and_numbers_in_several_inputs(folder: Path) -> None:
    """A group of numbers is one feature also where categories are explained beside them."""
    model = {"name": "table_networks:Each", "at": ["numbers", "towns", "shades"], "given": ["numbers", "color", "town"]}
    run = audited(folder, model, {"groups": {"both": ["age", "income"]}})
    assert maps_of(run) == (["both", "town", "color"], 3)


def test_a_number_to_predict(folder: Path) -> None:
    model = {"name": "table_networks:One", "arguments": {"inputs": 1}}
    data = {"number": "income", "numbers": ["age"]}
    run = audited(folder, model, data, outputs="scalars", unit="EUR", checks=["completeness"])
    assert not run.manifest["failures"]
    assert run.manifest["knowledge"]["measure"] == "R²"
    assert run.manifest["model"]["meaning"] == {"kind": "scalars", "unit": "EUR"}


def test_in_python_with_a_frame(folder: Path, tmp_path: Path) -> None:
    import pandas as pd

    from heatproof.named_code import code_beside, named_code

    with code_beside(folder, ()):
        net = named_code("table_networks:Plain", "model", folder=folder)(7).eval()
    source = hp.data.table(pd.read_csv(folder / "rows.csv"), encoding="one-hot")
    run = hp.audit(
        net, source, hp.targets.Label("given"), methods=["occlusion"], checks=["completeness", "degradation"],
        out=tmp_path / "run", threads=1, progress=False,
    )  # fmt: skip
    assert maps_of(run) == (["age", "income", "color", "town"], 4)


def test_an_embedding_of_one_integer_a_sample_is_one_feature() -> None:
    import torch
    from torch import nn

    class User(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.head = nn.Embedding(5, 3), nn.Linear(5, 2)

        def forward(self, x: torch.Tensor, user: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([x, self.users(user)], 1))

    bound = hp.Bound(
        User().eval(), at=["x", "users"], given={"x": torch.rand(4, 2), "user": torch.tensor([0, 1, 2, 4])}
    )
    assert bound.features().grid((5,)) == (3,)
    assert bound.features().each[1] == Segments()


@pytest.mark.parametrize(
    ("unit", "said"),
    [({"unit": "mm"}, "Expected `unit`, 'mm', beside outputs = \"scalars\", .* but got no outputs"),
     ({"unit": "mm", "outputs": "labels"}, "but got 'labels'; a target has a unit of its own")],
)  # fmt: skip
def test_a_unit_of_no_numbers_is_refused(unit: dict[str, Any], said: str) -> None:
    spec = {"model": {"name": "a:b"}, "data": {"name": "demo"}, "methods": ["gradient"], "checks": ["completeness"]}
    with pytest.raises(InputError, match=said):
        parse({**spec, **unit})
