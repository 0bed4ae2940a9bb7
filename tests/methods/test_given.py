"""Maps that were made elsewhere, by sample id."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.methods import Given

IDS = ("b", "a", "c")
MAPS = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
X = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 1, 0])


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 2)).eval()


def forms(folder: Path) -> dict[str, Any]:
    by_id = dict(zip(IDS, MAPS, strict=True))
    save_file(by_id, folder / "by_id.safetensors")
    np.savez(folder / "by_id.npz", **{name: one.numpy() for name, one in by_id.items()})
    np.savez(folder / "together.npz", maps=MAPS.numpy(), ids=np.array(IDS))
    np.save(folder / "together.npy", MAPS.numpy())
    save_file({"maps": MAPS}, folder / "together.safetensors")
    return {
        "mapping": Given(by_id),
        "arrays": Given({name: one.numpy() for name, one in by_id.items()}),
        "rows": Given(MAPS, IDS),
        "safetensors": Given(str(folder / "by_id.safetensors")),
        "npz": Given(folder / "by_id.npz"),
        "npy": Given(folder / "together.npy", IDS),
        "npz together": Given(str(folder / "together.npz")),
        "safetensors together": Given(str(folder / "together.safetensors"), IDS),
    }


def test_all_forms_are_the_same_maps(tmp_path: Path) -> None:
    found = forms(tmp_path)
    for name, method in found.items():
        for samples in (("a", "b", "c"), ("c", "c", "a")):
            expected = torch.stack([MAPS[IDS.index(one)] for one in samples])
            assert torch.equal(method.of(samples)(net(), X, Y), expected), name
    assert len({method.maps for method in found.values()}) == 1


def test_rows_without_ids_are_numbered() -> None:
    assert Given(MAPS).maps.ids == ("0", "1", "2")
    assert torch.equal(Given(MAPS).of("201")(net(), X, Y), MAPS[[2, 0, 1]])


@pytest.mark.parametrize(
    ("shape", "inputs"),
    [
        ((4, 4), X),
        ((1, 4, 4), X),
        ((2, 4, 4), X),
        ((2, 1, 1), X),
    ],
)
def test_shapes(shape: tuple[int, ...], inputs: Tensor) -> None:
    maps = torch.rand(3, *shape)
    found = Given(maps).of("012")(net(), inputs, Y)
    assert torch.equal(found, maps[:, None] if len(shape) == 2 else maps)


def test_tokens_have_their_features_last() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(x).mean(1)
            return out

    maps = torch.rand(3, 4)
    assert torch.equal(Given(maps).of("012")(Tokens().eval(), torch.rand(3, 4, 5), Y), maps[..., None])


def test_they_are_values(tmp_path: Path) -> None:
    method = forms(tmp_path)["npz"]
    again = pickle.loads(pickle.dumps(method))
    assert (again, hash(again)) == (method, hash(method))
    assert repr(method) == f"Given({str(tmp_path / 'by_id.npz')!r})"
    assert repr(Given(MAPS)).startswith("Given(<3 maps ")


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            Given(MAPS),
            r"which samples these 3 are, as maps are given by id, but got no ids; call Given\(.*\)\.of\(ids\)",
        ),
        (Given(MAPS).of("01"), "but got 2 ids"),
        (
            Given(MAPS, IDS).of(("a", "x", "y")),
            "a map of each sample, but there is none of 'x', 'y'; it has those of 'b'",
        ),
        (
            Given(torch.rand(3, 2, 2)).of("012"),
            r"maps that broadcast to a sample \(2, 4, 4\), but got \(1, 2, 2\); enlarge",
        ),
        (Given(), "Expected `maps`, a file or arrays by sample id, but got none"),
    ],
)
def test_what_cannot_be_told(method: Given, said: str) -> None:
    with pytest.raises(InputError, match=said):
        (method if method.samples or method.maps else method.of("012"))(net(), X, Y)


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ("maps.pt", r"in a file \.safetensors, \.npz or \.npy, but got 'maps\.pt'"),
        ("none.npz", r"Expected maps in none\.npz, but it cannot be read"),
        ({}, "Expected maps by sample id, but there are none"),
        ({"a": "x"}, "Expected maps of numbers, but 'a' is 'x'"),
        (
            {"maps": MAPS, "ids": np.array(["a", "a", "b"])},
            "an id for each of the 3 maps, each once, but got 3, 2 of them",
        ),
    ],
)
def test_what_is_no_map(maps: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Given(maps)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([object()], dtype=object))
    with pytest.raises(InputError, match="it cannot be read"):
        Given(str(tmp_path / "objects.npz"))


def test_it_is_a_method_by_name() -> None:
    assert hp.adapters.get("given", maps=MAPS) == Given(MAPS)
