"""From a spec to a run: load what it names, then audit it."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from heatproof.auditing.manifest import About
from heatproof.auditing.run import Run, audit
from heatproof.auditing.spec import DTYPES, AuditSpec, parse, read_table


def run(spec: AuditSpec, out: Path, *, threads: int | None = None, progress: bool = True) -> Run:
    """Load the spec's network and data, and audit them into the folder `out`."""
    data = spec.data.load()
    model = spec.model.load(spec.folder)
    inputs = data.inputs.to(spec.model.device, DTYPES[spec.model.dtype])
    return audit(
        model,
        inputs,
        data.targets if spec.targets == "label" else None,
        methods=spec.methods,
        checks={label: check for label, (_, check) in spec.checks.items()},
        out=out,
        ids=data.ids,
        boxes=data.boxes,
        training_data=None if spec.training_data is None else spec.training_data.load(),
        features=spec.features,
        batch=spec.batch,
        threads=threads or spec.threads,
        gallery=spec.gallery,
        max_errors=spec.max_errors,
        progress=progress,
        about=About(
            model=spec.model.name,
            data=data.name,
            title=spec.title,
            classes=data.classes,
            display=data.display,
            skipped=data.skipped,
            spec=_without_folders(spec.source),
        ),
    )


def demo_spec() -> AuditSpec:
    """The audit of the demo, as the package ships it."""
    return parse(read_table(Path(str(files("heatproof.auditing") / "demo.toml"))))


def _without_folders(source: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as it was written, for the manifest: a report that is passed on should not show whose disk it was."""
    return {key: value for key, value in source.items() if key != "out"}
