"""Names that people see: of labels, columns and words, pictures as they were, a title."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import audit_toys as toys
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import heatproof as hp
from heatproof.auditing.names import class_names, own_names
from heatproof.errors import InputError
from heatproof.runs import read_samples

NAMES = ("cat", "dog", "eel", "fox")


def run(out: Path, **settings: Any) -> Any:
    return hp.audit(
        toys.network(), toys.images(3), methods=["gradient"], checks=["completeness"], out=out, threads=1,
        progress=False, **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    "classes",
    [NAMES, list(NAMES), np.array(NAMES), dict(enumerate(NAMES)), {str(i): name for i, name in enumerate(NAMES)},
     SimpleNamespace(meta={"categories": list(NAMES)})],
    ids=["tuple", "list", "array", "id2label", "id2label of JSON", "torchvision's weights"],
)  # fmt: skip
def test_names_of_labels(tmp_path: Path, classes: Any) -> None:
    assert class_names(classes) == NAMES
    found = run(tmp_path / "run", classes=classes, title="Of animals")
    assert found.manifest["data"]["classes"] == list(NAMES)
    assert found.manifest["title"] == "Of animals"
    page = found.report().read_text(encoding="utf-8")
    assert "Of animals" in page
    assert any(name in page for name in NAMES)


def test_the_networks_own() -> None:
    net = toys.network()
    assert own_names(net) is None
    net.config = SimpleNamespace(id2label={0: "cat", 1: "dog"})  # type: ignore[assignment]  # as transformers' have
    assert own_names(net) == own_names(hp.Bound(net)) == ("cat", "dog")
    net.config = SimpleNamespace(id2label={0: "LABEL_0", 1: "LABEL_1"})  # type: ignore[assignment]  # nobody named them
    assert own_names(net) is None
    net.pretrained_cfg = {"label_names": NAMES}  # type: ignore[assignment]  # as timm's have
    assert own_names(net) == NAMES


def test_they_stand_in_an_audit(tmp_path: Path) -> None:
    net = toys.network()
    net.pretrained_cfg = {"label_names": NAMES}  # type: ignore[assignment]  # as timm's have
    settings = {"methods": ["gradient"], "checks": ["completeness"], "progress": False, "threads": 1}
    found = hp.audit(net, toys.images(3), out=tmp_path / "own", **settings)
    assert found.manifest["data"]["classes"] == list(NAMES)
    found = hp.audit(net, toys.images(3), out=tmp_path / "said", classes=["a", "b", "x", "y"], **settings)
    assert found.manifest["data"]["classes"] == ["a", "b", "x", "y"]


def test_the_columns_of_a_table(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    table = torch.tensor([[42.0, 1.75, -3.0], [7.0, 1.25, 0.5]])
    found = hp.audit(
        net, table, columns=["age", "height", "<change>"], methods=["gradient-x-input"], checks=["completeness"],
        out=tmp_path / "run", progress=False, threads=1,
    )  # fmt: skip
    assert found.manifest["data"]["columns"] == ["age", "height", "<change>"]
    assert found.manifest["data"]["cells"] == {"0": ["42", "1.75", "-3"], "1": ["7", "1.25", "0.5"]}
    page = found.report().read_text(encoding="utf-8")
    assert "height 1.75" in page
    assert "&lt;change&gt; -3" in page


def test_pictures_as_they_were(tmp_path: Path) -> None:
    display = np.zeros((3, 12, 12, 3), dtype=np.uint8)
    display[..., 0] = 200
    found = run(tmp_path / "run", display=display)
    assert found.report().is_file()
    assert not found.manifest["failures"]


class Scans:
    """Items with names that nobody would guess."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"scan": toys.images(3)[i], "finding": i, "patient": f"P{i}"}


