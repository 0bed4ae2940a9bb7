"""A plan is a grid: it says what is asked of every block, and holds none of them."""

import pickle
import time
from pathlib import Path

import audit_toys as toys
import pandas as pd
import pytest
import torch
from torch import Tensor

import heatproof as hp
from heatproof.auditing.block import run_block
from heatproof.auditing.learning import Learned
from heatproof.auditing.plan import Plan
from heatproof.auditing.planning import make
from heatproof.auditing.samples import Portion, Tensors

CHECKS = [name for name in hp.checks.names() if name not in ("data-randomization", "bounding-box")]


class Generated:
    """Any number of samples, made when they are read."""

    identity = "generated"

    def __init__(self, count: int) -> None:
        self.count, self.read_so_far = count, 0

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> Portion:
        self.read_so_far += stop - start
        made = [torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(i)) for i in range(start, stop)]
        return Portion(inputs=torch.stack(made), ids=tuple(map(str, range(start, stop))))


def planned(source: Generated | Tensors, checks: list[str] = CHECKS) -> Plan:
    recipes = {name: hp.methods.get(name) for name in ("gradient-x-input", "smoothgrad", "cgi", "random")}
    named = {name: (name, hp.checks.get(name)) for name in checks}
    return make(toys.network(), source, recipes, named, features=None, batch=8)


def test_of_a_million_samples_is_made_in_a_moment_and_reads_one_block() -> None:
    source = Generated(1_000_000)
    start = time.process_time()
    plan = planned(source)
    assert len(plan.blocks) == 125_000
    assert len(plan.questions) == len(planned(Generated(8)).questions)
    assert time.process_time() - start < 2
    assert source.read_so_far == 8


def test_ids_are_those_of_the_question_whatever_other_samples_there_are() -> None:
    assert planned(Generated(8)).questions == planned(Generated(80)).questions
    assert len(pickle.dumps(planned(Generated(8)))) == pytest.approx(len(pickle.dumps(planned(Generated(8000)))), abs=9)


def test_goes_through_standard_pickle_and_asks_the_same() -> None:
    boxed = Tensors(inputs=toys.images(16), boxes=[[(1.0, 2.0, 5.0, 6.0)]] * 16)
    plan = planned(boxed, [*CHECKS, "bounding-box"])
    found: Plan = pickle.loads(pickle.dumps(plan))
    assert found.questions == plan.questions
    assert found.summaries == plan.summaries

    def rows(one: Plan) -> pd.DataFrame:
        done = run_block(one, 1, one.read(1), Learned(), one.questions, lambda *_: None)
        return pd.concat([state.rows.table().to_pandas() for state in done])

    pd.testing.assert_frame_equal(rows(found), rows(plan), check_exact=True)


def test_the_question_that_a_run_writes_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    sizes = []
    for count in (20, 60):
        inputs: Tensor = toys.images(60)[:count]
        toys.run(tmp_path / str(count), inputs=inputs, checks=["calibration"], methods=["random"])
        sizes.append((tmp_path / str(count) / "run.json").stat().st_size)
        assert len(list((tmp_path / str(count) / "rows").iterdir())) == -(-count // 3)
    assert sizes[0] == sizes[1]


def test_a_block_leaves_two_files_and_a_third_where_samples_are_shown(tmp_path: Path) -> None:
    toys.run(tmp_path, inputs=toys.images(12), methods=["random"], checks=["parameter-randomization"], gallery=4)
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    of_blocks = [one.split("-")[0] for one in files if "/00" in one and not one.startswith("workers")]
    assert sorted(of_blocks) == sorted(
        [f"{folder}/000000{block}" for folder in ("rows", "samples") for block in range(4)]
        + [f"maps/000000{block}" for block in range(2)]
    )
    assert sorted(set(files) - {one for one in files if "/00" in one}) == ["maps/inputs.safetensors", "run.json"]
