"""What an audit explains: labels as they are given, or what a target makes of the model and its samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from heatproof.auditing.samples import Portion, Tensors, settled, taken
from heatproof.checks import Check
from heatproof.errors import InputError, shown
from heatproof.outputs import Outputs
from heatproof.recipes import describe
from heatproof.refusals import as_labels
from heatproof.targets import Label, Target, as_target
from heatproof.targets.base import Aimed as AimedModel

FAR = 2**40


@dataclass(frozen=True, kw_only=True)
class Aimed:
    """A model and samples with what is explained of them: labels (N,), of outputs (N, C).

    `target` says it in words, as plain data; empty where labels are given as they are. `name` is that of a model's one
    output which the target made, empty where its outputs are the model's own. `own` asks for the label that each
    network predicts itself.
    """

    model: nn.Module
    source: Tensors
    outputs: str | Outputs | None
    target: Mapping[str, Any]
    name: str = ""
    own: bool = False


def aimed(model: nn.Module, source: Tensors, targets: Any, outputs: str | Outputs | None) -> Aimed:
    """What `targets` asks: nothing (the predicted label), labels in any form, a target, or a function of the answer.

    Raises: InputError for anything else, for a target that the model's answer does not have, and for `outputs` that are
        said to be others than the target makes.
    """
    source = replace(source, labels=_given(source.inputs, source.labels))
    if targets is None or not (isinstance(targets, Target) or (callable(targets) and not isinstance(targets, Tensor))):
        labels = None if targets is None else as_labels(source.inputs, targets)
        return Aimed(model=model, source=replace(source, targets=labels), outputs=outputs, target={})
    target = as_target(targets)
    aim = target.aim(model, source.inputs, source.labels if _whole(source.labels) else None)
    said = aim.outputs
    _check_outputs(target, said, outputs)
    source = replace(source, targets=aim.labels)
    return Aimed(
        model=aim.model if aim.rows is None else aim.of(source.inputs)[0],
        source=source if aim.rows is None else _repeated(source, aim.rows),
        outputs=said or outputs,
        target=_said(target),
        name=_name(target),
        own=_is_own(target),
    )


@dataclass(frozen=True, kw_only=True)
class AimedByBlock:
    """The same of samples that are read block by block, where what is explained is settled when their turn comes."""

    model: nn.Module
    target: Target
    outputs: str | Outputs | None
    said: Mapping[str, Any]
    name: str = ""
    own: bool = False


def aimed_by_block(
    model: nn.Module, first: Portion, targets: Any, outputs: str | Outputs | None
) -> AimedByBlock | None:
    """A target, or a function of the answer, for samples like the `first`; None where all must be there at once.

    That is so for a target that lists something for each sample, or explains a sample several times.

    Raises: InputError for anything else, for a target that the model's answer does not have, and for `outputs` that are
        said to be others than the target makes.
    """
    target = as_target(targets)
    bound, portion = taken(model, first, 0)
    aim = target.aim(bound, portion.inputs[:1], _labels(portion))
    try:
        settled(target, bound, portion, FAR)
    except (InputError, IndexError):  # a list has nothing so far behind all samples
        return None
    if aim.rows is not None or not (aim.model is bound or isinstance(aim.model, AimedModel)):
        return None
    _check_outputs(target, aim.outputs, outputs)
    return AimedByBlock(
        model=model if aim.model is bound else AimedModel(model, target, {}),
        target=target,
        outputs=aim.outputs or outputs,
        said=_said(target),
        name=_name(target),
        own=_is_own(target),
    )


def _labels(portion: Portion) -> Tensor | None:
    return portion.labels[:1] if _whole(portion.labels) and portion.labels is not None else None


def _check_outputs(target: Target, said: Outputs | None, outputs: str | Outputs | None) -> None:
    if said is not None and outputs is not None and _kind(outputs) != said.kind:
        raise InputError(
            f"Expected no `outputs` beside a target that settles them, as {target.name} are {said.kind}, but got "
            f"{_kind(outputs)!r}; leave it out."
        )


def _said(target: Target) -> dict[str, Any]:
    return {"name": target.name, "unit": target.unit, "recipe": describe(target)}


def _name(target: Target) -> str:
    return "" if target.of_labels else target.name


def _is_own(target: Target) -> bool:
    return isinstance(target, Label) and target.which == "own"


def on_own_labels(check: Check) -> Check:
    """The check on the label that each network predicts itself, where it can do that."""
    can = is_dataclass(check) and any(one.name == "targets" for one in fields(check))
    return replace(check, targets="own") if can else check  # type: ignore[type-var]  # a dataclass with it


def _repeated(source: Tensors, rows: Tensor) -> Tensors:
    """The samples as often as each is explained, under ids that name the label."""
    assert source.targets is not None
    names = [str(i) for i in range(len(source))] if source.ids is None else list(source.ids)
    places = rows.tolist()

    def each(values: Sequence[Any] | None) -> Any:
        return None if values is None else [values[i] for i in places]

    def every(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[rows.to(values.device)]

    ids = [f"{names[i]} · {label}" for i, label in zip(places, source.targets.tolist(), strict=True)]
    return replace(
        source,
        inputs=source.inputs[rows.to(source.inputs.device)],
        ids=tuple(ids),
        labels=every(source.labels),
        boxes=each(source.boxes),
        box_labels=each(source.box_labels),
        masks=every(source.masks),
        display=every(source.display),
        tokens=each(source.tokens),
    )


def _given(inputs: Tensor, labels: Any) -> Tensor | None:
    """The true labels in int64, or numbers in floating point, in whatever form they come."""
    if labels is None:
        return None
    found = as_labels(inputs, labels)
    if not isinstance(found, Tensor):
        try:
            found = torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"Expected labels ({len(inputs)},), whole or floating numbers, but got {shown(found)}."
            ) from None
    return found


def _whole(labels: Tensor | None) -> bool:
    return labels is not None and labels.dtype == torch.int64


def _kind(outputs: str | Outputs) -> str:
    return outputs.kind if isinstance(outputs, Outputs) else outputs
