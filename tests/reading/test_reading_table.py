"""The table of a run is that of its rows, however they come."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_up import rows_of

from heatproof.reading.intervals import of_means
from heatproof.reading.table import COLUMNS, Table, intervals


def some_rows() -> pd.DataFrame:
    parts = [
        rows_of("b", who, {"x": 0.5, "y": 0.1}, setting=setting, position=position, samples=7, seed=seed)
        for who in ("m", "")
        for setting in ("", "s")
        for position in (0, 2)
        for seed in (0, 3)
    ]
    rows = pd.concat([*parts, rows_of("a", "m", {"x": [1.0, np.nan, 3.0]}, samples=3)], ignore_index=True)
    rows.loc[::11, "value"] = np.nan
    whole = rows.tail(1).assign(sample="", metric="slope")
    return pd.concat([rows, whole], ignore_index=True).sample(frac=1.0, random_state=0)


def batches(rows: pd.DataFrame, size: int, *, coded: bool) -> list[pa.RecordBatch]:
    table = pa.table({name: pa.array(rows[name].to_numpy(), from_pandas=False) for name in rows.columns})
    if coded:
        table = pa.table({name: table[name].dictionary_encode() if name in ("check", "sample") else table[name]
                          for name in table.column_names})  # fmt: skip
    return table.to_batches(size)


def twin(rows: pd.DataFrame) -> dict:
    """One row after the other: values by key, seed and sample."""
    found: dict = {}
    for row in rows[rows["sample"] != ""].itertuples():
        key = (row.check, row.method, row.setting, row.position, row.metric)
        found.setdefault(key, {}).setdefault((row.seed, row.sample), []).append(row.value)
    return found


@pytest.mark.parametrize(("size", "coded"), [(10_000, False), (5, False), (5, True), (1, True)])
def test_the_table_is_the_slow_twins(size: int, coded: bool) -> None:
    rows = some_rows()
    table, expected = Table.of(batches(rows, size, coded=coded)), twin(rows)
    assert list(table.values) == sorted(expected)
    assert table.samples == tuple(f"s{i:03}" for i in range(7))
    for key, values in table.values.items():
        known = {place: [v for v in found if v == v] for place, found in expected[key].items()}
        seeds = sorted({seed for (seed, _), found in known.items() if found})
        assert values.seeds == tuple(seeds)
        for seed, line in zip(seeds, values.array, strict=True):
            for name, value in zip(table.samples, line, strict=True):
                assert np.isnan(value) if not known.get((seed, name)) else value == np.mean(known[seed, name])
        assert table.gone.get(key, 0) == sum(len(found) for found in expected[key].values()) - sum(
            map(len, known.values())
        )


def test_a_frame_and_batches_of_it_are_one_table() -> None:
    rows = some_rows()
    one, other = Table.of(rows), Table.of(batches(rows, 3, coded=True))
    assert one.gone == other.gone
    assert all(np.array_equal(one.values[key].array, other.values[key].array, equal_nan=True) for key in one.values)


def test_of_several_values_of_one_sample_the_mean_counts() -> None:
    rows = pd.concat([rows_of("a", "m", {"x": [level] * 4}, samples=4) for level in (1.0, 2.0, 6.0)])
    assert Table.of(rows).values["a", "m", "", 0.0, "x"].array.tolist() == [[3.0] * 4]
    rows.iloc[0, list(rows.columns).index("value")] = np.nan
    assert Table.of(rows).values["a", "m", "", 0.0, "x"].array.tolist() == [[4.0, 3.0, 3.0, 3.0]]


def test_where_nothing_has_a_value_the_key_stands_all_the_same() -> None:
    table = Table.of(rows_of("a", "m", {"x": [np.nan] * 4}, samples=4))
    (values,) = table.values.values()
    assert (values.n, table.gone) == (0, {("a", "m", "", 0.0, "x"): 4})
    assert Table.of(pd.DataFrame(columns=COLUMNS)).values == {}


def test_checks_of_one_id_are_met() -> None:
    rows = pd.concat(
        [
            rows_of("a", "m", {"x": [1.0, 3.0]}, samples=2),
            rows_of("b", "m", {"x": [2.0, np.nan]}, samples=2),
            rows_of("b", "m", {"x": [5.0, 7.0]}, samples=2, seed=1),
        ]
    )
    met = Table.of(rows).under({"a": "one", "b": "one"})
    ((key, values),) = met.values.items()
    assert (key[0], values.seeds) == ("one", (0, 1))
    assert values.array.tolist() == [[1.5, 3.0], [5.0, 7.0]]
    assert met.gone == {key: 1}


def test_intervals_are_those_of_each_key_alone() -> None:
    rows = some_rows()
    table = Table.of(rows)
    for key, found in intervals(rows).items():
        low, high = of_means(table.values[key].array[:, :, None])
        assert found[1:3] == pytest.approx((low[0], high[0]), nan_ok=True)
        assert (found.n, found.nan) == (table.values[key].n, table.gone.get(key, 0))
