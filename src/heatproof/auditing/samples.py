"""The samples that an audit explains, block by block: as they are read, and as their targets are known."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from heatproof.checks.base import Boxes
from heatproof.data.ahead import ahead
from heatproof.data.base import Dataset
from heatproof.data.blocks import Blocks
from heatproof.data.seen_as import Names
from heatproof.draws import digests
from heatproof.errors import InputError
from heatproof.features import Features
from heatproof.fingerprint import tensor_digest
from heatproof.models import SIDE, Bound, forward, returned, select, with_given
from heatproof.outputs import Outputs
from heatproof.recipes import describe, digest
from heatproof.refusals import check_targets, parameters_like
from heatproof.targets.base import LABEL, Aimed, Target

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Some samples as they were read: inputs (n, …), a unique id each, and what the data say of them.

    `targets` (n,) are the labels to be explained, the predicted ones where there are none; `labels` (n,) the true ones,
    or numbers that the output should be. `box_labels` say whose the boxes are: only those of the explained label count.
    `masks` (n, H, W) bool are the objects' pixels, in place of boxes.
    `names`, `cells` and `features` are as in a `Dataset`.
    `sides` are the side inputs that came with the samples; None where the model has those of all samples already.
    `target` says what is explained where no `targets` do: what the trained network answers settles it (`taken`).
    """

    inputs: Tensor
    ids: tuple[str, ...]
    targets: Tensor | None = None
    labels: Tensor | None = None
    boxes: Sequence[Boxes] | None = None
    box_labels: Sequence[Sequence[int]] | None = None
    masks: Tensor | None = None
    display: Tensor | None = None
    tokens: Sequence[Sequence[str]] | None = None
    sides: Mapping[str, Tensor] | None = None
    names: Names | None = None
    cells: Sequence[Sequence[str]] | None = None
    features: Features | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    target: Target | None = None


Range = tuple[int, int]


class Source(Protocol):
    """Where an audit's samples come from. Pickles, and is cheap to make: no sample is read before `read`."""

    @property
    def identity(self) -> str:
        """What the samples are, as far as that is known without reading all of them."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Portion:
        """The samples at these positions."""

    def ahead(self, ranges: Sequence[Range]) -> Iterator[Portion]:
        """The samples of each range, the next ones read while the caller computes. Raises in the turn of a range."""


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """Samples that lie in memory: inputs (N, …), with one target, label, id, list of boxes a sample where known."""

    inputs: Tensor
    targets: Tensor | None = None
    labels: Tensor | None = None
    ids: Sequence[str] | None = None
    boxes: Sequence[Boxes] | None = None
    box_labels: Sequence[Sequence[int]] | None = None
    masks: Tensor | None = None
    display: Tensor | None = None
    tokens: Sequence[Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything, at the speed of memory."""
        boxes = None if self.boxes is None else [[list(box) for box in one] for one in self.boxes]
        parts = [tensor_digest(one) for one in (self.inputs, self.targets, self.labels, self.masks) if one is not None]
        return digest([parts, None if self.ids is None else list(self.ids), boxes])

    @property
    def names(self) -> tuple[str, ...]:
        """The id of each sample; its position by default."""
        return tuple(map(str, range(len(self)) if self.ids is None else self.ids))

    def read(self, start: int, stop: int) -> Portion:
        """A copy of these rows, in one piece."""
        stop = min(stop, len(self))

        def some(values: Any) -> Any:
            return None if values is None else values[start:stop]

        return Portion(
            inputs=self.inputs[start:stop].contiguous(),  # the bits of a result depend on the memory layout
            ids=tuple(map(str, range(start, stop))) if self.ids is None else tuple(self.ids[start:stop]),
            targets=some(self.targets),
            labels=some(self.labels),
            boxes=some(self.boxes),
            box_labels=some(self.box_labels),
            masks=some(self.masks),
            display=some(self.display),
            tokens=some(self.tokens),
        )

    def ahead(self, ranges: Iterable[Range]) -> Iterator[Portion]:
        """The samples of each range."""
        return (self.read(*one) for one in ranges)


