"""Targets in outputs with positions: one place of (N, T, C), or a region of a segmentation (N, C, H, W)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.fields import typed
from heatproof.frozen import Frozen
from heatproof.refusals import check_targets
from heatproof.targets.base import LABEL, TARGETS, OfNumbers, Sides, Target, given_labels, samples_in, scores_in


@TARGETS.register("index")
@typed
@dataclass(frozen=True)
class Index(Target):
    """One element of outputs with positions, such as `Index((t, c))` of (N, T, C): label c at token t.

    Its rivals are the other labels at the same position, so that it is explained as a label is: outputs (N, C).

    Args:
        index: a number for each dimension after that of the samples, those below 0 from the end; of a position a list
            of numbers, one a sample, as well.
        labels: which of them counts labels: the last, −1, in (N, T, C), the first, 0, in (N, C, H, W).

    >>> hp.methods.Gradient()(lambda x: x[:, :, None] * torch.tensor([1.0, 5.0]), x, hp.targets.Index((0, 1)))
    tensor([[5., 0.]])
    """

    of_labels: ClassVar[bool] = True

    index: tuple[int | tuple[int, ...], ...] = (0,)
    labels: int = field(default=-1, kw_only=True)

    def __post_init__(self) -> None:
        entries = tuple(tuple(one) if isinstance(one, Sequence) else one for one in self.index)
        object.__setattr__(self, "index", entries)
        if not entries or not -len(entries) <= self.labels < len(entries) or not isinstance(self._label, int):
            raise InputError(
                f"Expected an index with a number for each dimension, (t, c), entry `labels` of which is one label, "
                f"but got {self.index} and labels={self.labels}."
            )

    @property
    def _label(self) -> int | tuple[int, ...]:
        return self.index[self.labels]

    @property
    def name(self) -> str:
        places = [str(one) if isinstance(one, int) else "…" for one in self._places]
        return f"label {self._label} at position {', '.join(places)}" if places else f"label {self._label}"

    @property
    def _places(self) -> list[int | tuple[int, ...]]:
        at = self.labels % len(self.index)
        return [one for i, one in enumerate(self.index) if i != at]

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        scores = self._labels_last(answer, len(rows))
        found = {LABEL: torch.full_like(rows, int(self._label) % scores.shape[-1])}  # type: ignore[arg-type]  # one number
        check_targets(rows, torch.full_like(rows, max(int(self._label), 0)), scores.shape[-1])  # type: ignore[arg-type]
        for k, (place, size) in enumerate(zip(self._places, scores.shape[1:-1], strict=True)):
            if isinstance(place, tuple) and len(place) <= int(rows.max()):
                raise InputError(f"Expected a position a sample, but got those of {len(place)}, fewer than there are.")
            at = torch.full_like(rows, place) if isinstance(place, int) else rows.new_tensor(place)[rows]
            if bool(((at < -size) | (at >= size)).any()):
                raise InputError(f"Expected positions below {size} in outputs {tuple(answer.shape)}, but got {place}.")
            found[f"place{k}"] = at % size
        return found

    def read(self, answer: Any, sides: Sides) -> Tensor:
        scores = self._labels_last(answer, samples_in(answer))
        if scores.dim() == 2:
            return scores
        places = [sides[f"place{k}"] for k in range(scores.dim() - 2)]
        return scores[(torch.arange(len(scores), device=scores.device), *places)]

    def _labels_last(self, answer: Any, samples: int) -> Tensor:
        scores = scores_in(answer, samples, what=self.name)
        if scores.dim() != len(self.index) + 1:
            raise InputError(
                f"Expected outputs with {len(self.index)} dimensions after that of the samples for index "
                f"{self.index}, but the model returned {tuple(scores.shape)}."
            )
        return scores.movedim(1 + self.labels % len(self.index), -1)


@TARGETS.register("region")
@typed
@dataclass(frozen=True)
class Region(OfNumbers):
    """The score of a label over a region of a segmentation (N, C, positions …): Σ_{p ∈ mask} S_c(p).

    Its rivals are the other labels over the same region: outputs (N, C). They are sums of scores, of which none is a
    probability. The region is the trained network's and stays fixed where the network is changed.

    Args:
        label: a number; `predicted`, the one that is predicted at most positions; or `given`, one a sample.
        mask: `predicted`, the positions where the label is the predicted one (of one output: above 0); `all`; or an
            array of truth values, (positions …) or with a row a sample (N, positions …).
        of: `sum` over the region, or `mean`.
        background: a label that is never taken for the predicted one.

    >>> segmenter = nn.Conv2d(1, 2, 1, bias=False).eval()
    >>> hp.methods.Occlusion()(segmenter, torch.rand(1, 1, 4, 4), hp.targets.Region(1, "all")).shape
    torch.Size([1, 1, 4, 4])
    """

    of_labels: ClassVar[bool] = True

    label: Literal["predicted", "given"] | int = "predicted"
    mask: Any = "predicted"
    of: Literal["sum", "mean"] = field(default="sum", kw_only=True)
    background: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not (isinstance(self.mask, str) and self.mask in ("predicted", "all")):
            if isinstance(self.mask, str):
                raise InputError(f"Expected mask to be 'predicted', 'all' or an array, but got {self.mask!r}.")
            object.__setattr__(self, "mask", Frozen(Frozen(self.mask).tensor != 0))

    @property
    def name(self) -> str:
        label = f"label {self.label}" if isinstance(self.label, int) else f"the {self.label} label"
        where = {"predicted": "where it is predicted", "all": "everywhere"}.get(str(self.mask), "over the given region")
        return f"{self.of} of {label} {where}"

    def settle(self, answer: Any, rows: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        scores = scores_in(answer, len(rows), dims=3, what=self.name)
        count, positions = scores.shape[1], tuple(scores.shape[2:])
        winners = scores.argmax(1) if count > 1 else torch.where(scores[:, 0] > 0, 0, -1)
        label = self._label(winners.flatten(1), rows, labels, count)
        check_targets(rows, label.to(rows.device), count)
        mask = self._mask(winners, label, rows, positions)
        empty = rows[~mask.flatten(1).any(1)].tolist()
        if empty:
            raise InputError(
                f"Expected a region in each sample for the {self.name}, but that of samples {empty[:8]} is empty; "
                "explain another label, or mask='all'."
            )
        return {LABEL: label, "mask": mask}

    def read(self, answer: Any, sides: Sides) -> Tensor:
        scores = scores_in(answer, samples_in(answer), dims=3, what=self.name)
        mask = sides["mask"].to(scores)[:, None]
        total = (scores * mask).flatten(2).sum(2)
        return total if self.of == "sum" else total / mask.flatten(2).sum(2)

    def _label(self, winners: Tensor, rows: Tensor, labels: Tensor | None, count: int) -> Tensor:
        if isinstance(self.label, int):
            return torch.full_like(rows, self.label)
        if self.label == "given":
            return given_labels(labels, self)
        of_each = torch.stack([(winners == label).sum(1) for label in range(count)], 1)
        if self.background is not None and self.background < count:
            of_each[:, self.background] = -1
        return of_each.argmax(1)

    def _mask(self, winners: Tensor, label: Tensor, rows: Tensor, positions: tuple[int, ...]) -> Tensor:
        if isinstance(self.mask, Frozen):
            shape = self.mask.shape
            if shape != positions and (shape[1:] != positions or shape[0] <= int(rows.max())):
                raise InputError(
                    f"Expected a mask of the model's positions {positions}, or one a sample (N, {positions}), but got "
                    f"{shape}."
                )
            mask = self.mask.tensor
            return (mask.expand(len(rows), *positions) if shape == positions else mask[rows.cpu()]).to(winners.device)
        if self.mask == "all":
            return torch.ones_like(winners, dtype=torch.bool)
        return winners == label.view(-1, *[1] * (winners.dim() - 1))
