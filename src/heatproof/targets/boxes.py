"""The target of a detection: the score of the box that lies where a given box does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from heatproof import modes
from heatproof.errors import InputError
from heatproof.fields import typed
from heatproof.frozen import Frozen
from heatproof.targets.base import LABEL, TARGETS, OfNumbers, Sides


class _Found(NamedTuple):
    """The boxes of one sample: corners (K, 4), and the scores (K, C) of labels there, or (K,) of each box's own."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None

    def of(self, label: int) -> tuple[Tensor, Tensor]:
        """The boxes that may be of a label, and its score in each."""
        if self.labels is None:
            return self.boxes, self.scores[:, label]
        ours = self.labels == label
        return self.boxes[ours], self.scores[ours]


@TARGETS.register("box")
@typed
@dataclass(frozen=True)
class Box(OfNumbers):
    """The score of a detector's box of a label that overlaps a given box most; 0 where none overlaps it enough.

    One output. A detector returns for each sample a mapping of `boxes` (K, 4) as corners (x₀, y₀, x₁, y₁), `labels` and
    `scores` (K,), as torchvision's do; or for all samples `logits` (N, Q, C) and `pred_boxes` (N, Q, 4) as center and
    size, as DETR and its like in transformers do, of which the label's logit is the score. What is looked for (box and
    label) is settled on the trained network.

    Args:
        box: `predicted`, the box with the highest score; or corners, four numbers or (N, 4), in the units of the boxes
            that are returned.
        label: a number, or `predicted`: that of the box with the highest score, or of the one that overlaps `box` most.
        overlap: the smallest IoU, the area of the intersection over that of the union, that counts.
        no_object: whether the last of `logits` means that there is no object, as in DETR; it is no label then.

    >>> def detector(pictures):
    ...     box, label = torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([7])
    ...     return [{"boxes": box, "labels": label, "scores": one.mean()[None]} for one in pictures]
    ...
    >>> hp.methods.Gradient()(detector, torch.ones(1, 1, 1, 2), hp.targets.Box())
    tensor([[[[0.5000, 0.5000]]]])
    """

    box: Any = "predicted"
    label: Literal["predicted"] | int = "predicted"
    overlap: float = field(default=0.5, kw_only=True)
    no_object: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise InputError(f"Expected overlap in (0, 1], but got {self.overlap}.")
        if isinstance(self.box, str):
            if self.box != "predicted":
                raise InputError(f"Expected box to be 'predicted' or corners, but got {self.box!r}.")
            return
        box = Frozen(self.box)
        if box.shape[-1:] != (4,) or len(box.shape) > 2:
            raise InputError(f"Expected a box as four corners, or (N, 4), but got {box.shape}.")
        object.__setattr__(self, "box", box)

    @property
    def name(self) -> str:
        label = f"label {self.label}" if isinstance(self.label, int) else "the predicted label"
        return f"the score of {label} in {'the predicted' if self.box == 'predicted' else 'a given'} box"

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        found = self._found(answer)
        if len(found) != len(rows):
            raise InputError(f"Expected the boxes of {len(rows)} samples, but the detector returned {len(found)}.")
        every = [self._chosen(one, int(row)) for one, row in zip(found, rows, strict=True)]
        chosen = [one for one in every if one is not None]
        if len(chosen) < len(every):
            missing = [row for row, one in zip(rows.tolist(), every, strict=True) if one is None]
            advice = "name a label, or lower `overlap`" if isinstance(self.box, Frozen) else "or give `box` and `label`"
            raise InputError(
                f"Expected a detected box to explain {self.name}, but samples {missing[:8]} have none; leave them out, "
                f"{advice}."
            )
        return {
            LABEL: torch.zeros_like(rows),
            "box": torch.stack([box for box, _ in chosen]),
            "class": rows.new_tensor([label for _, label in chosen]),
        }

    def read(self, answer: Any, sides: Sides) -> Tensor:
        values = []
        for one, box, label in zip(self._found(answer), sides["box"], sides["class"].tolist(), strict=True):
            boxes, scores = one.of(label)
            best = self._place(boxes, box)
            # What is missing is 0 and belongs to the graph all the same.
            values.append(scores.sum() * 0.0 if best is None else scores[best])
        return torch.stack(values)[:, None]

    def _place(self, boxes: Tensor, box: Tensor) -> int | None:
        """Which of `boxes` (K, 4) overlaps a box most, if enough: a choice, through which no derivative goes."""
        with modes.none_on(), torch.no_grad():
            shared = overlaps(boxes, box)
            best = int(shared.argmax()) if len(boxes) else None
            return best if best is not None and float(shared[best]) >= self.overlap else None

    def _chosen(self, found: _Found, row: int) -> tuple[Tensor, int] | None:
        """The box that is looked for in a sample, and its label; None where the detector has none."""
        scores, label = found.scores, self.label
        if isinstance(self.box, Frozen):
            given = self.box.tensor
            if given.dim() == 2 and len(given) <= row:
                raise InputError(f"Expected a box a sample, but got {len(given)}, fewer than there are.")
            box = (given if given.dim() == 1 else given[row]).to(found.boxes)
            if isinstance(label, int):
                return box, label
            shared = overlaps(found.boxes, box)
            if not len(shared) or float(shared.max()) < self.overlap:
                return None
            return box, self._label_at(found, int(shared.argmax()))
        if isinstance(label, int):
            boxes, scores = found.of(label)
        else:
            boxes, scores = found.boxes, scores if scores.dim() == 1 else scores.amax(1)
        # One without an area overlaps nothing, itself neither.
        sound = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if not bool(sound.any()):
            return None
        best = int(scores.masked_fill(~sound, -torch.inf).argmax())
        return boxes[best].detach(), label if isinstance(label, int) else self._label_at(found, best)

    def _label_at(self, found: _Found, place: int) -> int:
        return int(found.scores[place].argmax()) if found.labels is None else int(found.labels[place])

    def _found(self, answer: Any) -> list[_Found]:
        if isinstance(answer, Sequence) and not isinstance(answer, str):
            per_sample = [_torchvision(one) for one in answer]
            if all(one is not None for one in per_sample):
                return [one for one in per_sample if one is not None]
        logits, boxes = (_part(answer, name) for name in ("logits", "pred_boxes"))
        if isinstance(logits, Tensor) and isinstance(boxes, Tensor):
            logits = logits[..., :-1] if self.no_object else logits
            return [_Found(_corners(where), scores, None) for where, scores in zip(boxes, logits, strict=True)]
        raise InputError(
            "Expected a detector that returns boxes, labels and scores for each sample, or logits and pred_boxes, but "
            f"the model returned {type(answer).__name__}."
        )


def overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    """The area of each intersection of `boxes` (K, 4) with `box` (4,), over that of the union."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clamp_min(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared).clamp_min(torch.finfo(boxes.dtype).tiny)


def _torchvision(one: Any) -> _Found | None:
    if not isinstance(one, Mapping) or not {"boxes", "labels", "scores"} <= one.keys():
        return None
    return _Found(one["boxes"], one["scores"], one["labels"])


def _part(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


def _corners(boxes: Tensor) -> Tensor:
    """Boxes (K, 4) of center and size as corners."""
    center, size = boxes[:, :2], boxes[:, 2:]
    return torch.cat([center - size / 2, center + size / 2], 1)