@dataclass(frozen=True, kw_only=True)
class FromBlocks:
    """Samples that are read when they are needed, from a source of any kind.

    `explain` says which label of each: "predicted", its own ("label"), or the one output that there is ("output"); or
    `target` says what, settled block by block.
    """

    blocks: Blocks
    explain: str = "predicted"
    target: Target | None = None

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def identity(self) -> str:
        """What the data are, and what is explained of them."""
        return digest([self.blocks.identity, self.explain if self.target is None else describe(self.target)])

    def read(self, start: int, stop: int) -> Portion:
        """The samples at these positions, without those that cannot be used."""
        return self._portion(self.blocks.read(start, min(stop, len(self))))

    def ahead(self, ranges: Sequence[Range]) -> Iterator[Portion]:
        """The samples of each range, read ahead as the blocks can be."""
        return map(self._portion, ahead(self.blocks, ranges))

    def _portion(self, data: Dataset) -> Portion:
        known = data.labelled and data.box_labels is None
        if self.explain == "label" and len(data) and not data.labelled:
            raise InputError(
                f'Expected the labels of {data.name} for targets = "label", but it has none; explain the predicted '
                "ones, or give labels: a subfolder a class, or a CSV file as `index`."
            )
        targets = {"label": data.targets, "output": torch.zeros_like(data.targets)}.get(self.explain)
        return Portion(
            inputs=data.inputs.contiguous(),
            ids=data.ids,
            targets=targets,
            labels=data.targets if known else data.numbers,
            boxes=data.boxes,
            box_labels=data.box_labels,
            masks=data.masks,
            display=data.display,
            tokens=data.tokens,
            sides=data.sides,
            names=data.names,
            cells=data.cells,
            features=data.features,
            skipped=data.skipped,
            target=self.target,
        )


def taken(model: nn.Module, portion: Portion, start: int) -> tuple[nn.Module, Portion]:
    """The model of the samples at positions `start` and on, and the portion with what is explained of them.

    Side inputs that came with the samples fill in the model's; one with `at` is explained from what that submodule
    makes of them. Cost: a forward pass of the samples where a target is to be settled, by the network as it is now.
    """
    bound, found = _bound(model, portion, start)
    if found.target is None or found.targets is not None or not found.ids:
        return bound, found
    sides = settled(found.target, bound, found, start)
    found = replace(found, targets=sides.pop(LABEL))
    if not isinstance(bound, Aimed):
        return bound, found
    fixed = {**(found.sides or {}), **{SIDE + name: value for name, value in sides.items()}}
    return with_given(bound, fixed), replace(found, sides=fixed, box_labels=None)


def settled(target: Target, bound: nn.Module, portion: Portion, start: int) -> dict[str, Tensor]:
    """What stays fixed of samples at positions `start` and on, the label among it."""
    rows = torch.arange(len(portion.ids), device=portion.inputs.device)
    with torch.no_grad():
        answer = returned(bound.unread() if isinstance(bound, Aimed) else bound, portion.inputs, rows)
    labels = portion.labels
    if labels is not None:
        labels = labels.to(rows.device) if labels.dtype == torch.int64 else None
    return {name: value.to(rows.device) for name, value in target.settle(answer, start + rows, labels).items()}


def _bound(model: nn.Module, portion: Portion, start: int) -> tuple[nn.Module, Portion]:
    like = parameters_like(model)
    if portion.sides is None:
        inputs = portion.inputs if like is None else portion.inputs.to(like[1])
        return select(model, start + torch.arange(len(portion.ids))), replace(portion, inputs=inputs)
    bound = with_given(model, portion.sides)
    if isinstance(bound, Bound) and bound.at is not None and len(portion.ids):
        inputs = bound.inputs()
    else:
        inputs = portion.inputs
    return bound, replace(portion, inputs=inputs if like is None else inputs.to(like[1], like[0]))


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a block, ready to be explained: what is explained of each, and what the model says of it.

    `rows` are what the run keeps of each; `values` (n, C) the model's outputs in float64, on the CPU.
    """

    inputs: Tensor
    targets: Tensor
    ids: tuple[str, ...]
    boxes: Sequence[Boxes] | None
    masks: Tensor | None
    keys: tuple[str, ...]
    values: Tensor
    sides: Mapping[str, Tensor] | None = field(default=None, repr=False)
    skipped: tuple[tuple[str, str], ...] = ()
    rows: Sequence[Row] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str:
        """What the block's samples are: ids, values, targets, boxes or masks, side inputs."""
        return digest([list(self.keys), tensor_digest(self.inputs)])


