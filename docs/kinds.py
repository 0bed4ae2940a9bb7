"""Writes docs/kinds.md: kinds of model × methods and × checks; each cell is an audit, which works or is refused.

Rows that are done are kept in a file, so that a run which was stopped goes on: `python docs/kinds.py [FILE]`.
"""

import json
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs")]

import kinds_models  # noqa: E402

import heatproof as hp  # noqa: E402
from heatproof.errors import HeatproofError, InputError, OperationError  # noqa: E402

METHODS: dict[str, Any] = {
    "gradient": "gradient",
    "gradient-x-input": "gradient-x-input",
    "integrated-gradients": hp.methods.IntegratedGradients(steps=4),
    "smoothgrad": hp.methods.SmoothGrad(samples=2),
    "cgi": "cgi",
    "guided-backprop": "guided-backprop",
    "lrp-epsilon": "lrp-epsilon",
    "lrp-epsilon-plus": "lrp-epsilon-plus",
    "deeplift": "deeplift",
    "grad-cam": "grad-cam",
    "occlusion": "occlusion",
    "meaningful-perturbation": hp.methods.MeaningfulPerturbation(steps=2),
    "edge-detector": "edge-detector",
    "random": "random",
}
CHECKS: dict[str, Any] = {
    "parameter-randomization": hp.checks.ParameterRandomization(
        randomization=hp.randomization.Cascading(initializer="he"), similarities=("spearman",)
    ),
    "steadiness": "steadiness",
    "sensitivity-n": hp.checks.SensitivityN(sets=4, sizes=2),
    "degradation": hp.checks.Degradation(steps=2),
    "blurred-patch": "blurred-patch",
    "bounding-box": "bounding-box",
    "completeness": "completeness",
    "calibration": "calibration",
    "input-controls": "input-controls",
    "method-agreement": "method-agreement",
}
HEAD = """# Kinds of model

Written by `python docs/kinds.py`: a small network of each kind, as its library builds it (`docs/kinds_models.py` has
the few lines of each), random weights, two samples. Each cell is an audit. ✓: it ran, without a failure, and gave
rows. A number: it was refused by the sentence below. How each is audited, in ten lines:
[your kind of model](howto/kinds.md).

"""


def detaching(method: Any) -> Any:
    """The method, told that the model cuts paths on purpose, where it has rules that want to know."""
    recipe = hp.methods.get(method) if isinstance(method, str) else method
    return replace(recipe, allow_detached=True) if hasattr(recipe, "allow_detached") else recipe


def tried(kind: kinds_models.Kind, methods: dict[str, Any], checks: dict[str, Any], about: str) -> str:
    """✓, or the sentence by which it was refused.

    Raises: AssertionError for anything else: an error of another kind, or rows without a number.
    """
    settings = dict(kind.settings)
    if kind.detaches:
        methods = {label: detaching(method) for label, method in methods.items()}
    if about == "bounding-box" and kind.inputs.dim() == 4:
        settings["boxes"] = [[(2, 2, 8, 8)]] * len(kind.inputs)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run = hp.audit(
                kind.model, kind.inputs, kind.targets, methods=methods, checks=checks, out=Path(folder) / "run",
                progress=False, threads=1, max_errors=1000, **settings,
            )  # fmt: skip
        except HeatproofError as error:
            return str(error)
        failures = run.manifest["failures"]
        if failures:
            said = str(failures[0]["error"])
            name, _, sentence = said.partition(": ")
            known = [one.__name__ for one in (InputError, OperationError, *InputError.__subclasses__())]
            assert name in known, f"{about} of {kind}: {said}"
            return sentence
        rows = run.rows()
        assert rows["value"].notna().any(), f"{about} gave no number"
        return "✓"


def row(name: str) -> dict[str, str]:
    """Every cell of a kind of model."""
    found = {}
    for label, method in METHODS.items():
        found[label] = tried(kinds_models.made(name), {label: method}, {"completeness": "completeness"}, label)
    some = {"gradient-x-input": "gradient-x-input", "random": "random"}
    for label, check in CHECKS.items():
        found[label] = tried(kinds_models.made(name), some, {label: check}, label)
    return found


def page(cells: dict[str, dict[str, str]]) -> str:
    """The page of these rows."""
    reasons: dict[str, str] = {}  # by what was expected: what came differs from kind to kind

    def mark(said: str) -> str:
        if said == "✓":
            return said
        expected = said.partition(", but got")[0]
        reasons.setdefault(expected, said)
        number = list(reasons).index(expected) + 1
        return f'<a href="#r{number}">{number}</a>'

    tables = []
    for title, columns in (("Methods", METHODS), ("Checks", CHECKS)):
        lines = [f"## {title}", "", f"| kind of model | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
        for name, found in cells.items():
            lines.append(f"| {name} | {' | '.join(mark(found[column]) for column in columns)} |")
        tables.append("\n".join(lines))
    told = [f'<a id="r{number}"></a>{number}. {said}' for number, said in enumerate(reasons.values(), start=1)]
    body = "\n\n".join([*tables, "## What the sentences say\n\n" + "\n\n".join(told).replace("|", "\\|")])
    return f"{HEAD}{body}\n"


def main() -> None:
    """Every row that is not kept yet, then the page."""
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    cells = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.exists() else {}
    for name in kinds_models.KINDS:
        if name not in cells:
            cells[name] = row(name)
            print(name, sum(said == "✓" for said in cells[name].values()), "of", len(cells[name]), flush=True)
            if kept:
                kept.write_text(json.dumps(cells), encoding="utf-8")
    cells = {name: cells[name] for name in kinds_models.KINDS}
    (ROOT / "docs" / "kinds.md").write_text(page(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
