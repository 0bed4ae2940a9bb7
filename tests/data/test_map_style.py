import pickle
import sys
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

import heatproof as hp
from heatproof.data import as_blocks
from heatproof.data.ahead import ahead
from heatproof.data.ids import Seen
from heatproof.errors import InputError

X = torch.arange(7 * 3 * 2, dtype=torch.float32).reshape(7, 3, 2)
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0])


class Items:
    """A map-style data set of anybody's."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        item = self.items[place]
        if isinstance(item, Exception):
            raise item
        return item


class Pair(NamedTuple):
    x: torch.Tensor
    y: int


def together(many: list[dict[str, Any]]) -> dict[str, Any]:
    return {"pixel_values": torch.stack([one["x"] for one in many]), "labels": [one["y"] for one in many]}


PICTURES = [Image.fromarray(np.full((4, 5, 3), 10 * i, np.uint8)) for i in range(7)]
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "TensorDataset": (TensorDataset(X, Y), {}),
    "Subset of a ConcatDataset": (Subset(ConcatDataset([TensorDataset(X.flip(0), Y.flip(0))]), range(6, -1, -1)), {}),
    "tuples": (Items([(x.numpy(), y.item()) for x, y in zip(X, Y, strict=True)]), {}),
    "named tuples": (Items([Pair(x, np.int32(y)) for x, y in zip(X, Y, strict=True)]), {}),
    "list": ([(x, y) for x, y in zip(X, Y, strict=True)], {}),
    "usual keys": (Items([{"image": x, "label": y, "more": 1} for x, y in zip(X, Y, strict=True)]), {}),
    "other keys": (
        Items([{"a": x, "b": y, "c": 1.0} for x, y in zip(X, Y, strict=True)]),
        {"columns": {"image": "a", "label": "b"}},
    ),
    "places": (
        Items([("meta", y, x) for x, y in zip(X, Y, strict=True)]),
        {"columns": {"image": 2, "label": 1}},
    ),
    "transform": (Items([((x + 1).numpy(), y) for x, y in zip(X, Y, strict=True)]), {"transform": lambda x: x - 1}),
    "names of labels": (Items([(x, "abc"[y]) for x, y in zip(X, Y, strict=True)]), {"classes": list("abc")}),
    "DataLoader": (DataLoader(TensorDataset(X, Y), batch_size=2), {}),
    "DataLoader with collate_fn": (
        DataLoader(
            Items([{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]),
            batch_size=3,
            collate_fn=lambda many: {
                "pixel_values": torch.stack([one["x"] for one in many]),
                "labels": [one["y"] for one in many],
            },
        ),
        {},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_items_is_the_same_samples(form: str):
    data, more = FORMS[form]
    blocks = as_blocks(data, **more)
    assert len(blocks) == 7
    for start, stop in ((0, 3), (3, 7), (6, 9)):
        block = blocks.read(start, stop)
        assert torch.equal(block.inputs, X[start:stop])
        assert torch.equal(block.targets, Y[start:stop])
        assert block.ids == tuple(map(str, range(start, min(stop, 7))))


def test_items_without_labels_have_none():
    block = as_blocks(Items(list(X))).read(0, 3)
    assert torch.equal(block.inputs, X[:3])
    assert not block.labelled


def test_numbers_to_be_predicted_are_no_labels():
    block = as_blocks(Items([(x, float(i) / 2) for i, x in enumerate(X)])).read(1, 4)
    assert block.numbers.tolist() == [0.5, 1.0, 1.5]
    assert not block.labelled


def test_pictures_are_scaled_and_shown():
    block = as_blocks(Items([(one, i) for i, one in enumerate(PICTURES)])).read(2, 4)
    assert block.inputs.shape == (2, 3, 4, 5)
    assert block.inputs[1, 0, 0, 0].item() == pytest.approx(30 / 255)
    assert block.display.tolist()[0] == np.asarray(PICTURES[2]).tolist()
    grey = as_blocks(Items([one.convert("L") for one in PICTURES])).read(0, 1)
    assert grey.inputs.shape == (1, 1, 4, 5)


def test_ids_boxes_and_side_inputs_of_items():
    items = [
        {"x": x, "name": f"n{i}", "found": [[0, 0, i, 2]], "mask": torch.ones(4) * i, "label": 0}
        for i, x in enumerate(X)
    ]
    more = {"columns": {"image": "x", "id": "name", "boxes": "found"}, "given": {"attention": "mask"}}
    block = as_blocks(Items(items), **more).read(1, 3)
    assert block.ids == ("n1", "n2")
    assert block.boxes == (((0.0, 0.0, 1.0, 2.0),), ((0.0, 0.0, 2.0, 2.0),))
    assert block.given["attention"].tolist() == [[1.0] * 4, [2.0] * 4]


def test_texts_are_their_tokens():
    items = [{"input_ids": torch.tensor([i, 2, 3]), "attention_mask": torch.ones(3), "labels": i % 2} for i in range(5)]
    block = as_blocks(Items(items), given=["input_ids", "attention_mask"]).read(0, 2)
    assert block.inputs.tolist() == [[0, 2, 3], [1, 2, 3]]
    assert block.inputs.dtype == torch.int64
    assert block.targets.tolist() == [0, 1]
    assert set(block.sides) == {"input_ids", "attention_mask"}


def test_classes_come_from_the_data_set():
    data = TensorDataset(X, Y)
    data.classes = ["a", "b", "c"]
    assert as_blocks(Subset(data, [1, 2])).classes == ("a", "b", "c")
    assert as_blocks(DataLoader(data)).classes == ("a", "b", "c")
    assert as_blocks(data, classes=list("xyz")).read(0, 1).classes == ("x", "y", "z")


@pytest.mark.parametrize("module", ["datasets", "datasets.mine"])
def test_a_project_may_call_its_module_datasets(module: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", ModuleType("datasets"))
    kind = type("Scans", (Items,), {"__module__": module})
    assert as_blocks(kind(list(X))).name == "Scans"


def test_what_cannot_be_made_is_skipped_where_it_stands():
    broken = X[4].clone()
    broken[0] = torch.nan
    data = Items([(X[0], 0), OSError("torn"), (X[2], 2), (X[3], 0), (broken, 1), (X[5], 2)])
    blocks = as_blocks(data)
    assert blocks.read(0, 6).ids == ("0", "2", "3", "5")
    assert blocks.read(0, 6).skipped == (("1", "OSError: torn"), ("4", "it holds NaN or infinity"))
    assert blocks.read(4, 6).ids == ("5",)
    assert len(blocks.read(1, 2)) == 0
    labelled = as_blocks(data, torch.arange(6))
    assert labelled.read(1, 6).targets.tolist() == [2, 3, 5]


def test_pickled_items_are_the_same_blocks():
    blocks = as_blocks(TensorDataset(X, Y))
    again = pickle.loads(pickle.dumps(blocks))
    assert again.identity == blocks.identity
    assert again.read(2, 5).digests == blocks.read(2, 5).digests


def test_identity_of_items():
    base = as_blocks(TensorDataset(X, Y)).identity
    others = [
        as_blocks(TensorDataset(X + 1, Y)),
        as_blocks(TensorDataset(X, Y.flip(0) + 1)),
        as_blocks(TensorDataset(X[:5], Y[:5])),
        as_blocks(TensorDataset(X, Y), transform=lambda x: x),
        as_blocks(list(zip(X, Y, strict=True))),
    ]
    assert len({base, *(one.identity for one in others)}) == 6
    assert as_blocks(TensorDataset(X.clone(), Y)).identity == base


def test_what_draws_at_random_is_refused():
    class Noisy(Items):
        def __getitem__(self, place: int) -> Any:
            return self.items[place] + torch.randn(())

    with pytest.raises(InputError, match=r"the same sample 0 of Noisy each time .* heatproof\.data\.snapshot"):
        as_blocks(Noisy(list(X)))


def test_flips_by_a_fair_coin_are_seen():
    class Flipped(Items):
        def __getitem__(self, place: int) -> Any:
            return self.items[place].flip(0) if torch.rand(()) < 0.5 else self.items[place]

    torch.manual_seed(0)
    for _ in range(20):
        with pytest.raises(InputError, match="each time that it is read, but it changes"):
            as_blocks(Flipped(list(X)))


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(X)


class Endless:
    def __getitem__(self, place: int) -> Any:
        return X[place % 7]


def loader(**more: Any) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), **more)


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        (Stream(), {}, r"a Stream, which can only be gone through; .* heatproof\.data\.snapshot\(data, folder\)"),
        ((x for x in X), {}, r"a generator, which can only be gone through"),
        (DataLoader(Stream()), {}, r"streams an IterableDataset; .*snapshot\(loader, folder\)"),
        (Endless(), {}, r"Endless has no __len__"),
        (loader(shuffle=True), {}, "its sampler is a RandomSampler: make it with shuffle=False"),
        (loader(sampler=SubsetRandomSampler([1, 2])), {}, r"a SubsetRandomSampler: .*Subset\(dataset, places\)"),
        (loader(batch_sampler=BatchSampler(RandomSampler(X), 2, False)), {}, "its sampler is a RandomSampler"),
        (loader(drop_last=True, batch_size=2), {}, "with drop_last=True it leaves out the last ones"),
        (TensorDataset(X[:0]), {}, "at least one sample in TensorDataset"),
        (Items([OSError("gone")] * 9), {}, "none of the first 8 can be made; sample 0 raised OSError: gone"),
        (Items([(X[0], 0, 1)]), {}, r"an item has 3 parts; say which is which: columns=\{'image': 0, 'label': 1\}"),
        (Items([{"a": X[0]}]), {}, r"which part of an item is the image, .* of 'a'; give columns=\{'image': …\}"),
        (Items([{"image": X[0], "x": X[0]}]), {}, "which part of an item is the image"),
        (
            Items([{"image": X[0]}]),
            {"columns": {"imgae": "image"}},
            "role in `columns`, but got 'imgae'; did you mean 'image'",
        ),
        (Items([{"image": X[0]}]), {"columns": {"label": "lable"}}, "part of an item, for 'label' in `columns`"),
        (Items([(X[0],)]), {"columns": {"image": 0, "label": 1}}, "part 1 of an item, .* but it has 1 parts"),
        (Items([X[0]]), {"columns": {"label": "y"}}, "items with parts"),
        (Items([X[0].half()]), {}, r"call \.float\(\)"),
        (Items([(X[0] * 2).byte()]), {}, "scale integer images as in training"),
        (Items(["text"]), {}, "a tensor for each sample, but got 'text'; give `transform`"),
        (Items([(X[0], "cat")]), {}, "labels as whole numbers from 0 on, but got 'cat'; give `classes`"),
        (Items([(X[0], "cot")]), {"classes": ["cat", "dog"]}, "class, but got 'cot'; did you mean 'cat'"),
        (Items([(X[0], torch.tensor([0, 1]))]), {}, "one label a sample"),
        (Items([(X[0], -7)]), {}, "labels from 0 on, or −1 where they are missing, but got -7"),
        (X, {"transform": abs}, "`columns` and `transform` with a data set of items"),
        ("some/folder", {}, r"got a place, 'some/folder': .*ImageFolder"),
        ({"a": X}, {}, "a map-style data set or a DataLoader of one"),
    ],
)
def test_what_cannot_be_read_by_position_is_refused(data: Any, more: dict, message: str):
    with pytest.raises(InputError, match=message):
        as_blocks(data, **more)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([X[0], X[1], X[2][:2]], r"one shape and dtype, \(3, 2\) of torch\.float32 as the first, but '2' has \(2, 2\)"),
        ([X[0], X[1].double()], r"but '1' has \(3, 2\) of torch\.float64"),
        ([(X[0], 0), (X[1], None)], "a label for every sample or for none, but '1' has none"),
        ([(PICTURES[0], 0), (torch.zeros(3, 4, 5), 0)], "pictures for all samples or tensors for all, but '1'"),
    ],
)
def test_samples_that_differ_are_refused_when_they_are_read(items: list[Any], message: str):
    with pytest.raises(InputError, match=message):
        as_blocks(Items([*items, *items[:1] * 9])).read(0, 4)


def test_ids_that_come_twice_are_refused_across_blocks():
    blocks = as_blocks([{"image": X[0], "id": f"n{2 if i == 9 else i}"} for i in range(12)], columns={"id": "id"})
    blocks.read(1, 4)
    blocks.read(1, 4)  # the same samples again are no others
    with pytest.raises(InputError, match="a unique id a sample, but 'n2' comes twice"):
        blocks.read(8, 10)
    assert pickle.loads(pickle.dumps(blocks)).read(8, 10).ids == ("n8", "n2")


def test_ids_are_seen_without_being_kept():
    seen = Seen(1000)
    for i in range(1000):
        seen(f"sample {i}", i)
    for i in (0, 17, 999):
        seen(f"sample {i}", i)
        with pytest.raises(InputError, match=f"'sample {i}' comes twice"):
            seen(f"sample {i}", i + 1)


def test_a_loader_with_workers_is_read_by_them():
    data = DataLoader(TensorDataset(X, Y), num_workers=2, batch_size=3)
    blocks = as_blocks(data)
    assert (blocks.reading.by, blocks.reading.workers) == ("processes", 2)
    parts = list(ahead(as_blocks(data, Y.flip(0)), [(0, 4), (4, 7)]))
    assert torch.equal(torch.cat([part.inputs for part in parts]), X)
    assert torch.equal(torch.cat([part.targets for part in parts]), Y.flip(0))


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (lambda many: many[0], r"one row of each sample, but of 1 samples its inputs is a Tensor \(3, 2\)"),
        (lambda many: 1 / 0, "collate_fn to make a batch of samples 0 to 0 of TensorDataset, but it raised Zero"),
        (lambda many: (torch.stack([x for x, _ in many]), [0, 0]), r"its label is"),
    ],
)
def test_a_collate_fn_that_makes_no_rows_is_refused(collate: Any, message: str):
    with pytest.raises(InputError, match=message):
        as_blocks(DataLoader(TensorDataset(X, Y), collate_fn=collate))


def test_explicit_sequential_samplers_are_in_order():
    for more in ({"sampler": SequentialSampler(X)}, {"batch_size": None}):
        assert as_blocks(loader(**more)).read(5, 7).targets.tolist() == [2, 0]


def test_a_table_is_no_samples():
    import pandas as pd

    with pytest.raises(InputError, match=r"columns are no samples; .*data\.table\(frame, label=…\)"):
        hp.data.as_blocks(pd.DataFrame({"a": [1.0]}))