class Looked(NamedTuple):
    """What is kept of a block that was looked at beforehand: its digest, and what the run says of each sample."""

    digest: str
    rows: Sequence[Row]


def filled(count: int, batch: int) -> Tensor:
    """The rows of a block that is full: the bits of a result depend on how many rows a pass has."""
    return torch.tensor([i % count for i in range(batch)])


def explained(portion: Portion, model: nn.Module, start: int, batch: int, meaning: Outputs) -> Samples:
    """What is explained of the samples at positions `start` and on. Cost: one forward pass of a block.

    Raises: InputError where the model gives NaN or infinity, or minus infinity for what is to be explained.
    """
    bound, portion = taken(model, portion, start)
    n = len(portion.ids)
    rows = filled(n, batch)
    with torch.no_grad():
        values = forward(select(bound, rows), portion.inputs[rows], torch.arange(batch))[:n].double().cpu()
    check_finite(values)
    if portion.targets is not None:
        check_targets(portion.inputs, portion.targets, values.shape[1])
    predicted = values.argmax(1)
    targets = (predicted if portion.targets is None else portion.targets).to(portion.inputs.device)
    check_explained(values, targets, portion.ids)
    boxes = portion.boxes
    if boxes is not None and portion.box_labels is not None:
        boxes = [
            [box for box, label in zip(ours, labels, strict=True) if label == target]
            for ours, labels, target in zip(boxes, portion.box_labels, targets.tolist(), strict=True)
        ]
    names = digests(portion.inputs)
    keys = [f"{one}:{said}:{target}" for one, said, target in zip(portion.ids, names, targets.tolist(), strict=True)]
    if boxes is not None:
        keys = [f"{key}:{[list(box) for box in ours]}" for key, ours in zip(keys, boxes, strict=True)]
    if portion.masks is not None:
        keys = [f"{key}:{name}" for key, name in zip(keys, digests(portion.masks), strict=True)]
    if isinstance(bound, Bound) and bound.given:
        given = digest([tensor_digest(value) for _, value in sorted(bound.given.items())])
        keys = [f"{key}:{given}" for key in keys]
    return Samples(
        inputs=portion.inputs,
        targets=targets,
        ids=portion.ids,
        boxes=boxes,
        masks=portion.masks,
        keys=tuple(keys),
        values=values,
        sides=portion.sides,
        skipped=portion.skipped,
        rows=_rows(portion, names, values, predicted, targets, meaning),
    )


def _rows(
    portion: Portion, names: Sequence[str], values: Tensor, predicted: Tensor, targets: Tensor, meaning: Outputs
) -> list[Row]:
    likely = None if meaning.probability is None else meaning.probability(values)
    labels = portion.labels
    numbers = labels is not None and labels.is_floating_point()
    found: list[Row] = []
    for i, (name, target, best) in enumerate(zip(portion.ids, targets.tolist(), predicted.tolist(), strict=True)):
        found.append(
            {
                "id": name,
                "digest": names[i],
                "target": target,
                "predicted": best,
                "probability": None if likely is None else float(likely[i, best]),
                "target_probability": None if likely is None else float(likely[i, target]),
                "label": None if labels is None or numbers else int(labels[i]),
                "number": float(labels[i]) if labels is not None and numbers else None,
                "output": float(values[i, target]),
            }
        )
    return found


def check_finite(outputs: Tensor) -> None:
    """Refuse outputs (n, C) of which nothing can be said."""
    # Minus infinity is a label that the network itself leaves out, as masked actions are.
    if bool((outputs.isnan() | (outputs == torch.inf)).any()):
        raise InputError("Expected finite outputs, but the model gives NaN or infinity on some samples.")


def check_explained(outputs: Tensor, targets: Tensor, ids: Sequence[str]) -> None:
    """Refuse to explain an output that is minus infinity: it has no derivative, and nothing sums to it."""
    out = outputs.gather(1, targets[:, None].cpu())[:, 0] == -torch.inf
    if bool(out.any()):
        names = [ids[i] for i in out.nonzero().flatten().tolist()]
        raise InputError(
            f"Expected to explain outputs that are finite, but that of sample {names[0]!r} (label "
            f"{int(targets[out.to(targets.device)][0])}) is minus infinity, as are {len(names) - 1} others of its "
            "block: the model leaves the label out there. Explain another label, or the predicted one."
        )
