"""Series and volumes: from NumPy's files, folders and tables, with names of leads, a rate and a spacing."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from heatproof.data import Series, Table, Volumes
from heatproof.errors import InputError, UnknownNameError

ECG = np.arange(3 * 2 * 4, dtype=np.float64).reshape(3, 2, 4)  # three series of two leads and four positions
SCANS = np.arange(2 * 1 * 2 * 3 * 4, dtype=np.int16).reshape(2, 1, 2, 3, 4)


def kept(path: Path, array: np.ndarray, **more: np.ndarray) -> str:
    np.savez(path, x=array, **more) if path.suffix == ".npz" else np.save(path, array)
    return str(path)


def test_an_array_with_labels_beside_it(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("ill\nwell\nill\n")
    source = Series(
        path=kept(tmp_path / "ecg.npy", ECG), label_file=str(tmp_path / "labels.txt"), leads=("I", "II"), rate=250.0
    )
    found = source.load()
    assert torch.equal(found.inputs, torch.from_numpy(ECG).float())
    assert found.targets.tolist() == [0, 1, 0]
    assert found.classes == ("ill", "well")
    assert found.ids == ("0", "1", "2")
    assert found.names is not None
    assert (found.names.leads, found.names.rate) == (("I", "II"), 250.0)
    assert Series(
        path=source.path, label_file=kept(tmp_path / "y.npy", np.array([2, 0, 1]))
    ).load().targets.tolist() == [2, 0, 1]


def test_an_archive_brings_labels_and_names(tmp_path: Path) -> None:
    more = {"y": np.array([1, 0, 1]), "leads": np.array(["I", "II"]), "classes": np.array(["ill", "well"])}
    found = Series(path=kept(tmp_path / "ecg.npz", ECG, **more)).load()
    assert found.targets.tolist() == [1, 0, 1]
    assert found.classes == ("ill", "well")
    assert found.names is not None
    assert found.names.leads == ("I", "II")
    unlabelled = Series(path=kept(tmp_path / "no.npz", ECG)).load()
    assert not unlabelled.labelled


def test_one_lead_and_channels_last(tmp_path: Path) -> None:
    assert Series(path=kept(tmp_path / "one.npy", ECG[:, 0])).load().inputs.shape == (3, 1, 4)
    last = Series(path=kept(tmp_path / "last.npy", np.moveaxis(ECG, 1, 2)), layout="channels-last").load()
    assert torch.equal(last.inputs, torch.from_numpy(ECG).float())


def test_mean_and_std_of_each_channel(tmp_path: Path) -> None:
    found = Series(path=kept(tmp_path / "ecg.npy", ECG), mean=(0.0, 4.0), std=(1.0, 2.0)).load()
    assert found.inputs[0].tolist() == [[0, 1, 2, 3], [0, 0.5, 1, 1.5]]
    with pytest.raises(InputError, match="`mean` and `std` for 2 channels, but got 1 of each"):
        Series(path=str(tmp_path / "ecg.npy"), mean=(0.0,), std=(1.0,)).load()


def test_volumes_with_their_spacing(tmp_path: Path) -> None:
    found = Volumes(path=kept(tmp_path / "scans.npz", SCANS, y=np.array([0, 1])), spacing=(3, 0.5, 0.5)).load()
    assert torch.equal(found.inputs, torch.from_numpy(SCANS).float())  # whole numbers are not scaled
    assert found.names is not None
    assert (found.names.spacing, found.names.unit) == ((3.0, 0.5, 0.5), "mm")
    assert Volumes(path=kept(tmp_path / "plain.npy", SCANS[:, 0])).load().inputs.shape == (2, 1, 2, 3, 4)


def test_a_folder_with_a_file_a_volume(tmp_path: Path) -> None:
    for name, label in (("a", "ill"), ("b", "well"), ("c", "ill")):
        (tmp_path / "scans" / label).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "scans" / label / f"{name}.npy", SCANS[0, 0] + ord(name))
    (tmp_path / "scans" / "well" / "torn.npy").write_bytes(b"\x93NUMPY")
    source = Volumes(path=str(tmp_path / "scans"))
    found = source.load()
    assert found.ids == ("ill/a.npy", "ill/c.npy", "well/b.npy")
    assert found.targets.tolist() == [0, 0, 1]
    assert found.classes == ("ill", "well")
    assert [name for name, _ in found.skipped] == ["well/torn.npy"]
    assert found.inputs[2, 0, 0, 0, 0] == ord("b")
    np.save(tmp_path / "scans" / "ill" / "d.npy", SCANS[0, 0, :1])
    with pytest.raises(InputError, match=r"one shape in scans, .* as 'ill/a.npy', but 'ill/d.npy' has \(1, 1, 3, 4\)"):
        source.load()


def test_other_formats_are_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "brain.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match=r"found 'brain.nii.gz': save each volume once as an array, .*nibabel.load"):
        Volumes(path=str(tmp_path)).load()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_long_table(tmp_path: Path, ending: str) -> None:
    """Rows in any order of series, and of time where it is named."""
    rows = [
        {"patient": f"p{n}", "second": t / 2, "II": ECG[n, 1, t], "I": ECG[n, 0, t], "label": ["ill", "well", "ill"][n]}
        for t in (2, 0, 3, 1) for n in range(3)
    ]  # fmt: skip
    path = tmp_path / f"long{ending}"
    frame = pd.DataFrame(rows)
    if ending == ".parquet":
        frame.to_parquet(path, row_group_size=5)
    else:
        frame.to_csv(path, index=False, sep="	" if ending == ".tsv" else ",")
    found = Series(path=str(path), id="patient", time="second", leads=("I", "II"), rate=2.0).load()
    assert torch.equal(found.inputs, torch.from_numpy(ECG).float())
    assert found.ids == ("p0", "p1", "p2")
    assert found.targets.tolist() == [0, 1, 0]
    assert found.names is not None
    assert found.names.leads == ("I", "II")
    own = Series(path=str(path), id="patient", time="second").load()
    assert own.names is not None
    assert own.names.leads == ("II", "I")  # the table's order
    as_it_stands = Series(path=str(path), id="patient", leads=("I",)).load()
    assert as_it_stands.inputs[0, 0].tolist() == [2, 0, 3, 1]


def test_a_wide_table(tmp_path: Path) -> None:
    columns = {f"{lead}_{t}": ECG[:, k, t] for k, lead in enumerate(("I", "II")) for t in (1, 0, 2, 3)}
    pd.DataFrame({**columns, "label": [0, 1, 1]}).to_csv(tmp_path / "wide.csv", index=False)
    found = Series(path=str(tmp_path / "wide.csv"), leads=("I", "II")).load()
    assert torch.equal(found.inputs, torch.from_numpy(ECG).float())  # by their numbers
    assert found.targets.tolist() == [0, 1, 1]
    assert found.ids == ("row 0", "row 1", "row 2")
    pd.DataFrame(ECG[:, 0]).to_csv(tmp_path / "one.csv", index=False)
    found = Series(path=str(tmp_path / "one.csv")).load()
    assert found.inputs.tolist() == ECG[:, :1].tolist()
    assert not found.labelled
    with pytest.raises(
        InputError, match=r"as many columns of numbers for each lead in .*, called like 'I_0', but got I: 4, III: 0"
    ):
        Series(path=str(tmp_path / "wide.csv"), leads=("I", "III")).load()


def test_blocks_are_those_of_the_whole_and_go_to_other_processes(tmp_path: Path) -> None:
    source = Series(path=kept(tmp_path / "ecg.npz", ECG, y=np.array([0, 1, 0])), shuffle=1)
    whole, blocks = source.load(), pickle.loads(pickle.dumps(source.blocks()))
    parts = [blocks.read(0, 2), blocks.read(2, 3)]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert [name for part in parts for name in part.ids] == list(whole.ids)
    other = Series(path=kept(tmp_path / "other.npz", ECG + 1, y=np.array([0, 1, 0])), shuffle=1)
    assert other.blocks().identity != source.blocks().identity


def test_what_holds_nan_is_named(tmp_path: Path) -> None:
    torn = ECG.copy()
    torn[1, 0, 0] = np.nan
    found = Series(path=kept(tmp_path / "ecg.npy", torn)).load()
    assert found.ids == ("0", "2")
    assert found.skipped == (("1", "it holds NaN or infinity"),)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"leads": ("I",)}, "a name for each of 2 channels, but got 1"),
        ({"rate": 0.0}, "a sampling rate above 0, in positions a second, but got 0.0"),
        ({"layout": "last"}, "name of a layout, but got 'last'"),
        ({"label_file": "none.txt"}, "labels in an .npy or text file, but 'none.txt' is no file"),
        ({"path": "none.npy"}, "an .npy or .npz file, but got 'none.npy', which is no file"),
        ({"samples": "ecg"}, "Expected the name of an array in .*, but got 'ecg'; known are: x, y"),
        ({"classes": ("a",)}, "labels below 1, one for each of `classes`, but got 1"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    path = kept(tmp_path / "ecg.npz", ECG, y=np.array([0, 1, 0]))
    with pytest.raises((InputError, UnknownNameError), match=said):
        Series(**{"path": path, **fields}).load()


def test_arrays_of_other_shapes_and_pickles(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"or \(N, T\) of one lead, but a sample of .* is \(1, 2, 3, 4\)"):
        Series(path=kept(tmp_path / "scans.npy", SCANS)).load()
    with pytest.raises(InputError, match="a spacing above 0 for each of 3 axes, but got"):
        Volumes(path=str(tmp_path / "scans.npy"), spacing=(1.0, 1.0)).load()
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="file of plain arrays, but reading it failed"):
        Series(path=str(tmp_path / "objects.npy")).load()
    with pytest.raises(InputError, match="a label for each of 3 samples of ecg, but got"):
        Series(path=kept(tmp_path / "ecg.npz", ECG, y=np.array([0, 1]))).load()


@pytest.mark.parametrize(
    ("rows", "fields", "said"),
    [
        (
            "id,x,label\na,1,0\na,2,0\nb,3,0\n",
            {"id": "id"},
            r"series of one length in .*, 2 rows as 'a', but 'b' has 1; cut or resample",
        ),
        (
            "id,x,label\na,1,0\na,2,1\n",
            {"id": "id"},
            r"one label a series in column 'label' of .*, but 'a' has 0, 1",
        ),
        (
            "id,t,x,label\na,1,1,0\na,0,2,0\n,0,3,0\n,1,4,0\n",
            {"id": "id"},
            r"a value in 'id' for every row of .*, but row 2 has none",
        ),
        (
            "id,t,x,label\na,1,1,0\na,,2,0\n",
            {"id": "id", "time": "t"},
            r"a value in 't' for every row of .*, but row 1 has none",
        ),
    ],
)
def test_long_tables_that_do_not_fit(tmp_path: Path, rows: str, fields: dict[str, Any], said: str) -> None:
    path = tmp_path / "long.csv"
    path.write_text(rows)
    with pytest.raises(InputError, match=said):
        Series(path=str(path), **fields).load()
    with pytest.raises(UnknownNameError, match="did you mean 'id'"):
        Series(path=str(path), id="ids").load()


def test_labels_of_another_name_are_not_left_out_in_silence(tmp_path: Path) -> None:
    path = kept(tmp_path / "ecg.npz", ECG, found=np.array([0, 1, 0]))
    assert Series(path=path).load().targets.tolist() == [-1, -1, -1]
    with pytest.raises(UnknownNameError, match="did you mean 'found'"):
        Series(path=path, labels="foun").load()


def test_hidden_files_are_no_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 5), np.float32))
    (tmp_path / "._a.npy").write_bytes(b"of another system")
    os.mkfifo(tmp_path / "b.npy")
    data = Series(path=str(tmp_path)).load()
    assert (data.ids, data.skipped) == (("a.npy",), (("b.npy", "OSError: it is no file that ends"),))


def test_one_number_that_changed_makes_other_data(tmp_path: Path) -> None:
    values, identities = np.arange(200.0).reshape(50, 2, 2), set()
    for number in (7.0, 7.5):  # neither first nor last nor an extreme of its column
        values[30, 1, 0] = number
        np.save(tmp_path / "x.npy", values)
        identities.add(Series(path=str(tmp_path / "x.npy")).blocks().identity)
        frame = pd.DataFrame({"x": values.reshape(-1), "label": 0})
        frame.to_parquet(tmp_path / "x.parquet", compression=None)
        identities.add(Table(path=str(tmp_path / "x.parquet")).blocks().identity)
    assert len(identities) == 4


def test_folders_called_by_numbers_are_these_labels(tmp_path: Path) -> None:
    for name in ("0", "2", "10"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.zeros((2, 5), np.float32))
    data = Series(path=str(tmp_path)).load()
    assert sorted(zip(data.ids, data.targets.tolist(), strict=True)) == [
        ("0/a.npy", 0),
        ("10/a.npy", 10),
        ("2/a.npy", 2),
    ]


def test_labels_that_are_numbers_and_no_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("-1\n0\n1\n")
    source = Series(path=kept(tmp_path / "ecg.npy", ECG), label_file=str(tmp_path / "labels.txt"))
    with pytest.raises(InputError, match=r"labels of ecg as names or as whole numbers from 0 on, .* but got '-1'"):
        source.load()
    (tmp_path / "labels.txt").write_text("1.0\n0.0\n1.0\n")
    assert source.load().targets.tolist() == [1, 0, 1]


def test_columns_of_a_wide_table_that_are_no_positions_are_not_taken_for_some(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("id,t_10,t_2,t_1,label\n7,10,2,1,0\n")
    with pytest.raises(
        InputError, match=r"called like 't_10', but 'id' is called otherwise; name the leads, leads=\('t'"
    ):
        Series(path=str(path)).load()
    assert Series(path=str(path), leads=("t",)).load().inputs.tolist() == [[[1.0, 2.0, 10.0]]]
    path.write_text("I_0,I_1,II_0,II_1\n1,2,3,4\n")
    with pytest.raises(InputError, match="but 'II_0' is called otherwise"):
        Series(path=str(path)).load()
    path.write_text("mon,tue\n1,2\n")
    assert Series(path=str(path)).load().inputs.tolist() == [[[1.0, 2.0]]]
