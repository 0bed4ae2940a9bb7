"""Claim: reading a run takes seconds and megabytes, not the memory that a frame of all its rows would take.

Made-up runs, written as an audit writes them: one file of rows a block of 64 samples, 34 methods, 11 checks,
cascading randomization of so many stages; one keeps the maps of six samples. `verdicts` opens the folder, reads every
row, and gives the table of verdicts with its headline; `page` makes `report.html` with all curves and intervals. Each
is a process of its own; memory is its peak, and beside it stands what the imports alone take. Seconds are the
process's own work, on one thread. A page of more than 10 MB is an error. `a frame` is what `run.rows()` takes.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from heatproof.rows import SCHEMA
from heatproof.runs import Store
from heatproof.runs.blocks import ROW_SCHEMA, digest_of
from heatproof.runs.store import MAPS, ROWS

# name: samples, methods, stages
CASES = {
    "tiny": (16, 6, 3),
    "1e6 rows": (84, 34, 17),
    "500 images": (500, 34, 17),
    "20e6 rows": (1680, 34, 17),
    "2,160 maps": (16, 20, 17),
}
SHOWN = {"2,160 maps": 6}  # samples whose maps, of 224 × 224 pixels in every state, are kept
SIDE = 224
BLOCK = 64
MEASURES = ("spearman", "spearman-absolute", "ssim", "hog", "mse")
BESIDE = ("zeros", "shared-zeros", "relative-energy")
CONTROLS = ("edge-detector", "input-x-random-gradient", "random")
GROUP = "cascading he"
METRICS: dict[str, dict[str, Any]] = {
    "degradation": {"chance": 0.0, "ideal": 1.0, "higher_is_better": True},
    "sensitivity-n": {"chance": 0.0, "ideal": 1.0, "higher_is_better": True},
    "probability": {"low": 0.0, "high": 1.0, "higher_is_better": False},
    "box-ratio": {"low": 0.0, "high": 1.0, "ideal": 1.0, "higher_is_better": True},
    "pointing-game": {"low": 0.0, "high": 1.0, "ideal": 1.0, "higher_is_better": True},
    "spearman": {"title": "Spearman", "itself": 1.0},
    "spearman-absolute": {"title": "Spearman, absolute", "itself": 1.0},
}
Line = tuple[str, str, float, int, tuple[str, ...]]  # check, setting, position, seed, metrics of each method there
CHECKS = (
    "parameter-randomization", "data-randomization", "steadiness", "input-controls", "calibration", "completeness",
    "bounding-box", "sensitivity-n", "degradation", "blurred-patch", "method-agreement",
)  # fmt: skip


def conditions(methods: list[str], stages: int) -> Iterator[list[Line]]:
    """What each state of the network gives rows of."""
    pairs = [("method-agreement", other, 0.0, 0, MEASURES[:2]) for other in methods]
    trained: list[Line] = [
        ("completeness", "", 0.0, 0, ("completeness-gap", "attribution-sum", "score", "target-score")),
        ("bounding-box", "", 0.0, 0, ("box-ratio", "pointing-game", "box-area")),
        ("calibration", "map-vs-gaussian", 0.0, 0, MEASURES),
        *(("sensitivity-n", "", float(n), 0, ("sensitivity-n",)) for n in range(1, 9)),
        *(("degradation", "", float(n), 0, ("degradation", "morf", "lerf")) for n in range(1, 16)),
        *(("blurred-patch", "", float(n), 0, ("probability", "score")) for n in range(11)),
        *(
            ("input-controls", f"{control}{kind}", 0.0, 0, MEASURES)
            for control in CONTROLS[:2]
            for kind in ("", " chance")
        ),
    ]
    yield [*trained, *pairs]
    for stage in range(1, stages + 1):
        yield [("parameter-randomization", GROUP, float(stage), 0, (*MEASURES, *BESIDE))]
    for seed in (0, 1, 2):
        last: list[Line] = [("parameter-randomization", f"{GROUP} chance", float(stages), seed, MEASURES)]
        if seed:
            last.append(("parameter-randomization", GROUP, float(stages), seed, (*MEASURES, *BESIDE)))
        yield last
        for setting in ("parameters", "parameters chance", "inputs"):
            yield [("steadiness", setting, 0.0, seed, MEASURES)]
    yield [("parameter-randomization", "replicate", 0.0, 0, MEASURES)]
    yield [("parameter-randomization", f"{GROUP} floor", float(stages), 0, MEASURES)]
    for setting in ("permuted-labels", "true-labels", "permuted-labels chance"):
        yield [("data-randomization", setting, 0.0, 0, MEASURES)]


def generate(run: Path, samples: int, count: int, stages: int, shown: int = 0) -> int:
    """Write a made-up run, with the maps of the samples `shown`; gives the number of its rows."""
    methods = [*CONTROLS, *(f"method {k:02}" for k in range(count - len(CONTROLS)))]
    store, tables = Store(run), []
    rng, total = np.random.default_rng(0), 0
    questions = {f"{number:064x}": ["", "", "", ""] for number, _ in enumerate(conditions(methods, stages))}
    for block in range(0, samples, BLOCK):
        names = [f"{k:05}" for k in range(block, min(block + BLOCK, samples))]
        for number, lines in enumerate(conditions(methods, stages)):
            keys = [
                (check, method, setting, "", "", position, metric, seed)
                for check, setting, position, seed, metrics in lines
                for method in methods
                if check != "method-agreement" or method < setting
                for metric in metrics
            ]
            question, size = f"{number:064x}", len(names)
            columns = {
                name: pa.array([key[k] for key in keys for _ in names])
                for k, name in enumerate(("check", "method", "setting", "role", "stage", "position", "metric", "seed"))
            }
            level = np.repeat(rng.normal(0.3, 0.2, len(keys)), size)
            columns["value"] = pa.array(level + rng.normal(0, 0.2, len(keys) * size))
            columns["sample"] = pa.array(names * len(keys))
            columns["question"] = pa.array([question] * (len(keys) * size))
            tables.append(pa.table({name: columns[name] for name in ROW_SCHEMA.names}, schema=ROW_SCHEMA))
        table = pa.concat_tables(tables)
        store.write_rows(ROWS, block // BLOCK, digest_of(names), table, questions)
        total += table.num_rows
        tables.clear()
    question = question_of(methods, samples, stages, questions)
    if shown:
        names = [f"{k:05}" for k in range(shown)]
        question |= {"shown": names, "data": {**question["data"], "shape": [3, SIDE, SIDE], "grid": [SIDE, SIDE]}}
        keep(store, methods, [state["name"] for state in question["states"]], names, questions)
    store.ask(question)
    return total


def keep(store: Store, methods: list[str], states: list[str], names: list[str], questions: dict[str, Any]) -> None:
    """Maps, inputs and facts of the samples shown."""
    rng = np.random.default_rng(1)
    maps = {
        json.dumps([state, method, name]): rng.standard_normal((SIDE, SIDE), np.float32)
        for state in states
        for method in methods
        for name in names
    }
    store.write_maps(MAPS, 0, digest_of(names), maps, dict.fromkeys(methods, questions))
    store.write_inputs({name: rng.random((3, SIDE, SIDE), np.float32) for name in names})
    facts = {name: pa.array([0] * len(names)) for name in ("target", "predicted", "label")}
    likely = pa.array([0.9] * len(names))
    table = {"id": pa.array(names), **facts, "probability": likely, "target_probability": likely}
    store.write_samples(0, digest_of(names), pa.table(table))


def question_of(methods: list[str], samples: int, stages: int, questions: dict[str, list[str]]) -> dict[str, Any]:
    """What the run says of itself, as far as its readers ask."""
    plain = {"layers": [], "fixed": [], "targets": "trained", "replicate": 0}
    measured = [{"name": name, **about} for name, about in METRICS.items()]
    states = [{"name": "trained", "kind": "trained", "group": "", "label": "trained", "index": 0, "seed": 0, **plain}]
    states += [
        {
            "name": f"{GROUP} {k}", "kind": "randomized", "group": GROUP, "label": f"layer {k}", "index": k, "seed": 0,
            "complete": k == stages, **plain,
        }
        for k in range(1, stages + 1)
    ]  # fmt: skip
    return {
        "schema": SCHEMA, "heatproof": "0", "created": "2026-01-01T00:00:00+00:00", "spec": {}, "shown": [],
        "believable": [], "questions": questions, "summaries": {}, "aliases": {}, "states": states, "knowledge": {},
        "model": {"name": "net", "fingerprint": "0", "parameters": 1, "outputs": 10},
        "data": {
            "name": "made up", "fingerprint": "0", "shape": [1, 8, 8], "features": "pixels", "grid": [8, 8],
            "classes": None, "samples": samples, "skipped": [],
        },
        "methods": [
            {
                "label": name, "name": name, "recipe": {"name": name}, "text": "", "controls": name in CONTROLS,
                "digest": "", "learns": [],
            }
            for name in methods
        ],
        "checks": [
            {"label": name, "name": name, "id": name, "recipe": {}, "text": "", "metrics": measured, "notes": []}
            for name in CHECKS
        ],
        "settings": {
            "python": "3", "torch": "2", "platform": "", "device": "cpu", "threads": 1, "compute_batch": BLOCK,
            "git": None,
        },
    }  # fmt: skip


def verdicts(run: Path) -> None:
    from heatproof.reading import Verdicts
    from heatproof.runs import read

    found = read(run, Verdicts.of)
    assert found.headline, len(found.table)


def page(run: Path) -> None:
    from heatproof.report import write

    size = write(run).stat().st_size
    assert size < 10_000_000, size


def frame(run: Path) -> None:
    from heatproof.runs import read_rows

    read_rows(run)


WHAT = {"verdicts": verdicts, "page": page, "a frame": frame}


def alone(what: str, run: Path) -> dict[str, float]:
    """Seconds and peak memory of one of them, in a process of its own."""
    command = [sys.executable, __file__, "--alone", what, str(run)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def here(what: str, run: Path) -> None:
    import heatproof.reading
    import heatproof.runs

    if what == "page":
        import heatproof.report  # noqa: F401  # imported so that none of them is measured

    before, start = peak(), time.process_time()
    WHAT[what](run)
    print(json.dumps({"seconds": time.process_time() - start, "imports": before, "peak": peak()}))


def peak() -> float:
    """The peak memory of this process in MiB."""
    status = Path("/proc/self/status")  # what getrusage says begins with the peak of the process that started this one
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(found["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: str, whats: list[str]) -> Iterator[dict[str, str | int | float]]:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        total = generate(run, *CASES[case], shown=SHOWN.get(case, 0))
        for what in whats:
            found = alone(what, run)
            yield {
                "run": case, "rows": total, "what": what, "CPU seconds": found["seconds"],
                "peak, MiB": round(found["peak"]), "imports, MiB": round(found["imports"]),
            }  # fmt: skip


def main() -> None:
    from common import parser, report  # with torch, which is no part of what is measured

    options = parser(__doc__.splitlines()[0])
    options.add_argument("--only", default="", help="cases whose name holds this")
    options.add_argument("--what", nargs="*", default=["verdicts", "page"], choices=list(WHAT))
    chosen = options.parse_args()
    cases = [case for case in CASES if chosen.only in case and (chosen.only or case != "tiny")]
    report("reading", [row for case in cases for row in measure(case, chosen.what)], chosen.out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        here(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
