"""Classifiers of Hugging Face from a folder: no network is asked, no code of the folder's own is run."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import heatproof as hp
from heatproof import cli
from heatproof.auditing import from_spec
from heatproof.auditing.spec import parse
from heatproof.data import ImageFolder, TextTable
from heatproof.errors import HeatproofWarning, InputError, MissingExtraError

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "the", "a", "very", "##ly"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
FEELINGS = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
ANIMALS = {"id2label": {0: "dog", 1: "cat", 2: "eel"}, "label2id": {"dog": 0, "cat": 1, "eel": 2}}


def tokenizer(**changes: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **{**names, **changes})


def network(kind: str) -> Any:
    """A random network of a few weights."""
    torch.manual_seed(0)
    few = {"vocab_size": len(WORDS), **FEELINGS}
    if kind == "vit":
        config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL, **ANIMALS)
        return transformers.ViTForImageClassification(config)
    if kind == "resnet":
        config = transformers.ResNetConfig(
            embedding_size=4, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", **ANIMALS
        )
        return transformers.ResNetForImageClassification(config)
    if kind == "bert":
        return transformers.BertForSequenceClassification(
            transformers.BertConfig(max_position_embeddings=16, **SMALL, **few)
        )
    if kind == "distilbert":
        config = transformers.DistilBertConfig(
            dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=16, **few
        )
        return transformers.DistilBertForSequenceClassification(config)
    config = transformers.GPT2Config(
        n_embd=16, n_layer=1, n_head=2, n_positions=16, pad_token_id=0, bos_token_id=2, eos_token_id=3, **few
    )
    return transformers.GPT2ForSequenceClassification(config)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data of each kind, and no network to be reached."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    draw = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.fromarray(draw.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(tmp_path / "pictures" / name / "0.png")
    for name, text in (("neg", "a badly film"), ("pos", "the very good Film")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "0.txt").write_text(text)
    rows = [{"text": "a bad film", "label": "neg"}, {"text": "very good", "label": "pos"}]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "texts.csv").write_text("text,label\na bad film,neg\nvery good,pos\n")
    return tmp_path


def saved(root: Path, kind: str, **changes: Any) -> Path:
    folder = root / kind
    net = network(kind)
    for name, value in changes.items():
        setattr(net.config, name, value)
    net.save_pretrained(folder)
    if kind in ("vit", "resnet"):
        transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    else:
        tokenizer().save_pretrained(folder)
    return folder


def audited(root: Path, model: dict[str, Any], data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    table = {"methods": ["gradient-x-input"], "checks": ["completeness", "degradation"], "threads": 1, **changes}
    spec = parse({"model": model, "data": data, **table}, root)
    return from_spec.run(spec, root / "run", progress=False).manifest


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_pictures_from_a_spec(root: Path, kind: str) -> None:
    net = network(kind).eval()
    saved(root, kind)
    manifest = audited(root, {"name": f"hf:{kind}"}, {"name": "image-folder", "root": "pictures"})
    assert not manifest["failures"]
    assert manifest["model"]["name"] == f"hf:{kind}"
    assert manifest["data"]["classes"] == ["dog", "cat", "eel"]
    assert manifest["data"]["read"].startswith("Preprocessing read from the model (ViTImageProcessor): resize 32 x 32,")
    processor = transformers.AutoImageProcessor.from_pretrained(root / kind)
    pixels = processor(Image.open(root / "pictures" / "cat" / "0.png"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = net(pixels).logits
    samples = hp.open(root / "run").rows()
    assert set(samples["sample"]) <= {0, 1, "cat/0.png", "dog/0.png", -1, ""}
    bound = hp.pretrained.load(root / kind)
    torch.testing.assert_close(bound(pixels), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("bert", "texts"),
        ("bert", "texts.jsonl"),
        ("bert", "texts.csv"),
        ("distilbert", "texts"),
        ("gpt2", "texts.jsonl"),
    ],
)
def test_texts_from_a_spec(root: Path, kind: str, data: str) -> None:
    saved(root, kind)
    manifest = audited(root, {"name": f"hf:{kind}"}, {"name": "text", "path": data, "length": 8})
    assert not manifest["failures"]
    assert manifest["data"]["classes"] == ["neg", "pos"]
    assert manifest["data"]["grid"] == [8]
    assert manifest["data"]["read"] == "Texts are read by the model's tokenizer, 8 tokens each."
    tokens = next(iter(manifest["data"]["tokens"].values()))
    assert tokens[:2] == ["[CLS]", "a"]
    assert tokens[-1] == "[PAD]"


def test_tokens_are_the_tokenizer_s_and_are_shown_as_they_stand(root: Path) -> None:
    folder = saved(root, "bert")
    found = TextTable(path=str(root / "texts"), tokenizer=str(folder)).load()
    theirs = tokenizer()(
        ["a badly film", "the very good Film"], padding="max_length", max_length=16, return_tensors="pt"
    )
    assert torch.equal(found.inputs, theirs["input_ids"])
    assert torch.equal(found.mask, theirs["attention_mask"])
    assert found.tokens[0][:6] == ("[CLS]", "a", "bad", "ly", "film", "[SEP]")
    assert found.tokens[1][1:5] == ("the", "very", "good", "[Film]")  # the vocabulary lacks it
    assert found.ids == ("neg/0.txt", "pos/0.txt")
    assert found.targets.tolist() == [0, 1]


def test_labels_are_the_network_s_whatever_their_order(root: Path) -> None:
    saved(root, "bert", id2label={0: "pos", 1: "neg"}, label2id={"pos": 0, "neg": 1})
    manifest = audited(root, {"name": "hf:bert"}, {"name": "text", "path": "texts"}, targets="label")
    assert manifest["data"]["classes"] == ["pos", "neg"]
    spec = parse(
        {"model": {"name": "hf:bert"}, "data": {"name": "text", "path": "texts"}, "methods": ["gradient"],
         "checks": ["completeness"]}, root,
    )  # fmt: skip
    assert from_spec.load(spec).data.load().targets.tolist() == [1, 0]


def test_in_python(root: Path, tmp_path: Path) -> None:
    settings = {"methods": ["gradient-x-input"], "checks": ["completeness"], "threads": 1, "progress": False}
    texts = hp.pretrained.load(saved(root, "bert"))
    assert texts.at == "bert.embeddings.word_embeddings"
    run = hp.audit(texts, TextTable(path=str(root / "texts.csv"), length=6), out=tmp_path / "texts-run", **settings)
    assert not run.manifest["failures"]
    assert run.manifest["data"]["tokens"]["row 1"] == ["[CLS]", "very", "good", "[SEP]", "[PAD]", "[PAD]"]
    pictures = hp.pretrained.load(saved(root, "vit"))
    run = hp.audit(pictures, ImageFolder(root=str(root / "pictures")), out=tmp_path / "pictures-run", **settings)
    assert not run.manifest["failures"]
    assert run.manifest["data"]["shape"] == [3, 32, 32]
    assert run.manifest["data"]["classes"] == ["dog", "cat", "eel"]


def test_what_the_configuration_says_of_outputs(root: Path) -> None:
    saved(root, "vit", problem_type="multi_label_classification")
    manifest = audited(root, {"name": "hf:vit"}, {"name": "image-folder", "root": "pictures"})
    assert manifest["model"]["meaning"]["kind"] == "multi-label"
    run = hp.audit(
        hp.pretrained.load(root / "vit"), ImageFolder(root=str(root / "pictures")), methods=["gradient"],
        checks=["completeness"], out=root / "from-python", threads=1,
    )  # fmt: skip
    assert run.manifest["model"]["meaning"]["kind"] == "multi-label"


def invoked(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("kind", "data"), [("vit", "pictures"), ("bert", "texts"), ("bert", "texts.csv")])
def test_from_the_command_line(root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, data: str) -> None:
    monkeypatch.chdir(root)
    saved(root, kind)
    said = invoked(
        "audit", f"hf:{kind}", "--data", data, "--method", "gradient", "--check", "completeness", "--threads", "1"
    )
    page = root / "runs" / kind / "report.html"
    assert str(page) in said.replace("\n", "")
    assert "read" in said
    manifest = hp.open(root / "runs" / kind).manifest
    assert [one["label"] for one in manifest["methods"]] == ["gradient"]


def test_one_picture_from_the_command_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    saved(root, "vit")
    said = invoked("explain", "hf:vit", "pictures/cat/0.png")
    assert any(f"{name}, probability" in said for name in ANIMALS["label2id"])
    assert (root / "map.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hf:vit"], "Expected --data with a model, 'hf:vit': the folder or file of its samples"),
        (["spec.toml", "--method", "gradient"], "Expected --data with --method"),
        (["hf:vit", "--data", "nowhere"], "a folder or file of samples at 'nowhere', but there is none"),
        (["hf:vit", "--data", "empty"], "pictures or .txt files in 'empty', but found neither"),
        (["hf:vit", "--data", "a.bin"], "write a spec that names its source"),
        (
            ["hf:nowhere", "--data", "pictures"],
            "with a config.json, at .*nowhere', but there is none; heatproof",
        ),
    ],
)
def test_errors_of_the_command_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(root)
    (root / "empty").mkdir()
    (root / "a.bin").write_bytes(b"")
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(cli.app, ["audit", *arguments], catch_exceptions=False)


def test_weights_of_a_head_that_is_not_there_are_no_random_ones(root: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    transformers.ViTModel(config).save_pretrained(root / "body")
    found = json.loads((root / "body" / "config.json").read_text())
    found["architectures"] = ["ViTForImageClassification"]
    (root / "body" / "config.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"2 tensors are missing \['classifier.bias', 'classifier.weight'\]"):
        hp.pretrained.load(root / "body")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"auto_map": {"AutoModel": "net.Net"}}, "names code of its own .auto_map., which heatproof does not run"),
        ({"architectures": ["ViTModel"]}, "a classifier of pictures or texts .*, but its config.json says ViTModel"),
        (
            {"architectures": ["NoneForImageClassification"]},
            "a network that transformers .* has, but got 'None",
        ),
    ],
)
def test_folders_of_other_kinds(root: Path, changes: dict[str, Any], said: str) -> None:
    folder = saved(root, "vit")
    found = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**found, **changes}))
    with pytest.raises(InputError, match=said):
        hp.pretrained.load(folder)


def test_pickled_weights_are_refused(root: Path) -> None:
    folder = saved(root, "vit")
    torch.save(network("vit").state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights as safetensors in .*, but there are none; heatproof unpickles"):
        hp.pretrained.load(folder)


def test_data_of_the_other_kind_are_refused(root: Path) -> None:
    saved(root, "bert")
    saved(root, "vit")
    with pytest.raises(InputError, match="Expected texts for hf:bert, BertForSequenceClassification, but got pictures"):
        audited(root, {"name": "hf:bert"}, {"name": "image-folder", "root": "pictures", "resize": 16, "crop": 16})
    with pytest.raises(InputError, match="Expected pictures for hf:vit, ViTForImageClassification, but got the texts"):
        audited(root, {"name": "hf:vit"}, {"name": "text", "path": "texts", "vocabulary": str(root / "texts")})
    with pytest.raises(InputError, match="Expected no `weights` for hf:vit"):
        audited(root, {"name": "hf:vit", "weights": "a.safetensors"}, {"name": "image-folder", "root": "pictures"})


def test_a_tokenizer_that_is_missing_or_cannot_fill_up(root: Path) -> None:
    with pytest.raises(InputError, match=r"Expected a tokenizer in .*nowhere.*, but there is none"):
        TextTable(path=str(root / "texts"), tokenizer=str(root / "nowhere")).load()
    tokenizer(pad_token=None).save_pretrained(root / "padless")
    with pytest.raises(InputError, match="a token that fills texts up, but it has none"):
        TextTable(path=str(root / "texts"), tokenizer=str(root / "padless")).load()
    folder = saved(root, "bert")
    with pytest.raises(InputError, match=r"length to be at most 16, which the model in .* takes, but got 17"):
        TextTable(path=str(root / "texts"), tokenizer=str(folder), length=17).load()


def test_without_transformers_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(root, "vit")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'heatproof\[transformers\]'"):
        hp.pretrained.load(folder)


def test_a_contradiction_is_said(root: Path) -> None:
    saved(root, "vit")
    data = {"name": "image-folder", "root": "pictures", "mean": [0.0] * 3, "std": [1.0] * 3}
    with pytest.warns(HeatproofWarning, match="ViTImageProcessor, which the model brings, says otherwise: mean 0 0 0"):
        manifest = audited(root, {"name": "hf:vit"}, data)
    assert manifest["data"]["shape"] == [3, 32, 32]
