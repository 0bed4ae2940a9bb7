"""Run a spec, or go on with it, and put what it says into `docs/results/<name>/`.

    python examples/results.py examples/mnist.toml

There: the spec, the scorecard, the papers' effects, one table of every method against every check, as CSV and as a
picture, and the maps of networks that were trained anew, if any were. Every figure comes from the rows of the run; none
is typed in. The estimate of the time is printed first.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
import typer

from heatproof.auditing import from_spec
from heatproof.auditing.spec import read
from heatproof.papers import Results
from heatproof.papers.pictures import maps_over_labels, table_picture
from heatproof.reading import Verdicts
from heatproof.reading.run_info import RunInfo
from heatproof.reading.table import intervals
from heatproof.report import write as write_report
from heatproof.report.effects import effects
from heatproof.runs import read_manifest, read_rows

ROOT = Path(__file__).parent.parent


class Column(NamedTuple):
    """One figure of a check: which rows it is the mean of, and why a method may have none."""

    check: str
    metric: str
    setting: str | None = None  # None: all settings; "stages": those of a randomization
    position: str | None = None  # None: all positions; "last"
    blank: str = "not measured"


UNASKED = {
    "bounding-box": "the data have no boxes",
    "data-randomization": "not asked by this spec: the network would have to be trained here twice",
}
ANY = "the map is constant, or of one value at every feature that counts"
COLUMNS = (
    Column("parameter-randomization", "spearman-absolute", "stages", "last", ANY),
    Column("parameter-randomization", "ssim", "stages", "last", ANY),
    Column("efficient-parameter-randomization", "entropy-rise", "", None, ANY),
    Column("data-randomization", "spearman-absolute", "permuted-labels", None, ANY),
    Column("data-randomization", "spearman-absolute", "true-labels", None, ANY),
    Column("input-controls", "spearman-absolute", "input-x-random-gradient", None, ANY),
    Column("input-controls", "spearman-absolute", "edge-detector", None, ANY),
    Column("calibration", "spearman-absolute", "map-vs-gaussian", None, ANY),
    Column("sensitivity-n", "sensitivity-n", "", None, ANY),
    Column("degradation", "degradation", None, None, ANY),
    Column("blurred-patch", "probability", None, None, ANY),
    Column("bounding-box", "box-ratio", "", None, "no box, or one too large"),
    Column("bounding-box", "pointing-game", "", None, "no box, or one too large"),
    Column("completeness", "relative-score-gap", None, None, "the score is 0"),
    Column("completeness", "label-correlation", None, None, "promises no sum, or cannot be linearized"),
    Column("bottleneck-ledger", "information", None, None, "no bottleneck"),
    Column("bottleneck-ledger", "probability", None, None, "no bottleneck"),
    Column("method-agreement", "spearman-absolute", None, None, ANY),
)


def main(
    spec: Annotated[Path, typer.Argument(help="A TOML file.")],
    folder: Annotated[Path | None, typer.Option("--out", help="The run folder; runs/<spec> by default.")] = None,
    docs: Annotated[Path, typer.Option(help="Where results go.")] = ROOT / "docs" / "results",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
) -> None:
    """Run the spec and write its results."""
    run = folder or ROOT / "runs" / spec.stem
    from_spec.run(read(spec), run, threads=threads)
    write_report(run)
    print(write(run, spec, docs))


def write(run: Path, spec: Path, docs: Path) -> Path:
    """Write everything about a run beside a copy of its spec."""
    rows, manifest = read_rows(run), read_manifest(run)
    folder = docs / spec.stem
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = Verdicts.of(rows, manifest)
    verdicts.frame.to_csv(folder / "scorecard.csv", index=False, float_format="%.4g")
    pd.DataFrame([asdict(effect) for effect in effects(verdicts)]).to_csv(folder / "effects.csv", index=False)
    table = every(rows, manifest)
    table.to_csv(folder / "table.csv", index=False, float_format="%.4g")
    table_picture(table, folder / "table.png")
    if any(state["kind"] == "retrained" for state in manifest["states"]):
        draw = maps_over_labels(methods=[method["label"] for method in manifest["methods"]])
        draw(Results(rows=rows, manifest=manifest, folder=run), folder / "labels.png")
    machine = {
        "status": manifest["status"],
        "failures": len(manifest["failures"]),
        "samples": manifest["data"]["samples"],
        "outputs": manifest["model"]["outputs"],
        "estimated seconds of the last start": round(manifest["estimate"]["seconds"]),
        "seconds of attribution": round(sum(cost["seconds"] for cost in manifest["costs"].values())),
        **{key: manifest["environment"][key] for key in ("python", "torch", "device", "threads", "compute_batch")},
    }
    pd.Series(machine, name="value").rename_axis("what").to_csv(folder / "machine.csv")
    shutil.copy(spec, folder / "spec.toml")
    return folder


def every(rows: pd.DataFrame, manifest: dict) -> pd.DataFrame:  # type: ignore[type-arg]  # a manifest
    """Every method against every column of every check: mean, 95 % interval, or why there is none."""
    names = {check.label: check.id for check in RunInfo(manifest).checks}
    stages = {state["group"] for state in manifest["states"] if state["kind"] == "randomized"}
    absent = {column.check: column.check for column in COLUMNS if column.check not in names.values()}
    found = []
    for label, name in {**names, **absent}.items():
        ours = rows[rows["check"] == label]
        for column in (one for one in COLUMNS if one.check == name):
            chosen = _chosen(ours, column, stages)
            means = intervals(chosen.assign(setting="", position=0.0))
            for method in (one["label"] for one in manifest["methods"]):
                mean = means.get((label, method, "", 0.0, column.metric))
                told = mean is not None and mean.n > 0
                found.append(
                    {
                        "method": method,
                        "check": label,
                        "figure": " ".join(
                            filter(None, (column.metric, column.setting if column.setting != "stages" else ""))
                        ),
                        **({key: getattr(mean, key) for key in ("mean", "low", "high", "n", "nan")} if mean else {}),
                        "blank": "" if told else _reason(column, manifest, method, asked=name in names.values()),
                    }
                )
    return pd.DataFrame(found)


def _reason(column: Column, manifest: dict, method: str, *, asked: bool) -> str:  # type: ignore[type-arg]
    """Why a cell is blank: the check was not asked, the method was left out, or what the column says."""
    if not asked:
        return UNASKED.get(column.check, "not asked by this spec")
    changes = column.setting in ("stages", "permuted-labels", "true-labels") or column.metric == "entropy-rise"
    return (changes and next(m.excluded for m in RunInfo(manifest).methods if m.label == method)) or column.blank


def _chosen(rows: pd.DataFrame, column: Column, stages: set[str]) -> pd.DataFrame:
    rows = rows[rows["metric"] == column.metric]
    if column.setting == "stages":
        rows = rows[rows["setting"].isin(stages)]
    elif column.setting is not None:
        rows = rows[rows["setting"] == column.setting]
    if column.position == "last":
        rows = rows[rows["position"] == rows["position"].max()]
    if column.check == "method-agreement":  # a pair has its rows once: both of its methods count
        rows = pd.concat([rows, rows.assign(method=rows["setting"])])
    return rows


if __name__ == "__main__":
    typer.run(main)
