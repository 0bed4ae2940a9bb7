"""What an audit is about: a model, its samples, and what is explained of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from heatproof.auditing.aiming import aimed, aimed_by_block
from heatproof.auditing.arguments import of_each
from heatproof.auditing.manifest import About
from heatproof.auditing.planning import check_labels, check_tensors
from heatproof.auditing.samples import FromBlocks, Source, Tensors
from heatproof.auditing.settings import some
from heatproof.checks import Boxes
from heatproof.data.base import check_masks
from heatproof.data.blocks import Blocks, as_blocks
from heatproof.errors import InputError, shown
from heatproof.models import Bound, check_inputs
from heatproof.outputs import Outputs
from heatproof.targets import Label, Target


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What an audit is about: model, samples, and what is explained of them."""

    model: nn.Module
    source: Source
    about: About
    outputs: str | Outputs | None
    own: bool = False


def subject_of_tensor(
    model: nn.Module,
    inputs: Tensor,
    targets: Any,
    outputs: str | Outputs | None,
    about: About,
    *,
    labels: Any,
    ids: Sequence[str] | None,
    boxes: Sequence[Boxes] | None,
    masks: Tensor | None = None,
) -> Subject:
    """Samples in memory, all checked now."""
    check_inputs(model, inputs)
    about = replace(about, data=about.data or f"{len(inputs)} samples")
    about.check(len(inputs))
    if masks is not None:
        check_masks(masks, inputs.shape, "samples")
        if boxes is not None:
            raise InputError("Expected boxes or masks of the objects, but got both; leave one out.")
    names, placed = of_each(len(inputs), ids=ids, boxes=boxes, labels=labels, targets=targets)
    source = Tensors(
        inputs=inputs.detach(),
        labels=labels,
        ids=names,
        boxes=placed,
        masks=masks,
        display=about.display,
        tokens=about.tokens,
    )
    aim = aimed(model, source, targets, outputs)
    source = aim.source
    check_labels(source.labels, len(source))
    if source.labels is None and not aim.target:
        source = replace(source, labels=source.targets)
    check_tensors(aim.model, source)
    about = replace(about, target=aim.target, classes=(aim.name,) if aim.name else about.classes)
    return Subject(model=aim.model, source=source, about=about, outputs=aim.outputs, own=aim.own)


def subject_of_data(
    model: nn.Module,
    data: Any,
    targets: Any,
    outputs: str | Outputs | None,
    about: About,
    *,
    labels: Any,
    ids: Sequence[str] | None,
    boxes: Sequence[Boxes] | None,
    masks: Tensor | None = None,
    parts: Mapping[str, str | int] | None = None,
) -> Subject:
    """Samples that are read when their turn comes."""
    known = isinstance(targets, Label) and targets.which in ("predicted", "given")
    if isinstance(targets, str):
        raise InputError(
            f"Expected targets such as labels, Label('given') or Label('predicted'), but got {shown(targets)}."
        )
    beside = [name for name in ("tokens", "display") if getattr(about, name) is not None]
    if beside:
        raise InputError(
            f"Expected no `{beside[0]}` with data that are read block by block, as they bring their own; give the "
            "samples as a tensor, or a source that has them."
        )
    if labels is not None:
        raise InputError(
            "Expected no `labels` with data that are read block by block, as they bring their own; give them with the "
            "data, hp.data.as_blocks(data, labels), and say targets=Label('given') to explain them."
        )
    given = (model.given or list(model.named.values()) or None) if isinstance(model, Bound) else None
    aimed_at = isinstance(targets, Target) or callable(targets)
    own = None if targets is None or aimed_at else targets
    blocks = as_blocks(data, own, given=given, columns=parts, ids=ids, boxes=boxes, masks=masks)
    explain = "label" if own is not None or targets == Label("given") else "predicted"
    read = " ".join(filter(None, [about.read, getattr(blocks, "note", "")]))
    about = replace(about, data=about.data or blocks.name, classes=about.classes or blocks.classes, read=read)
    if aimed_at and not known:
        found = subject_of_blocks(model, blocks, targets, outputs, about)
        if found is None:
            raise InputError(
                "Expected a target that is the same for every sample of data that are read block by block, and one map "
                f"a sample, but got {shown(targets)}; give the samples as a tensor to explain it."
            )
        return found
    return Subject(model=model, source=FromBlocks(blocks=blocks, explain=explain), about=about, outputs=outputs)


def subject_of_blocks(
    model: nn.Module, blocks: Blocks, targets: Any, outputs: str | Outputs | None, about: About
) -> Subject | None:
    """What a target explains of samples that are read block by block; None where it needs all of them at once."""
    first = some(model, FromBlocks(blocks=blocks), 4)[1]
    if not first.ids or (aim := aimed_by_block(model, first, targets, outputs)) is None:
        return None
    about = replace(about, target=aim.said, classes=(aim.name,) if aim.name else about.classes)
    source = FromBlocks(blocks=blocks, target=aim.target)
    return Subject(model=aim.model, source=source, about=about, outputs=aim.outputs, own=aim.own)
