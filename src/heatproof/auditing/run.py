"""An audit, as it is asked for in Python, and the run that it gives."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor, nn

from heatproof.auditing.aiming import on_own_labels
from heatproof.auditing.arguments import check_kinds
from heatproof.auditing.asked import Asked
from heatproof.auditing.course import conduct
from heatproof.auditing.listing import named
from heatproof.auditing.manifest import About
from heatproof.auditing.names import class_names, own_names, parts_or_names, told
from heatproof.auditing.subject import Subject, subject_of_data, subject_of_tensor
from heatproof.auditing.ways import Way
from heatproof.checks import CHECKS, Boxes, Check
from heatproof.data.base import Dataset
from heatproof.data.base import Source as DataSource
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.data.choosing import held
from heatproof.data.preprocessing import preprocessing
from heatproof.data.wanted import wanted, with_names
from heatproof.errors import InputError, shown
from heatproof.features import Features
from heatproof.layouts.seen import network
from heatproof.methods.base import METHODS, Attribution, Method, Targets
from heatproof.models import Bound, as_model, check_model
from heatproof.outputs import Outputs
from heatproof.paths import given_path
from heatproof.pretrained import folder_of, kind_of_outputs
from heatproof.progress import Listener, to
from heatproof.reading.believable import needed
from heatproof.runs import failures, read, read_manifest, read_rows
from heatproof.targets import Label, Target

if TYPE_CHECKING:
    from heatproof.reading import Verdicts
    from heatproof.report.plots import Plots


class _Passing:
    """A folder that lives as long as this does, and goes without a word: whoever wants to keep it names one."""

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="heatproof-")
        weakref.finalize(self, shutil.rmtree, self.name, ignore_errors=True)


@dataclass(frozen=True)
class Run:
    """The folder of an audit."""

    path: Path
    _folder: _Passing | None = field(default=None, repr=False, compare=False)

    def rows(self) -> pd.DataFrame:
        """Every row: check, method, setting, role, stage, position, sample, metric, value, seed. NaN is degenerate."""
        return read_rows(self.path).drop(columns="question")

    @property
    def manifest(self) -> dict[str, Any]:
        """What was audited, with what, and how it ended."""
        return read_manifest(self.path)

    def verdicts(self) -> pd.DataFrame:
        """One verdict a method and question, "believable" the last of each method.

        Columns: method, question, answer ("yes", "no", "unknown", or "" where a number is shown and not judged), word,
        mean with its 95 % interval low and high, over n samples (missing have no value), margin, why.
        """
        return self._read.table

    def findings(self) -> pd.DataFrame:
        """What each check says of each method: the verdicts' columns, with check, setting and metric."""
        return self._read.frame

    def headline(self) -> str:
        """One sentence: which heatmaps pass every test that was run."""
        return self._read.headline

    @property
    def _read(self) -> "Verdicts":
        from heatproof.reading import Verdicts

        return read(self.path, Verdicts.of)

    def report(self) -> Path:
        """Write `report.html` into the folder and return its path."""
        from heatproof.report import write

        return write(self.path)

    @property
    def plot(self) -> "Plots":
        """Its figures by matplotlib (the extra `plot`): `run.plot("depends")`; `run.plot.names` lists them."""
        from heatproof.report.plots import Plots

        return Plots(self.path)

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentence, and the matrix of marks."""
        from heatproof.report.notebook import html

        return html(self.path)


def opened(folder: str | Path) -> Run:
    """The run in a folder, of this version or the one before, with all that `audit` would give: `heatproof.open`.

    Raises: StoreError if there is none.
    """
    found = Run(given_path(folder))
    assert found.manifest
    return found


def audit(
    model: nn.Module | Callable[..., Any],
    data: Any,
    targets: Targets | Callable[[Any], Tensor] | None = None,
    *,
    methods: Sequence[str | Attribution] | Mapping[str, str | Attribution],
    checks: Sequence[str | Check] | Mapping[str, str | Check],
    out: str | Path | None = None,
    ids: Sequence[str] | None = None,
    boxes: Sequence[Boxes] | None = None,
    masks: Tensor | None = None,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    outputs: str | Outputs | None = None,
    training_data: Dataset | Blocks | DataSource | None = None,
    features: Features | str | None = None,
    batch: int | Literal["measured"] | None = None,
    threads: int | None = None,
    believable: Sequence[str] = (),
    gallery: int = 6,
    max_errors: int = 10,
    workers: int | None = None,
    devices: Sequence[str] = (),
    shard: str | None = None,
    take: bool = False,
    engine: str | None = None,
    address: str | None = None,
    gpus: float | None = None,
    cpus: float | None = None,
    mixed: bool = False,
    shrink_on_oom: bool = False,
    fast: Sequence[str] = (),
    title: str = "",
    classes: Any = None,
    columns: Mapping[str, str | int] | Sequence[str] | None = None,
    tokens: Sequence[Sequence[str]] | None = None,
    display: Tensor | np.ndarray | None = None,
    about: About | None = None,
    progress: bool | Listener = True,
) -> Run:
    """Put attributions of `targets` for `data` to the test; what is finished in `out` already is not done again.

    Args:
        model: a network in eval mode, a `Bound` one, or a function.
        data: inputs (N, …), float, as the network takes them; or anything that `hp.data.as_blocks` takes, such as an
            array that is mapped from a file, a source of `hp.data`, a data set or a loader of torch: its samples are
            read block by block, when their turn comes.
        targets: what is explained: labels (N,) in any integers, or one for all; a target of `heatproof.targets`, or a
            function of what the model returns; the labels that the model predicts by default. Of data that are read
            block by block a target is settled block by block, and `Label("given")` are those that the data bring; one
            that lists something for each sample, or explains a sample several times, needs a tensor.
        methods: registered names, methods, or callables `(model, inputs, targets) -> attributions`; a mapping names
            their labels.
        checks: registered names or checks; a mapping names their labels.
        out: the run folder; a temporary one by default, which lives as long as the returned `Run`.
        ids: a unique name a sample; its position by default.
        boxes: for each sample the boxes (xmin, ymin, xmax, ymax) of its object, in pixels of `data`, pixel x inside
            where xmin <= x < xmax.
        masks: (N, H, W) bool, the pixels of each sample's object, in place of `boxes`; False everywhere for none.
        labels: the true labels (N,), int64, to say how often the network is right, or float numbers that its output
            should be; the `targets` by default. A network that is not surely better than guessing gets no good word.
        outputs: what the model's outputs are: `labels` (one is right, softmax), `logit` (one output, label 1 against
            label 0: both can be explained, and targets are 0 or 1), `multi-label` (a sigmoid each), `scalars` (numbers;
            `hp.outputs.Outputs("scalars", unit="°C")` names their unit). Several are labels by default, of one nothing
            is claimed: no probability, no label's name.
        training_data: labelled samples like those that the model was trained on, for what has to learn from data: what
            `hp.data.as_blocks` takes. Of more than 2 GiB they are read batch by batch, each time anew.
        features: what counts as one feature, a recipe or its name; by default pixels for images, tokens for sequences,
            columns for tables.
        batch: samples a pass; chosen by the samples' size by default, and kept when a run is resumed. With "measured"
            it is the one that goes through the network fastest here, by a measurement of about a second, which another
            start may decide otherwise: two runs have the same bits where they have the same batch.
        threads: CPU threads; torch's own number by default, or each worker's share of it, and kept when a run is
            resumed.
        believable: the questions that a believable map must pass, besides every other test that was run: `steady`,
            `depends` and `faithful` by default.
        gallery: how many samples' maps are kept for the report.
        max_errors: different failures after which the audit stops; what is finished stays.
        workers, devices: so many processes on this machine, or one on each of these devices, instead of this one.
        shard: "3/16" computes the third of 16 shares of the blocks; other processes, wherever they run on the same
            folder, the others. "auto" reads it from the variables of Slurm, of torch's launchers or of an indexed job.
        take: compute blocks that nobody else is at, until none is left; other processes may do so at the same time.
        engine: "local", "processes" (both follow from workers and devices) or "ray": `workers` actors of Ray (the extra
            `ray`) on a cluster whose machines all see `out`.
        address: of the Ray cluster, such as "auto"; by default the one that RAY_ADDRESS names, or else one on this
            machine, which is started for the audit and ends with it.
        gpus, cpus: what each of Ray's workers asks the cluster for: no GPU and a CPU for each of `threads` by default.
        mixed: go on with a run that began on another kind of device or with other versions; bits may differ.
        shrink_on_oom: try what ran out of memory again with half the rows a pass, down to one, and mark its rows by the
            metric `shrunk`: their bits may differ. Without it these rows fail.
        fast: cheaper passes that round otherwise, by name (`heatproof.fast`): `channels-last`, `bf16-masked` for
            outputs of masked inputs, `tf32` on a GPU. The manifest says how far they are from float64.
        title: stands above the report.
        classes: the names of the labels: a list, a mapping from labels such as `id2label`, or torchvision's weights; by
            default those that the network (of Hugging Face or timm) brings, or the data.
        columns: of a data set of items (Hugging Face's, torch's, anybody's) which part is what, by the keys or places
            of `image`, `label`, `id`, `boxes`: {"image": "scan", "label": "finding"}; by default usual names are found.
            Of a table (N, D), a tensor, the names of its columns, as a list: the report shows them with their values.
        tokens: for each sample the words behind its tokens, to be shown.
        display: uint8 (N, H, W) or (N, H, W, 3), the pictures before they were scaled and normalized, to be shown.
        progress: a bar on standard error; or a function that is told each `heatproof.progress.Step` instead, such as
            `print`. What it raises stops the audit, and what is finished stays.

    Returns: a `Run`; `run.rows()` is the DataFrame of all rows, `run.report()` writes the page. A `FailureWarning`
        names what failed meanwhile, if anything did: its rows are missing or NaN.

    Raises: InputError for input that cannot be audited, before anything expensive; StoreError if `out` belongs to
        another audit, or somebody else writes to it; MissingExtraError for the engine ray where it is not installed;
        AuditError after more than `max_errors` failures.
    """
    model = as_model(model)
    check_model(model)
    check_kinds(outputs=outputs, believable=believable, about=about)
    way = Way.of(
        workers=workers, devices=devices, shard=shard, take=take, out=out,
        engine=engine, address=address, gpus=gpus, cpus=cpus,
    )  # fmt: skip
    parts, names = parts_or_names(columns)
    data, training_data, about = _as_wanted(model, data, training_data, about, classes)
    in_memory = isinstance(data, Tensor) and parts is None
    made = subject_of_tensor if in_memory else partial(subject_of_data, parts=parts)
    about = told(
        about, model,
        title=title, classes=classes, columns=names, tokens=tokens, display=display,
    )  # fmt: skip
    outputs = _kind_told(model, targets) if outputs is None else outputs
    subject = made(model, data, targets, outputs, about, labels=labels, ids=ids, boxes=boxes, masks=masks)
    found = audited(
        subject,
        methods={label: method for label, (_, method) in named(methods, METHODS, Method).items()},
        checks=named(checks, CHECKS, Check),
        training=training_data,
        features=features,
        batch=batch,
        threads=threads,
        believable=believable,
        gallery=gallery,
        max_errors=max_errors,
        mixed=mixed,
        shrink_on_oom=shrink_on_oom,
        fast=fast,
        way=way,
        out=out,
        progress=progress,
    )
    failures.warn(found.manifest)
    return found


def _as_wanted(model: nn.Module, data: Any, training: Any, about: About | None, classes: Any) -> tuple[Any, Any, About]:
    """Sources as the network wants their samples, and what was read of it."""
    about = about or About(model=type(network(model)).__name__)
    if not isinstance(data, DataSource):
        return data, training, about
    names = own_names(model) if classes is None else class_names(classes)
    pictures = preprocessing(classes if hasattr(classes, "transforms") else model)
    place = folder_of(network(model))
    data, read = wanted(data, told=pictures, folder=place)
    if isinstance(training, DataSource):
        training = with_names(wanted(training, told=pictures, folder=place).source, names)
    return with_names(data, names), training, replace(about, read=about.read or read)


def _kind_told(model: nn.Module, targets: Any) -> str | None:
    """What the outputs are, where the network's configuration says so, and its outputs are what is explained."""
    other = callable(targets) or (isinstance(targets, Target) and not isinstance(targets, Label))
    inside = isinstance(model, Bound) and model.layer is not None
    return None if other or inside else kind_of_outputs(network(model))


def audited(
    subject: Subject,
    *,
    methods: Mapping[str, Attribution],
    checks: Mapping[str, tuple[str, Check]],
    training: Dataset | Blocks | DataSource | None,
    believable: Sequence[str],
    way: Way,
    out: str | Path | None,
    progress: bool | Listener,
    **settings: Any,
) -> Run:
    """What `audit` does once it is settled what is explained of which model; `settings` are the others of `Asked`."""
    if progress not in (True, False) and not callable(progress):
        raise InputError(f"Expected progress to be True, False or a function, but got {shown(progress)}.")
    asked = asked_of(subject, methods=methods, checks=checks, training=training, believable=believable, **settings)
    folder = _Passing() if out is None else None
    found = Run(given_path(folder.name if folder else out or ""), folder)
    with nullcontext() if isinstance(progress, bool) else to(progress):
        conduct(subject.model, subject.source, asked, way, found.path, subject.about, progress=progress is True)
    return found


def asked_of(
    subject: Subject,
    *,
    methods: Mapping[str, Attribution],
    checks: Mapping[str, tuple[str, Check]],
    training: Dataset | Blocks | DataSource | None,
    believable: Sequence[str],
    **settings: Any,
) -> Asked:
    """What is asked of a subject."""
    if subject.own:
        checks = {label: (name, on_own_labels(check)) for label, (name, check) in checks.items()}
    return Asked(
        methods=methods,
        checks=checks,
        outputs=subject.outputs,
        training=None if training is None else held(as_blocks(training)),
        believable=tuple(needed(believable)),
        **settings,
    )
