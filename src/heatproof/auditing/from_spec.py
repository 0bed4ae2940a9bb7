"""From a spec to a run: load what it names, then audit it."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.auditing.manifest import About
from heatproof.auditing.model_spec import DTYPES
from heatproof.auditing.passes import predict
from heatproof.auditing.run import Run, audit
from heatproof.auditing.spec import AuditSpec, parse, read_table
from heatproof.data import Dataset
from heatproof.door import plain_outputs
from heatproof.errors import InputError
from heatproof.models import Bound, rows_per_pass
from heatproof.outputs import Outputs, TwoSided
from heatproof.targets import Label, Target


def run(spec: AuditSpec, out: Path, *, threads: int | None = None, progress: bool = True) -> Run:
    """Load the spec's network and data, and audit them into the folder `out`."""
    data = spec.data.load()
    with spec.code():
        model = spec.model.load(spec.folder, data if data.tokens is not None else None)
    explained = model.inputs() if isinstance(model, Bound) and model.at is not None else data.inputs
    inputs = explained.to(spec.model.device, DTYPES[spec.model.dtype])
    targets = _targets(spec, data, model, inputs)
    return audit(
        model,
        inputs,
        targets,
        labels=data.targets if data.labelled and data.box_labels is None else None,
        outputs=None if spec.outputs is None else Outputs(spec.outputs, spec.unit),  # type: ignore[arg-type]  # read as one
        methods=spec.methods,
        checks={label: check for label, (_, check) in spec.checks.items()},
        out=out,
        ids=data.ids,
        boxes=data.boxes_of(targets.cpu()) if isinstance(targets, Tensor) else data.boxes,
        training_data=spec.training_data,
        features=spec.features,
        batch=spec.batch,
        threads=threads or spec.threads,
        believable=spec.believable,
        gallery=spec.gallery,
        max_errors=spec.max_errors,
        progress=progress,
        about=About(
            model=spec.model.name,
            data=data.name,
            title=spec.title,
            classes=data.classes,
            display=data.display,
            tokens=data.tokens,
            skipped=data.skipped,
            spec=_without_folders(spec.source),
        ),
    )


def _targets(spec: AuditSpec, data: Dataset, model: nn.Module, inputs: Tensor) -> Tensor | Target | None:
    """The explained labels (N,), None for those that the audit will see predicted, or another target as it is.

    One output unit is what is explained, whatever the labels, unless it is said to be the logit of two. Samples with
    boxes of several labels need the predicted ones now: only the boxes of the explained label are its evidence.
    """
    if spec.targets not in (Label("predicted"), Label("given")):
        return spec.targets
    if spec.outputs == "logit":
        model = TwoSided(model)
    if _outputs(model, inputs) == 1:
        return torch.zeros_like(data.targets)
    if spec.targets == Label("given"):
        if not data.labelled:
            raise InputError(
                f'Expected the labels of {data.name} for targets = "label", but it has none; explain the predicted '
                "ones, or give labels: a subfolder a class, or a CSV file as `index`."
            )
        return data.targets
    return None if data.box_labels is None else predict(model, inputs, rows_per_pass(inputs))[0]


def _outputs(model: nn.Module, inputs: Tensor) -> int:
    with torch.no_grad():
        return plain_outputs(model, inputs[:1]).shape[1]


def demo_spec() -> AuditSpec:
    """The audit of the demo, as the package ships it."""
    return parse(read_table(Path(str(files("heatproof.auditing") / "demo.toml"))))


def _without_folders(source: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as it was written, for the manifest: a report that is passed on should not show whose disk it was."""
    return {key: value for key, value in source.items() if key != "out"}
