"""Occlusion: what the score loses when a window of features goes missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from heatproof.baselines import Baseline, Zero, as_baseline, resolved
from heatproof.devices import on_device
from heatproof.errors import InputError, unknown
from heatproof.features import Features, Pixels, default_features
from heatproof.fields import ADDED
from heatproof.layouts.inputs import features_of
from heatproof.methods.base import METHODS, Explanation, Method, evaluate, passes, scores
from heatproof.models import forward


@METHODS.register("occlusion")
@dataclass(frozen=True, kw_only=True)
class Occlusion(Method):
    """The drop of the score when a window of features is set to the baseline.

    d_w = S_c(x) − S_c(x with the features of w set to x̄); R of a feature is the mean d_w over the windows w around it.

    Windows lie at 0, `stride`, 2·`stride`, … in every dimension of the features' grid until they reach its end; the
    last ones are cut at the border, so every feature is covered at least once. Signed, in units of the score; pooled
    over the features that were occluded, R is the value above: a feature of several scalars (a tile) shares it equally
    among them. Size 1 over the channels of pixels and tiles and over a token's embedding. With `window=1` and
    `stride=1` the map is Occlusion-1, which satisfies Sensitivity-1 exactly; no other sum rule. Diagnostic: `score`
    S_c(x). No linearization: the drops of a mix of labels need no backward pass.
    Cost: one forward pass a window and one for x, as many variants in a pass as the model takes best.

    Args:
        window: features a window spans, in every dimension of the grid or one number each; by default 8 pixels each
            way, 1 feature where features are tiles, tokens or columns.
        stride: features from one window to the next, likewise; by default the window's own size: no overlap.
        features: what is occluded together; by default pixels of images and time steps of series with all their
            channels, tokens of sequences, columns of tables: what the network does with its input tells which, see
            `heatproof.layouts.inputs.features_of`.
        baseline: x̄, a function of the sample alone; a number or a tensor as well, the same for all samples.
        show: `rest`, as above, or `window`: everything but w is set to x̄, and d_w = S_c(x̄ with the features of w as in
            x) − S_c(x̄), what a window brings by itself. Diagnostic: `baseline-score` S_c(x̄) as well, one pass more.

    Raises: InputError where windows do not fit the features' grid, the baseline does not broadcast to the inputs, or
    nothing tells what a feature is.

    Source: Zeiler & Fergus 2014; Ancona et al. 2018 (Occlusion-1); Schulz et al. 2020, Table 1 (8×8 and 14×14 patches
    without overlap, set to 0 as their section 2 says; their code sets them to the image's mean color: baseline `mean`).
    Overlapping windows are averaged, as in Captum; the papers do not say.

    >>> hp.methods.Occlusion(baseline=0.5)(line, x, 1)
    tensor([[1.5000, 2.0000]])
    """

    window: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    features: Features | None = None
    baseline: Baseline = Zero()  # noqa: RUF009  # a frozen value
    show: Literal["rest", "window"] = field(default="rest", metadata=ADDED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", as_baseline(self.baseline))
        if self.show not in ("rest", "window"):
            raise unknown("part to show", self.show, ("rest", "window"))
        for name, value in {"window": self.window, "stride": self.stride}.items():
            if value is not None and min(value if isinstance(value, tuple) else (value,), default=0) < 1:
                raise InputError(f"Expected a {name} of at least 1 feature, but got {value}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        features = self.features or default_features(shape)
        windows = prod(_starts(*sizes) for sizes in self._covers(features, features.grid(shape)))
        return (windows + 1) / 3  # a forward pass is a third of both

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        shape = inputs.shape[1:]
        features = self.features or features_of(model, inputs)
        covers = [_cover(inputs, *sizes) for sizes in self._covers(features, features.grid(shape))]
        counts = [len(cover) for cover in covers]
        baseline = resolved(self.baseline, model, inputs)
        score = evaluate(model, inputs, targets)
        alone = self.show == "window"
        bare = evaluate(model, baseline, targets) if alone else score
        drops = inputs.new_empty(len(inputs), prod(counts))
        for block, chunks in passes(inputs, prod(counts)):
            samples = torch.arange(block.start, block.stop, device=inputs.device)
            for chunk in chunks:
                hidden = features.spread(_windows(covers, chunk), shape)[:, None]  # (windows, 1, …)
                before, after = (inputs, baseline) if alone else (baseline, inputs)
                variants = torch.where(hidden, before[block], after[block]).flatten(0, 1)
                rows = samples.repeat(len(chunk))
                with torch.no_grad():
                    left = scores(forward(model, variants, rows), targets[rows])
                change = bare[block, None] - left.view(len(chunk), -1).T
                drops[block, chunk.start : chunk.stop] = -change if alone else change
        values = features.spread(_averages(drops.view(-1, *counts), covers), shape)
        said = {"score": score, **({"baseline-score": bare} if alone else {})}
        return Explanation(values / _sizes(features, values, shape), said)

    def _covers(self, features: Features, grid: Sequence[int]) -> list[tuple[int, int, int]]:
        """For every dimension of the grid its positions, and those that a window covers and moves on by."""
        default = 8 if isinstance(features, Pixels) else 1
        window = _each(default if self.window is None else self.window, len(grid))
        stride = window if self.stride is None else _each(self.stride, len(grid))
        if len(window) != len(grid) or len(stride) != len(grid):
            raise InputError(
                f"Expected window and stride as one number, or one for each dimension of the features' grid "
                f"{tuple(grid)}, but got {self.window} and {self.stride}."
            )
        if any(step > width for step, width in zip(stride, window, strict=True)):
            raise InputError(
                f"Expected a stride up to the window's size, so that every feature is occluded, but got {stride} "
                f"for windows of {window}."
            )
        return list(zip(grid, window, stride, strict=True))


def _each(value: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def _starts(size: int, window: int, stride: int) -> int:
    return 1 + -(-max(0, size - window) // stride)


@on_device
def _cover(size: int, window: int, stride: int) -> Tensor:
    """Which of a dimension's positions each window covers: (windows, positions) bool."""
    starts = torch.arange(_starts(size, window, stride))[:, None] * stride
    at = torch.arange(size)
    return (at >= starts) & (at < starts + window)


def _windows(covers: Sequence[Tensor], chunk: range) -> Tensor:
    """The features (len(chunk), *grid), bool, in windows number `chunk`; the last dimension's number runs fastest."""
    numbers = torch.arange(chunk.start, chunk.stop, device=covers[0].device)
    places: list[Tensor] = []
    for cover in reversed(covers):  # torch.unravel_index looks at the numbers
        places.insert(0, numbers % len(cover))
        numbers = numbers // len(cover)
    inside = covers[0][places[0]]
    for cover, place in zip(covers[1:], places[1:], strict=True):
        inside = inside[..., None] & cover[place].view(len(place), *[1] * (inside.dim() - 1), -1)
    return inside


def _averages(drops: Tensor, covers: Sequence[Tensor]) -> Tensor:
    """The mean drop (N, *grid) over the windows that cover a feature, from the drops (N, *windows) of all windows."""
    means = drops.double()  # where products in float32 may be rounded to fewer bits, these are not
    for dim, cover in enumerate(covers, start=1):
        weights = cover.double() / cover.sum(0)
        means = torch.tensordot(means, weights, dims=([dim], [0])).movedim(-1, dim)
    return means.to(drops.dtype)


def _sizes(features: Features, values: Tensor, shape: Sequence[int]) -> Tensor:
    """Of how many of the map's scalars each one's feature consists."""
    ones = torch.ones_like(values[:1])
    return features.spread(features.pool(ones, shape), shape)
