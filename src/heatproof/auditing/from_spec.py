"""From a spec to a run: load what it names, then audit it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from heatproof.auditing.manifest import About
from heatproof.auditing.model_spec import ModelSpec, hf_folder
from heatproof.auditing.run import Run, audited
from heatproof.auditing.samples import FromBlocks
from heatproof.auditing.spec import AuditSpec, parse, read_table
from heatproof.auditing.subject import Subject, subject_of_blocks, subject_of_tensor
from heatproof.auditing.ways import Way
from heatproof.data import Blocks, Dataset, Source
from heatproof.data.binding import met
from heatproof.data.wanted import wanted, with_names
from heatproof.door import plain_outputs
from heatproof.errors import InputError
from heatproof.named_code import code_beside
from heatproof.outputs import Outputs, kind_of
from heatproof.pretrained import kind_of_outputs
from heatproof.progress import Listener
from heatproof.runs import failures
from heatproof.targets import Label


def run(
    spec: AuditSpec,
    out: Path,
    *,
    threads: int | None = None,
    way: Way | None = None,
    mixed: bool = False,
    shrink_on_oom: bool = False,
    progress: bool | Listener = True,
) -> Run:
    """Load the spec's network, and audit it on the spec's data, block by block, into the folder `out`.

    A target that lists something for each sample, or explains a sample several times, is found on all of them, which
    are held in memory for that.
    """
    way = way or Way()
    if way.actors is not None:
        way = replace(way, actors=replace(way.actors, build=Building.of(spec, way.actors.gpus)))
    subject = load(spec)
    found = audited(
        subject_of(spec, subject), **settings(spec), training=subject.training, mixed=mixed,
        shrink_on_oom=shrink_on_oom, way=way, out=out, progress=progress, threads=threads or spec.threads,
    )  # fmt: skip
    failures.warn(found.manifest)
    return found


@dataclass(frozen=True)
class Building:
    """How a worker builds the network of a spec, from what lies beside it and its weights on the worker's own disk."""

    model: ModelSpec
    folder: Path
    trusted: tuple[str, ...] | None

    @classmethod
    def of(cls, spec: AuditSpec, gpus: float = 0) -> "Building":
        """What of the spec is about the network, which a worker with a GPU has on it, whatever its number was."""
        return cls(replace(spec.model, device="cuda") if gpus else spec.model, spec.folder, spec.trusted)

    def code(self) -> AbstractContextManager[None]:
        """In here its code may be loaded."""
        return nullcontext() if self.trusted is None else code_beside(self.folder, self.trusted)

    def network(self) -> nn.Module:
        """The network, without what binds it to an input."""
        return self.model.network(self.folder)


def settings(spec: AuditSpec) -> dict[str, Any]:
    """What a spec asks beside model, data and threads."""
    return {
        "methods": spec.methods,
        "checks": {label: (label, check) for label, (_, check) in spec.checks.items()},
        "features": spec.features,
        "batch": spec.batch,
        "believable": spec.believable,
        "gallery": spec.gallery,
        "max_errors": spec.max_errors,
        "fast": spec.fast,
    }


class Loaded(NamedTuple):
    """A spec's network, bound, with what it tells; its data as the network wants them, and the first sample."""

    model: nn.Module
    data: Source
    training: Source | None
    first: Dataset
    names: tuple[str, ...] | None
    outputs: Outputs | None
    read: str


def load(spec: AuditSpec) -> Loaded:
    """Network and data of a spec. Raises: InputError for what cannot be read, or does not fit together."""
    with spec.code():
        net = spec.model.network(spec.folder)
        told, names = spec.model.told(net, spec.folder), spec.model.names(net)
        place = hf_folder(spec.model.name, spec.folder) if spec.model.name.startswith("hf:") else None
        data, read = wanted(spec.data, told=told, folder=place)
        training = spec.training_data
        if training is not None:
            training = with_names(wanted(training, told=told, folder=place).source, names)
        first = _first(data.blocks())
        model = spec.model.bound(net, first)
    data = with_names(data, names)
    kind = spec.outputs or (kind_of_outputs(net) if place is not None else None)
    outputs = None if kind is None else Outputs(kind_of(kind), spec.unit)
    return Loaded(model, data, training, first, names, outputs, read)


def subject_of(spec: AuditSpec, found: Loaded) -> Subject:
    """What is explained of a spec's network and data."""
    blocks, name = found.data.blocks(), spec.model.name
    about = About(
        model=f"hf:{Path(name.partition(':')[2]).name}" if name.startswith("hf:") else name,
        data=blocks.name,
        title=spec.title,
        classes=blocks.classes or found.names,
        read=" ".join(filter(None, [found.read, getattr(blocks, "note", "")])),
        spec=_without_folders(spec.source),
    )
    if spec.targets in (Label("predicted"), Label("given")):
        source = FromBlocks(blocks=blocks, explain=_explain(spec, found))
        return Subject(model=found.model, source=source, about=about, outputs=found.outputs)
    return subject_of_blocks(found.model, blocks, spec.targets, found.outputs, about) or _held(spec, found, about)


def _held(spec: AuditSpec, found: Loaded, about: About) -> Subject:
    """All samples in memory, for a target that lists something for each, or explains a sample several times."""
    data = found.data.load()
    model, inputs = met(found.model, data)
    about = replace(about, display=data.display, tokens=data.tokens, skipped=data.skipped)
    labels = data.targets if data.labelled and data.box_labels is None else None
    return subject_of_tensor(
        model, inputs, spec.targets, found.outputs, about,
        labels=labels, ids=data.ids, boxes=data.boxes, masks=data.masks,
    )  # fmt: skip


def _first(data: Blocks) -> Dataset:
    """The first sample that can be used, to see what the data are."""
    skipped: list[tuple[str, str]] = []
    for start in range(min(256, len(data))):
        found = data.read(start, start + 1)
        if len(found):
            return found
        skipped += found.skipped
    told = f": {skipped[0][0]}, {skipped[0][1]}" if skipped else ""
    raise InputError(
        f"Expected samples of {data.name} that can be used, but none of the first {len(skipped)} can{told}."
    )


def _explain(spec: AuditSpec, found: Loaded) -> str:
    """Which label of each sample is explained.

    One output unit is what is explained, whatever the labels, unless it is said to be the logit of two.
    """
    if found.outputs is None or found.outputs.kind != "logit":
        with torch.no_grad():
            if plain_outputs(*met(found.model, found.first)).shape[1] == 1:
                return "output"
    return "label" if spec.targets == Label("given") else "predicted"


def demo_spec() -> AuditSpec:
    """The audit of the demo, as the package ships it."""
    return parse(read_table(Path(str(files("heatproof.auditing") / "demo.toml"))))


def _without_folders(source: Mapping[str, Any]) -> dict[str, Any]:
    """The spec as it was written, for the manifest: a report that is passed on should not show whose disk it was."""
    return {key: value for key, value in source.items() if key != "out"}
