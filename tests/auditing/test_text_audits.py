"""Texts and pictures of several labels, from a specification to the report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import heatproof as hp
from heatproof.auditing import from_spec
from heatproof.auditing.model_spec import ModelSpec
from heatproof.auditing.run import Run
from heatproof.auditing.spec import parse, read
from heatproof.data import TextTable, choosing
from heatproof.errors import InputError
from heatproof.methods import PatternAttribution
from heatproof.report import write
from heatproof.runs import read_samples

NETWORKS = """
import torch
from torch import nn


class Bag(nn.Module):
    '''A linear function of the words' embeddings; fill counts nothing where there is a mask.'''

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(12, 3)
        self.head = nn.Linear(3, outputs, bias=False)

    def forward(self, ids, attention=None):
        embedded = self.words(ids)
        if attention is not None:
            embedded = embedded * attention[..., None]
        return self.head(embedded.sum(1))


class Reader(nn.Module):
    '''Enough weights above the words' embeddings to learn any labels of a few texts.'''

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(12, 8)
        self.each, self.hidden, self.head = nn.Linear(8, 8), nn.Linear(48, 64), nn.Linear(64, 2)

    def forward(self, ids, attention):
        embedded = self.words(ids) * attention[..., None]
        return self.head(self.hidden(self.each(embedded).flatten(1)).relu())


class Dogs(nn.Module):
    '''Sees a dog in every picture.'''

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 20, 1)
        with torch.no_grad():
            self.conv.bias.zero_()
            self.conv.bias[11] = 100.0

    def forward(self, x):
        return self.conv(x).mean((2, 3))
"""
TEXTS = "text,label\nthe cat is good,good\nthe dog is bad,bad\na good <b>dog</b>,good\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text_networks.py").write_text(NETWORKS)
    (tmp_path / "texts.csv").write_text(TEXTS)
    return tmp_path


def audited(folder: Path, **changes: dict) -> Run:
    table = {
        "methods": ["gradient-x-input", "edge-detector"] if "checks" in changes else ["gradient-x-input", "gradient"],
        "checks": ["parameter-randomization", {"name": "sensitivity-n", "sets": 8, "sizes": 3}],
        "model": {"name": "text_networks:Bag", "at": "words"},
        "data": {"name": "text", "path": "texts.csv", "length": 6, "words": 12},
        "gallery": 2,
        **changes,
    }
    return from_spec.run(parse(table, folder), folder / "run", threads=1, progress=False)


def test_an_audit_of_texts_from_a_specification(folder: Path):
    run = audited(folder)
    manifest = run.manifest
    assert manifest["status"] == "complete"
    assert manifest["failures"] == []
    assert manifest["data"]["shape"] == [6, 3]
    assert manifest["data"]["grid"] == [6]
    assert manifest["data"]["classes"] == ["the output"]
    assert manifest["data"]["tokens"] == {
        "row 0": ["<pad>", "<pad>", "the", "cat", "is", "good"],
        "row 1": ["<pad>", "<pad>", "the", "dog", "is", "bad"],
    }
    rows = run.rows()
    kept = rows[(rows["check"] == "sensitivity-n") & (rows["method"] == "gradient-x-input")]["value"]
    assert len(kept) == 9
    np.testing.assert_allclose(kept, 1.0, atol=1e-6)  # the network is linear in the embeddings
    page = write(run.path).read_text()
    assert "The texts themselves" in page
    assert "&lt;pad&gt;" in page
    assert "<pad>" not in page.replace("\\u003cpad\\u003e", "")


def test_arguments_of_the_forward_by_name(folder: Path):
    given = {"ids": "ids", "attention": "mask"}
    run = audited(folder, model={"name": "text_networks:Bag", "at": "words", "given": given})
    rows = run.rows()
    assert run.manifest["status"] == "complete"
    # Fill is masked, so it has no gradient: 2 of 6 tokens of the first two texts, 1 of the third.
    zeros = rows[(rows["metric"] == "zeros") & (rows["method"] == "gradient") & (rows["position"] == 0)]
    np.testing.assert_allclose(zeros.sort_values("sample")["value"], [2 / 6, 2 / 6, 1 / 6])


def test_a_method_that_was_fitted_on_other_texts(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEATPROOF_CACHE", str(folder / "cache"))
    spec = ModelSpec(name="text_networks:Bag", at="words")
    texts = TextTable(path=str(folder / "texts.csv"), length=6, words=12)
    model, other = (
        spec.load(folder, data) for data in (replace(texts, limit=1).load(), replace(texts, offset=1).load())
    )
    method = PatternAttribution().fit(other, [other.inputs()])
    run = hp.audit(
        model, model.inputs(), methods={"patterns": method}, checks=["calibration"], out=folder / "run",
        progress=False,
    )  # fmt: skip
    assert (run.manifest["failures"], run.manifest["status"]) == ([], "complete")
    (learned,) = run.manifest["methods"][0]["learns"]
    assert learned["digest"] == method.fitted.digest
    assert learned["facts"]["samples"] == "2"


def test_texts_are_fitted_and_trained_on(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Each text brings its own ids and mask, to the fits and to the networks that are trained anew.

    Whether they are in memory or read batch by batch, the values are the same to the bit.
    """
    words = ["cat", "dog", "cow", "hen", "fox"]
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    lines = [f"the {words[i]} and {words[j]},{'good' if i > j else 'bad'}" for i, j in pairs]
    (folder / "many.csv").write_text("\n".join(["text,label", *lines]))
    table = {"name": "text", "length": 6, "words": 12, "path": "many.csv", "vocabulary": "many.csv"}
    training = {"optimizer": "adam", "learning_rate": 0.05, "epochs": 200, "batch_size": 4, "stop_at": 1.0}
    check = {"name": "data-randomization", "training": training, "accuracy": 0.9, "seeds": [0], "test_share": 0.2}
    given = {"ids": "ids", "attention": "mask"}
    found = []
    for way, most in (("memory", choosing.MOST_BYTES), ("blocks", 0)):
        monkeypatch.setenv("HEATPROOF_CACHE", str(folder / way))
        monkeypatch.setattr(choosing, "MOST_BYTES", most)
        (folder / "run").rename(folder / "before") if found else None
        run = audited(
            folder,
            targets="label",
            methods=["pattern-attribution", "gradient"],
            checks=[check],
            model={"name": "text_networks:Reader", "at": "words", "given": given},
            data={**table, "limit": 3},
            training_data=table,
        )
        manifest, rows = run.manifest, run.rows()
        assert (manifest["failures"], manifest["status"]) == ([], "complete")
        assert manifest["training_data"]["samples"] == 20
        (learned,) = manifest["methods"][0]["learns"]
        assert learned["facts"]["samples"] == "20"
        reached = rows[rows["metric"] == "training-accuracy"]
        assert set(reached["setting"]) >= {"permuted-labels", "true-labels"}
        assert (reached["value"] >= 0.9).all()
        found.append(rows.sort_values(list(rows.columns.drop("value")))["value"].to_numpy())
    np.testing.assert_array_equal(*found)


