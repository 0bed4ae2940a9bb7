"""What stands for a missing feature. A baseline maps inputs (N, …) to a tensor that broadcasts to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from math import isfinite
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from heatproof import deferred
from heatproof.devices import on_device
from heatproof.errors import InputError, shown
from heatproof.frozen import Frozen
from heatproof.layouts.inputs import InputLayout, feature_axes
from heatproof.registry import Registry


@runtime_checkable
class Baseline(Protocol):
    """A value for missing features, per sample: a function of the sample alone, never of its batch.

    >>> isinstance(hp.baselines.Zero(), hp.baselines.Baseline)
    True
    """

    def __call__(self, inputs: Tensor) -> Tensor:
        """The baseline of each sample, broadcastable to `inputs` (N, …)."""
        ...


BASELINES: Registry[Baseline] = Registry("baseline")


@BASELINES.register("zero")
@dataclass(frozen=True, kw_only=True)
class Zero:
    """0 everywhere: black, mid-grey or the data's mean colour, as the inputs were scaled.

    >>> hp.baselines.Zero()(x)
    tensor([[0.]])
    """

    def __call__(self, inputs: Tensor) -> Tensor:
        return inputs.new_zeros(len(inputs), *[1] * (inputs.dim() - 1))


@BASELINES.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant:
    """One number everywhere, in input units.

    >>> hp.baselines.Constant(value=0.5)(x)
    tensor([[0.5000]])
    """

    value: float = 0.0

    def __call__(self, inputs: Tensor) -> Tensor:
        return Zero()(inputs) + self.value


@BASELINES.register("mean")
@dataclass(frozen=True, kw_only=True)
class Mean:
    """The sample's own mean, channel by channel: for an image its mean colour, for tokens their mean embedding.

    Which axis holds the channels is asked of the network; `layout` says it where nothing tells. Called without one,
    channels come first.

    >>> hp.baselines.Mean()(images).shape
    torch.Size([4, 1, 1, 1])
    """

    layout: InputLayout | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.along(inputs, _channels(inputs, self.layout))

    def along(self, inputs: Tensor, channels: tuple[int, ...]) -> Tensor:
        """The same where the axis `channels` of `inputs` holds the channels, or none does."""
        return inputs.mean([axis for axis in range(1, inputs.dim()) if axis not in channels], keepdim=True)


@BASELINES.register("blur")
@dataclass(frozen=True, kw_only=True)
class Blur:
    """The sample without its detail: images and volumes (N, C, positions …) smoothed by a Gaussian, in pixels.

    The kernel reaches to 3σ; beyond the border the nearest pixel repeats. `layout` as in `Mean`.

    >>> hp.baselines.Blur(sigma=1.0)(images).shape
    torch.Size([4, 1, 8, 8])
    """

    sigma: float = 10.0
    layout: InputLayout | None = None

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise InputError(f"Expected sigma to be positive, but got {self.sigma}.")

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.along(inputs, _channels(inputs, self.layout))

    def along(self, inputs: Tensor, channels: tuple[int, ...]) -> Tensor:
        """The same where the axis `channels` of `inputs` holds the channels, or none does."""
        if inputs.dim() - len(channels) < 3:
            raise InputError(f"Expected images (N, C, H, W) to blur, but got {tuple(inputs.shape)}; use Mean().")
        if not channels:
            return smooth(inputs[:, None], self.sigma)[:, 0]
        return smooth(inputs.movedim(channels[0], 1), self.sigma).movedim(1, channels[0])


@dataclass(frozen=True, kw_only=True)
class Token:
    """One embedding in every place of a sequence (N, T, E): that of a mask or padding token.

    It has no default and therefore no name: `Token.of(network.embeddings, tokenizer.mask_token_id)`.

    >>> hp.baselines.Token(values=(0.0, 1.0))(torch.rand(1, 3, 2))
    tensor([[[0., 1.]]])
    """

    values: tuple[float, ...]

    @classmethod
    def of(cls, embeddings: nn.Embedding, index: int) -> "Token":
        """The token number `index` of an embedding layer, whose output is what is explained."""
        if not 0 <= index < embeddings.num_embeddings:
            raise InputError(f"Expected a token between 0 and {embeddings.num_embeddings - 1}, but got {index}.")
        return cls(values=tuple(embeddings.weight[index].tolist()))

    def __call__(self, inputs: Tensor) -> Tensor:
        if inputs.dim() != 3 or inputs.shape[2] != len(self.values):
            raise InputError(
                f"Expected sequences (N, T, {len(self.values)}) for such a token, but got {tuple(inputs.shape)}."
            )
        return inputs.new_tensor(self.values)[None, None]


@BASELINES.register("values")
@dataclass(frozen=True)
class Values:
    """The same tensor for every sample, in input units: a background image, a row of a table; or one number.

    `values` broadcasts to a sample (…), or to (1, …); a value that compares, hashes and is told apart by its digest.

    >>> hp.baselines.Values(torch.tensor([1.0, 2.0]))(x)
    tensor([[1., 2.]])
    """

    values: Frozen = field(default_factory=lambda: Frozen(0.0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers(self.values))

    def __call__(self, inputs: Tensor) -> Tensor:
        values = self.values.tensor.to(inputs)
        if values.dim() == inputs.dim() and len(values) == 1:
            values = values[0]
        if values.dim() >= inputs.dim():
            raise InputError(
                f"Expected a baseline that broadcasts to a sample {tuple(inputs.shape[1:])}, but got "
                f"{tuple(values.shape)}; one a sample is PerSample(values)."
            )
        return values.expand(len(inputs), *[1] * (inputs.dim() - 1 - values.dim()), *values.shape)


@dataclass(frozen=True)
class PerSample:
    """A baseline of its own for each sample of one call, (N, …) that broadcasts to its inputs.

    Where a method explains copies of samples (SmoothGrad) or a sample several times, its row goes along. An audit goes
    block by block, and takes no rows: there, a baseline is a function of the sample.

    >>> hp.methods.IntegratedGradients(baseline=hp.baselines.PerSample(x / 2))(line, x, 1).round(decimals=4)
    tensor([[1.5000, 2.0000]])
    """

    values: Frozen

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers(self.values))

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.values.shape[:1] != (len(inputs),):
            raise InputError(
                f"Expected a baseline for each of {len(inputs)} samples, (N, …), but got {self.values.shape}; one for "
                "all samples is Values(values)."
            )
        return self.values.tensor.to(inputs)

    def rows(self, rows: Tensor) -> "Rows":
        """The baselines of samples `rows` (M,), in that order."""
        return Rows(self.values.tensor[rows.cpu()])


@dataclass(frozen=True, eq=False)
class Rows:
    """A baseline of its own for each row of one call, as `PerSample`, for a method that calls another on variants.

    >>> hp.baselines.Rows(x / 2)(x)
    tensor([[0.5000, 0.5000]])
    """

    values: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.values.to(inputs)

    def rows(self, rows: Tensor) -> "Rows":
        """The baselines of rows `rows` (M,), in that order."""
        return Rows(self.values[rows.to(self.values.device)])


def as_baseline(value: Any) -> Baseline:
    """A baseline as it is; a number, an array or a tensor as the one with these values for every sample."""
    if isinstance(value, bool) or value is None:
        raise InputError(f"Expected a baseline, a number or a tensor, but got {shown(value)}.")
    if isinstance(value, int | float):
        return Constant(value=float(value))
    if isinstance(value, Tensor | np.ndarray | Sequence | Frozen) and not isinstance(value, str):
        return Values(value)  # type: ignore[arg-type]  # which makes it a Frozen one
    found: Baseline = value  # what is none is refused by the field's type
    return found


R = TypeVar("R")


def for_rows(recipe: R, rows: Tensor) -> R:
    """The recipe whose i-th sample is sample `rows[i]`: with the baselines of these samples, wherever it has some."""
    if isinstance(recipe, PerSample | Rows):
        return recipe.rows(rows)  # type: ignore[return-value]  # it is that type
    if not is_dataclass(recipe) or isinstance(recipe, type):
        return recipe
    before = {one.name: getattr(recipe, one.name) for one in fields(recipe) if one.init}
    after = {name: for_rows(value, rows) for name, value in before.items()}
    changed = {name: value for name, value in after.items() if value is not before[name]}
    return replace(recipe, **changed) if changed else recipe


def _numbers(values: Any) -> Frozen:
    frozen = Frozen(values)
    if frozen.tensor.dtype == torch.bool or not bool(torch.isfinite(frozen.tensor.double()).all()):
        raise InputError(f"Expected finite numbers as a baseline, but got {shown(values)}.")
    return frozen


def smooth(images: Tensor, sigma: float) -> Tensor:
    """`images` (N, C, positions …) convolved with a Gaussian of standard deviation `sigma`, reaching to 3σ.

    Beyond the border the nearest pixel repeats.
    """
    for dim in range(2, images.dim()):
        images = torch.tensordot(images, _band(images, images.shape[dim], sigma), dims=([dim], [1])).movedim(-1, dim)
    return images


@on_device
def _band(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) in float64 that smooths a line."""
    reach = int(3 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    at = torch.arange(size)
    sources = (at[:, None] + offsets).clamp(0, size - 1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(
        1, sources, (weights / weights.sum()).expand(size, -1)
    )


def _channels(inputs: Tensor, layout: InputLayout | None) -> tuple[int, ...]:
    """The axis of the channels where there is no network to ask."""
    if inputs.dim() < 3:
        return ()
    return (inputs.dim() - 1,) if layout == "channels-last" else (1,)


def resolved(baseline: Baseline, model: nn.Module, inputs: Tensor, layout: InputLayout | None = None) -> Tensor:
    """The baseline of each sample of a model, in the dtype and shape of `inputs`.

    Cost: none, but for baselines that ask which axis holds the channels (see `feature_axes`), where neither they nor
    `layout` say it.

    Raises: InputError where it does not broadcast to the inputs or is not finite, and where nothing tells the channels.
    """
    if isinstance(baseline, Mean | Blur):
        value = baseline.along(inputs, feature_axes(model, inputs, baseline.layout or layout))
    else:
        value = baseline(inputs)
    try:
        value = value.to(inputs).expand_as(inputs)
    except RuntimeError as error:
        raise InputError(
            f"Expected a baseline that broadcasts to the inputs {tuple(inputs.shape)}, but {baseline} gave "
            f"{tuple(value.shape)}."
        ) from error
    if not _is_finite(baseline):
        deferred.when(~torch.isfinite(value).all(), partial(_refuse, baseline))
    return value


def _is_finite(baseline: Baseline) -> bool:
    """Whether its values are finite for whatever finite inputs."""
    if isinstance(baseline, Constant):
        return isfinite(baseline.value)
    if isinstance(baseline, Token):
        return all(map(isfinite, baseline.values))
    return type(baseline) in (Zero, Mean, Blur, Values, PerSample, Rows)


def _refuse(baseline: Baseline) -> None:
    raise InputError(f"Expected a finite baseline, but {baseline} gave NaN or infinity.")


def one_for_all(baseline: Baseline, value: Tensor) -> bool:
    """Whether all samples of a baseline have the same `value` (N, …); one that is of each sample is not looked at."""
    if len(value) == 1 or isinstance(baseline, Zero | Constant | Token | Values):
        return True
    return not isinstance(baseline, Mean | Blur) and bool((value == value[:1]).all())
