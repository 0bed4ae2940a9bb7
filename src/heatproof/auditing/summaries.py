"""What is said of the whole data set, once every block's rows are there."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from heatproof.auditing.knowledge import known_of
from heatproof.checks import Check
from heatproof.metrics import SHRUNK
from heatproof.outputs import Outputs
from heatproof.rows import Role
from heatproof.runs import batches
from heatproof.runs.blocks import ROW_SCHEMA, SAMPLE_SCHEMA, SUMMARY, digest_of
from heatproof.runs.store import ROWS, SAMPLES, Store, looking_again
from heatproof.runs.workers import Failure, failure

GIVEN = ("method", "setting", "position", "sample", "metric", "value", "seed")  # what a check sees of its rows


def summarize(checks: Mapping[str, Check], summaries: Mapping[str, str], store: Store) -> list[Failure]:
    """Write what checks say of the whole data set, from the rows that are there now; gives the failures.

    `summaries` has the id of what is said, by label of a check that says anything: large runs of others are not read.
    """
    failures: list[Failure] = []
    for label, identity in summaries.items():
        ours = _rows_of(store, label, checks[label].summarizes)
        try:
            summary = checks[label].summary(ours) if len(ours) else None
            table = ROW_SCHEMA.empty_table()
            if summary is not None:
                summary = summary.assign(check=label, role=str(Role.TRAINED), stage="", question=identity)
                table = pa.table({name: summary[name].tolist() for name in ROW_SCHEMA.names}, schema=ROW_SCHEMA)
        except Exception as error:  # one check's failure must not cost the others their rows
            failures.append(failure(error, check=label))
            continue
        store.write_rows(ROWS, SUMMARY, digest_of(()), table, [identity])
    return failures


def _rows_of(store: Store, check: str, metrics: Sequence[str]) -> pd.DataFrame:
    """A check's rows about samples, of these metrics if any, in an order that depends on nothing but the rows."""

    def gathered() -> pd.DataFrame:
        parts = [
            pa.Table.from_batches([_of_metrics(batch, metrics)]).select(list(GIVEN)).cast(_GIVEN)
            for batch in batches(store.files, [check], summed=False)
        ]
        found: pd.DataFrame = pa.concat_tables([_GIVEN.empty_table(), *parts]).to_pandas()
        return found

    found: pd.DataFrame = looking_again(gathered)
    order = ["method", "setting", "position", "seed", "metric", "sample"]
    return found.sort_values(order, kind="stable", ignore_index=True)


def _of_metrics(batch: pa.RecordBatch, metrics: Sequence[str]) -> pa.RecordBatch:
    """Rows of these metrics, or of all of a check's own: what the audit says of the rows beside them is none."""
    own = pc.not_equal(batch["metric"], SHRUNK.name)
    return batch.filter(pc.is_in(batch["metric"], pa.array(metrics, pa.string())) if metrics else own)


_GIVEN = pa.schema([ROW_SCHEMA.field(name) for name in GIVEN])


def sum_up(
    store: Store, question: Mapping[str, Any], looked_at: int, failures: Sequence[Failure] | None = None
) -> None:
    """Say what needs every block's samples: how often the network is right, where not all were looked at before.

    `failures` are those of whoever finishes a run without having computed any of it.
    """
    large = question["data"]["samples"] > looked_at
    if large or failures:
        store.sum_up({"knowledge": know(store, question) if large else None, "failures": list(failures or ())})


def know(store: Store, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """How often the network is right on all samples that were begun, for the run to say; None where labels are unknown.

    Cost: every block's samples are read, as long as they have labels.
    """
    tables = [_SAID.empty_table()]
    for part in store.parts(SAMPLES):
        table = store.table(part, _SAID.names)
        if table["label"].null_count and table["number"].null_count:
            return None
        tables.append(table)
    samples = pa.concat_tables(tables)
    named = next((name for name in ("label", "number") if len(samples) and not samples[name].null_count), None)
    if named is None:
        return None
    labels, predicted, outputs = (torch.tensor(samples[name].to_numpy()) for name in (named, "predicted", "output"))
    meaning = Outputs(**question["model"]["meaning"])
    return known_of(meaning, question["model"]["outputs"], predicted, outputs, labels).describe()


_SAID = pa.schema([SAMPLE_SCHEMA.field(name) for name in ("predicted", "label", "number", "output")])