def test_labels_of_two_outputs(folder: Path):
    run = audited(
        folder, targets="label", model={"name": "text_networks:Bag", "at": "words", "arguments": {"outputs": 2}}
    )
    assert run.manifest["data"]["classes"] == ["bad", "good"]
    assert [sample["target"] for sample in read_samples(run.path)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "text_networks:Bag"}}, r"Expected `at` in \[model\], .* submodules: words, head"),
        (
            {"model": {"name": "text_networks:Bag", "at": "words", "given": {"ids": "idz"}}},
            "part of a sample in `given`, but got 'idz'; did you mean 'ids'",
        ),
        (
            {"model": {"name": "text_networks:Bag", "at": "words"}, "data": {"name": "demo", "limit": 1}},
            "with data that bring side inputs, such as texts",
        ),
        (
            {"training_data": {"name": "text", "path": "texts.csv", "length": 5}, "methods": ["pattern-net"]},
            r"training data like the samples, \(6, 3\) each, but texts has \(5, 3\)",
        ),
        ({"model": {"name": "text_networks:Bag", "at": "word"}}, "the name of a submodule of Bag, but got 'word'"),
    ],
)
def test_what_does_not_fit_is_an_error(folder: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        audited(folder, **changes)


def test_only_the_boxes_of_the_explained_label_are_its_evidence(folder: Path):
    """One picture with a dog and a cat, one with a cat alone; a network that sees dogs everywhere."""
    things = [(1, 18, [0, 0, 4, 4]), (1, 17, [4, 0, 12, 16]), (2, 17, [0, 0, 4, 4])]
    names = {17: "cat", 18: "dog"}
    (folder / "val2017").mkdir()
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(0)
    for number in (1, 2):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / "val2017" / f"{number}.png")
    table = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)],
        # label 11 is the dog's: ten categories stand before the cat's
        "categories": [{"id": i, "name": names.get(i, f"other {i}")} for i in (*range(1, 11), 17, 18)],
        "annotations": [{"image_id": image, "category_id": category, "bbox": box} for image, category, box in things],
    }
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(table))
    run = audited(
        folder,
        checks=["bounding-box"],
        model={"name": "text_networks:Dogs"},
        data={"name": "coco", "root": ".", "resize": None, "crop": 16},
    )
    assert [sample["target"] for sample in read_samples(run.path)] == [11, 11]
    rows = run.rows()
    inside = rows[(rows["method"] == "edge-detector") & (rows["metric"].str.contains("box"))]
    assert inside[inside["sample"] == "2.png"]["value"].isna().all()
    assert inside[inside["sample"] == "1.png"]["value"].notna().all()
    assert len(inside) >= 2


def test_the_example_of_reviews_is_a_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HEATPROOF_DATA", str(tmp_path))
    spec = read(Path(__file__).parents[2] / "examples" / "imdb.toml")
    assert spec.data.path == str(tmp_path / "imdb" / "imdb_subset.csv.gz")
    assert (spec.model.at, spec.data.classes) == ("embedding", ("negative", "positive"))