def test_which_part_of_an_item_is_what(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"methods": ["gradient"], "checks": ["completeness"], "progress": False, "threads": 1}
    parts = {"image": "scan", "label": "finding", "id": "patient"}
    found = hp.audit(toys.network(), Scans(), hp.targets.Label("given"), columns=parts, out=tmp_path / "a", **settings)
    assert [(one["id"], one["label"], one["target"]) for one in read_samples(tmp_path / "a")] == [
        ("P0", 0, 0), ("P1", 1, 1), ("P2", 2, 2),
    ]  # fmt: skip
    ids = ["P0", "P1", "P2"]
    alone = hp.audit(toys.network(), toys.images(3), [0, 1, 2], ids=ids, out=tmp_path / "b", **settings)
    pd.testing.assert_frame_equal(found.rows(), alone.rows(), check_exact=True)


def test_the_columns_of_a_table_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="a data set of Hugging Face needs the extra huggingface")
    datasets.disable_progress_bars()
    kinds = {"scan": datasets.Array3D((1, 12, 12), "float32"), "finding": datasets.ClassLabel(names=list(NAMES))}
    rows = {"scan": toys.images(3).numpy(), "finding": [2, 0, 1]}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).save_to_disk(tmp_path / "data")
    found = hp.audit(
        toys.network(), datasets.load_from_disk(tmp_path / "data"), hp.targets.Label("given"),
        columns={"image": "scan", "label": "finding"}, methods=["gradient"], checks=["completeness"],
        out=tmp_path / "run", progress=False, threads=1,
    )  # fmt: skip
    assert [one["target"] for one in read_samples(tmp_path / "run")] == [2, 0, 1]
    assert found.manifest["data"]["classes"] == list(NAMES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"classes": "cat"}, "Expected `classes` as a list of names, .*, but got 'cat'"),
        ({"classes": {0: "cat", 2: "dog"}}, r"a name for every label from 0 on, but got those of \[0, 2\]"),
        ({"columns": ["a", "b"]}, r"as many `columns` as samples \(1, 12, 12\) have features \(144\), but got 2"),
        ({"columns": "ab"}, r"Expected `columns` as a mapping, .*, or as a list of the names .*, but got 'ab'"),
        ({"columns": [1, 2]}, r"or as a list of the names of a table's columns, but got \[1, 2\]"),
        ({"columns": {"image": None}}, r"Expected `columns` as a mapping, .*, but got \{'image': None\}"),
        ({"columns": {}}, r"Expected `columns` as a mapping, .*, but got \{\}"),
        ({"columns": {"image": "x"}}, "`columns` and `transform` with a data set of items, but got them with a Tensor"),
        ({"columns": ["a"], "tokens": [["a"]]}, "either `columns` of a table or `tokens` of texts"),
        ({"tokens": [["a"]]}, r"one list of tokens a sample \(3\), but got 1"),
        ({"display": torch.rand(3, 12, 12)}, "`display` as uint8 pictures"),
        ({"display": torch.zeros(2, 12, 12, dtype=torch.uint8)}, r"one picture to display a sample \(3\), but got 2"),
    ],
)
def test_errors(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(tmp_path / "run", **settings)


def test_words_in_the_place_of_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.ReLU(), nn.Linear(12, 2)).eval()
    bound = hp.Bound(net, at="0", given={"input": torch.tensor([[1, 2, 3], [4, 5, 6]])})
    words = [["the", "<good>", "film"], ["a", "bad", "one"]]
    found = hp.audit(
        bound, bound.inputs(), tokens=words, methods=["gradient"], checks=["completeness"], out=tmp_path / "run",
        progress=False, threads=1,
    )  # fmt: skip
    assert found.manifest["data"]["tokens"] == {"0": words[0], "1": words[1]}
    assert found.manifest["data"]["grid"] == [3]
    assert "&lt;good&gt;" in found.report().read_text(encoding="utf-8")


@pytest.mark.parametrize("settings", [{"tokens": [["a"]] * 3}, {"display": torch.zeros(3, 12, 12, dtype=torch.uint8)}])
def test_what_blocks_bring_themselves_is_refused_beside_them(tmp_path: Path, settings: dict[str, Any]) -> None:
    blocks = hp.data.as_blocks(toys.images(3))
    with pytest.raises(
        InputError, match=f"Expected no `{next(iter(settings))}` with data that are read block by block"
    ):
        hp.audit(toys.network(), blocks, methods=["gradient"], checks=["completeness"], progress=False, **settings)
