"""The rows, samples and maps of a run, as any reader wants them."""

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from heatproof.errors import HeatproofWarning, TornError
from heatproof.rows import COLUMNS
from heatproof.runs import before, blocks, seal
from heatproof.runs.files import Files
from heatproof.runs.manifest import read_manifest
from heatproof.runs.store import BEFORE, MAPS, PARTIAL, SAMPLES, Store, looking_again, no_run

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
MOST = 2**18  # rows of a batch
ORDER = ["check", "method", "setting", "position", "seed", "metric", "sample"]


def read(run: Path | str, take: Callable[[Iterator[pa.RecordBatch], dict[str, Any]], T]) -> T:
    """What `take` makes of a run's current rows, in batches with texts as dictionaries, and its manifest.

    It starts anew where an audit that goes on has moved a file aside meanwhile. Files that are not as they were written
    are left out; their names are under "torn" in the manifest when the batches have been read, and in a warning.

    Raises: StoreError as `read_manifest`.
    """

    def once() -> T:
        torn.clear()
        manifest = {**read_manifest(run), "torn": torn}
        return take(batches(run, torn=torn), manifest)

    torn: list[str] = []
    found: T = looking_again(once)
    if torn:
        warnings.warn(_named(run, torn), HeatproofWarning, stacklevel=2)
    return found


def batches(
    run: Path | str | Files, checks: Collection[str] = (), *, summed: bool = True, torn: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The current rows of a run, each once, as record batches whose texts are dictionaries: one block in memory.

    Of these checks alone, if any are named; without `summed` only those about samples. While an audit goes on rows
    may be added meanwhile, and are or are not among them.

    Files that are not as they were written are left out, and named in `torn`, if it is given.

    Raises: StoreError if there is no run; TornError where `torn` is not given; FileNotFoundError where a file was moved
        aside under one's eyes: see `read`.
    """
    store = Store(run)
    question = store.question()
    if question is None:
        if BEFORE not in store.files.names() or not isinstance(run, Path | str):
            raise no_run(run)
        yield from (_of_checks(batch, checks) for batch in before.batches(Path(run)))
        return
    asked = frozenset(question["questions"])
    if summed:
        asked |= frozenset(question["summaries"].values())
    for part, wanted in store.current(asked, torn):
        try:
            file = blocks.opened(store.files.read(part.name), part.name)
        except TornError:
            if torn is None:
                raise
            torn.append(part.name)
            continue
        whole = wanted == store.questions(part)  # then there is no need to look at each row
        for batch in file.iter_batches(MOST, columns=list(COLUMNS)):
            yield _of_checks(batch if whole else blocks.only(batch, wanted), checks)


def _of_checks(batch: pa.RecordBatch, checks: Collection[str]) -> pa.RecordBatch:
    return batch.filter(pc.is_in(batch["check"], pa.array(sorted(checks), pa.string()))) if checks else batch


def read_rows(run: Path | str, checks: Collection[str] = ()) -> pd.DataFrame:
    """Every row of what the run's current plan asks for, in an order that depends on nothing but the rows.

    Of these checks alone, if any are named: one frame of all rows of a large run is larger than memory.
    """

    def frame(found: Iterator[pa.RecordBatch], _: Mapping[str, Any]) -> pd.DataFrame:
        parts = [pa.Table.from_batches([_of_checks(batch, checks)]).cast(blocks.ROW_SCHEMA) for batch in found]
        rows: pd.DataFrame = pa.concat_tables([blocks.empty(), *parts]).to_pandas()
        return rows.sort_values(ORDER, kind="stable", ignore_index=True)

    return read(run, frame)


def read_samples(run: Path | str, ids: Collection[str] | None = None) -> list[dict[str, Any]]:
    """What is known of each sample (of these, if `ids` are given), in the data's order.

    Keys: id, digest, target, predicted, probability, target_probability, label, number, output; None where unknown.
    """
    store = Store(run)
    if store.question() is None:
        return before.read_samples(Path(run), ids)
    found: list[dict[str, Any]] = []
    left = None if ids is None else set(ids)
    for part in store.parts(SAMPLES):
        if left is not None and not left:
            break
        try:
            here = store.table(part).to_pylist()
        except TornError as error:
            warnings.warn(str(error), HeatproofWarning, stacklevel=2)
            continue
        found += here if left is None else [one for one in here if one["id"] in left]
        left = None if left is None else left - {one["id"] for one in here}
    return found


def read_maps(
    run: Path | str,
) -> "tuple[dict[tuple[str, str, str], np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]":
    """Maps by (state, method, sample) and inputs by name, of the samples that the run kept for showing.

    A file names the questions that each method's maps were made for, and they are read only if one is still asked: maps
    of earlier settings may lie in the same folder, and in the same file.
    """
    store = Store(run)
    question = store.question()
    if question is None:
        return before.read_maps(Path(run))
    asked, found = frozenset(question["questions"]), dict[tuple[str, str, str], Any]()
    for folder in (MAPS, PARTIAL):
        for part in store.parts(folder):
            if part.kind == "safetensors":
                try:
                    maps, answered = store.maps(part)
                except TornError as error:
                    warnings.warn(str(error), HeatproofWarning, stacklevel=2)
                    continue
                found |= current_maps(maps, answered, asked)
    return found, read_inputs(store)


def read_inputs(store: Store) -> "dict[str, np.ndarray[Any, Any]]":
    """The pictures of the samples that are shown, by name."""
    from safetensors.numpy import load

    try:
        name = f"{MAPS}/inputs.safetensors"
        inputs: dict[str, np.ndarray[Any, Any]] = load(seal.whole(store.files.read(name), name))
    except FileNotFoundError:
        return {}
    except TornError as error:
        warnings.warn(str(error), HeatproofWarning, stacklevel=2)
        return {}
    return inputs


def _named(run: Path | str, torn: Sequence[str]) -> str:
    more = f" and {len(torn) - 3} more" if len(torn) > 3 else ""
    return (
        f"Expected the files of {run} as they were written, but {', '.join(torn[:3])}{more} changed since: a disk or a "
        "copy has damaged them. Their rows are left out; run the audit again to compute them anew."
    )


def current_maps(
    maps: "Mapping[str, np.ndarray[Any, Any]]", answered: Mapping[str, Collection[str]], asked: Collection[str]
) -> "dict[tuple[str, str, str], np.ndarray[Any, Any]]":
    """The maps of a file whose method answers anything that is asked."""
    found: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
    for name, values in maps.items():
        state, method, sample = json.loads(name)
        if not frozenset(asked).isdisjoint(answered.get(method, ())):
            found[state, method, sample] = values
    return found
