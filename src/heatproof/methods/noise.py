"""Methods around another method: its mean and its variance over noisy copies of the input."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from heatproof import door, draws
from heatproof.baselines import for_rows
from heatproof.errors import HeatproofWarning, InputError, unknown
from heatproof.fields import ADDED
from heatproof.frozen import Frozen
from heatproof.layouts.inputs import axes_known, feature_axes
from heatproof.methods.backward import Gradient
from heatproof.methods.base import (
    METHODS,
    Attribution,
    Explanation,
    Linearizable,
    Linearization,
    Method,
    evaluate,
    mixes,
    outputs_of,
    passes,
)
from heatproof.methods.path import IntegratedGradients
from heatproof.models import select

FEW = 4  # samples whose columns' ranges say nothing
APART = 100.0  # times that ranges differ where units must

_looked = WeakIdKeyDictionary()  # the models whose inputs were looked at: once, as the device has to be asked


class Chunk(NamedTuple):
    """Noisy copies (n, block, …), and the sample (n · block,) that each belongs to once they are flattened."""

    variants: Tensor
    rows: Tensor


@METHODS.register("smoothgrad")
@dataclass(frozen=True, kw_only=True)
class SmoothGrad(Linearizable):
    """The mean of a method's attributions over noisy copies of the input.

    R = (1/M) Σ_i E(x + g_i), g_i ~ N(0, σ²) i.i.d. a scalar, σ = noise × (max x − min x) of each sample; M = `samples`.
    Where features have units of their own (columns of a table, bands, leads), one σ drowns some and leaves others as
    they are: give `scale`, and σ_j = noise × scale_j for the scalars of feature j. A column's range over data cannot be
    told from a sample, and a result must not depend on the batch that a sample comes in: so it is given, not measured.
    Where columns of a model's first batch (of 4 samples or more) differ 100-fold in range and no `scale` is given, a
    HeatproofWarning says so. Or say σ itself, in input units: `sigma`.

    Sign, unit and shape are those of E; a sum rule of E holds for the noisy copies only. Diagnostic: `score` S_c(x) of
    the clean input. A sample without range (a constant) has σ = 0. Cost: M times E's, and one forward pass. Where E can
    be linearized so can this, and it is linear where E is; every pull sees the same noise.

    Args:
        method: E, any method or callable (model, inputs, targets) → attributions.
        samples: number of noisy copies.
        noise: σ as a share of each sample's range, or of `scale`.
        scale: the range of each feature over data, in its own units: a number a column of tables (N, D), a channel of
            images and series, or a component of embeddings. Any range will do that is the same for all samples, such as
            the standard deviation.
        seed: of the draws, which also depend on the sample and the copy, and on nothing else: SmoothGrad and VarGrad
            with one seed see the same noise, on every model.
        sigma: σ itself in input units, in place of `noise` and `scale`: one number; one a column, channel or component,
            as in `scale`; or a tensor that broadcasts to a sample.
        of: `maps`, or `squares`: (1/M) Σ_i E(x + g_i)², non-negative, in squared units of E, without a sum rule, and
            not linear (Hooker et al. 2019).

    Raises: InputError, from `linearize`, where E cannot be linearized.

    Source: Smilkov et al. 2017; Adebayo et al. 2018, A.6, with the settings of its code: 50 copies, 0.15, maps averaged
    with their sign. (PAIR's own default averages squares.)

    >>> hp.methods.SmoothGrad(hp.methods.GradientXInput(), samples=5, sigma=0.0)(line, x, 1)
    tensor([[3., 4.]])
    """

    method: Method | Attribution = field(default=Gradient(), kw_only=False)  # a frozen value
    samples: int = 50
    noise: float = 0.15
    scale: tuple[float, ...] | None = None
    seed: int = 0
    sigma: float | tuple[float, ...] | Frozen | None = field(default=None, metadata=ADDED)
    of: Literal["maps", "squares"] = field(default="maps", metadata=ADDED)
    version: ClassVar[int] = 2
    shares_passes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _check(self.method, self.samples, self.noise, self.scale))
        object.__setattr__(self, "sigma", _check_sigma(self.sigma, self.scale))
        if self.of not in ("maps", "squares"):
            raise unknown("kind of mean", self.of, ("maps", "squares"))

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return self.samples * (self.method.cost(outputs, shape) if isinstance(self.method, Method) else 1.0)

    @property
    def linearizable(self) -> bool:
        return isinstance(self.method, Linearizable) and self.method.linearizable

    @property
    def linear(self) -> bool:
        return self.of == "maps" and isinstance(self.method, Linearizable) and self.method.linear

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        if self.linearizable:
            return super()._explain(model, inputs, targets)
        if self.sigma is None:
            _say_units(model, inputs, self.scale)
        score = evaluate(model, inputs, targets)
        maps = _maps(self.method, model, inputs, targets, self._copies(model, inputs))
        means = [reduce(torch.add, (self._powered(part).sum(0) for part in parts)) / self.samples for parts in maps]
        return Explanation(torch.cat(means), {"score": score})

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        method = self.method
        if not isinstance(method, Linearizable) or not method.linearizable:
            raise InputError(
                f"Expected a method that can be linearized, but {method} cannot, and so its mean over noise cannot; "
                "call SmoothGrad with targets instead."
            )
        if self.sigma is None:
            _say_units(model, inputs, self.scale)
        outputs = outputs_of(model, inputs)

        def part(cotangents: Tensor, variants: Tensor, rows: Tensor) -> Tensor:
            copies = variants.flatten(0, 1)
            with door.looked(copies):
                maps = for_rows(method, rows).linearize(select(model, rows), copies).pull(cotangents[:, rows])
            maps = self._powered(maps)
            return maps.reshape(len(maps), *variants.shape[:2], *maps.shape[2:]).sum(1)

        def pull(cotangents: Tensor) -> Tensor:
            blocks = self._copies(model, inputs)
            sums = [reduce(torch.add, (part(cotangents, *chunk) for chunk in chunks)) for chunks in blocks]
            return torch.cat(sums, 1) / self.samples

        return Linearization(outputs, mixes(pull))

    def _powered(self, maps: Tensor) -> Tensor:
        return maps.square() if self.of == "squares" else maps

    def _copies(self, model: nn.Module, inputs: Tensor) -> Iterator[Iterator[Chunk]]:
        sigma = _sigma(model, inputs, self.noise, self.scale, self.sigma)
        return _noisy_copies(inputs, self.samples, sigma, self.seed)


@METHODS.register("vargrad")
@dataclass(frozen=True, kw_only=True)
class VarGrad(Method):
    """The variance of a method's attributions over noisy copies of the input.

    R = (1/M) Σ_i (E(x + g_i) − Ē)², Ē the mean over i, g_i ~ N(0, σ²) i.i.d. a scalar, σ = noise × (max x − min x) of
    each sample, or σ_j = noise × scale_j of each feature; M = `samples`.

    Non-negative, in squared units of E, of E's shape; no sum rule and no linearization. The variance is divided by M
    (ddof 0) and accumulated around running means in E's dtype, so nothing cancels; in float32 it underflows where E
    varies by less than 1e-22. Diagnostic: `score` S_c(x) of the clean input. Cost: M times E's, and one forward pass.
    Fields as in SmoothGrad.

    Source: Adebayo et al. 2018, A.7, with the settings of its code: 25 copies, 0.15, np.var. (Captum's
    E[g²] − E[g]² cancels in float32.)

    >>> hp.methods.VarGrad(samples=5)(line, x, 1)
    tensor([[0., 0.]])
    """

    method: Method | Attribution = field(default=Gradient(), kw_only=False)  # a frozen value
    samples: int = 25
    noise: float = 0.15
    scale: tuple[float, ...] | None = None
    seed: int = 0
    sigma: float | tuple[float, ...] | Frozen | None = field(default=None, metadata=ADDED)
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _check(self.method, self.samples, self.noise, self.scale))
        object.__setattr__(self, "sigma", _check_sigma(self.sigma, self.scale))

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return self.samples * (self.method.cost(outputs, shape) if isinstance(self.method, Method) else 1.0)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        score = evaluate(model, inputs, targets)
        if self.sigma is None:
            _say_units(model, inputs, self.scale)
        sigma = _sigma(model, inputs, self.noise, self.scale, self.sigma)
        copies = _noisy_copies(inputs, self.samples, sigma, self.seed)
        maps = _maps(self.method, model, inputs, targets, copies)
        return Explanation(torch.cat([_variance(parts) for parts in maps]), {"score": score})


@METHODS.register("integrated-gradients-smoothgrad")
def integrated_gradients_smoothgrad() -> SmoothGrad:
    """SmoothGrad of Integrated Gradients: 25 copies as Adebayo et al., 20 nodes a copy where they take 50 steps."""
    return SmoothGrad(IntegratedGradients(steps=20), samples=25)


@METHODS.register("integrated-gradients-vargrad")
def integrated_gradients_vargrad() -> VarGrad:
    """VarGrad of Integrated Gradients: 25 copies as Adebayo et al., 20 nodes a copy where they take 50 steps."""
    return VarGrad(IntegratedGradients(steps=20), samples=25)


def _check(method: Attribution, samples: int, noise: float, scale: Sequence[float] | None) -> tuple[float, ...] | None:
    if not callable(method) or isinstance(method, type):
        raise InputError(f"Expected a method, such as IntegratedGradients(), but got {method!r}.")
    if samples < 1:
        raise InputError(f"Expected samples to be at least 1, but got {samples}.")
    if not 0 <= noise < float("inf"):
        raise InputError(f"Expected noise to be a share of the inputs' range, at least 0, but got {noise}.")
    if scale is None:
        return None
    ranges = tuple(float(one) for one in scale)  # a specification file gives a list of whatever numbers
    if not ranges or not all(0 <= one < float("inf") for one in ranges):
        raise InputError(f"Expected scale to be the range of each feature, finite and at least 0, but got {scale}.")
    return ranges


Sigma = float | tuple[float, ...] | Frozen


def _check_sigma(sigma: object, scale: Sequence[float] | None) -> Sigma | None:
    if sigma is None:
        return None
    if scale is not None:
        raise InputError("Expected sigma, σ itself, or scale, what noise is a share of, but got both.")
    if isinstance(sigma, bool | str):
        raise InputError(f"Expected sigma to be a number, numbers or a tensor, but got {sigma!r}.")
    values = Frozen(sigma).tensor.double()  # type: ignore[arg-type]  # which says what it is not
    if values.numel() == 0 or not bool(((values >= 0) & torch.isfinite(values)).all()):
        raise InputError(f"Expected sigma to be finite and at least 0, but got {sigma}.")
    if values.dim() == 0:
        return float(values)
    return tuple(values.tolist()) if isinstance(sigma, list | tuple) and values.dim() == 1 else Frozen(sigma)  # type: ignore[arg-type]


def _sigma(
    model: nn.Module, inputs: Tensor, noise: float, scale: Sequence[float] | None, sigma: Sigma | None
) -> Tensor:
    """σ, to multiply (N, …)."""
    if isinstance(sigma, float | Frozen):
        values = Frozen(sigma).tensor.to(inputs)
        try:
            return values.expand(inputs.shape[1:]).expand_as(inputs)
        except RuntimeError:
            raise InputError(
                f"Expected sigma to broadcast to a sample {tuple(inputs.shape[1:])}, but got {tuple(values.shape)}."
            ) from None
    if sigma is not None:
        noise, scale = 1.0, sigma
    if scale is None:
        flat = inputs.flatten(1)
        return noise * (flat.amax(1) - flat.amin(1)).view(-1, *[1] * (inputs.dim() - 1))
    axis = next(iter(feature_axes(model, inputs)), 1) if inputs.dim() > 2 else 1
    if len(scale) != inputs.shape[axis]:
        raise InputError(
            f"Expected {'scale' if sigma is None else 'sigma'} to have a number a column or channel, "
            f"{inputs.shape[axis]} of inputs {tuple(inputs.shape)}, but got {len(scale)}."
        )
    return noise * inputs.new_tensor(scale).view(-1, *[1] * (inputs.dim() - 1 - axis)).expand_as(inputs)


def _say_units(model: nn.Module, inputs: Tensor, scale: Sequence[float] | None) -> None:
    """Warn where columns or channels of a model's first batch have ranges so different that their units must differ."""
    origin = vars(model).get("origin", model)
    if scale is not None or len(inputs) < FEW or _looked.get(origin):  # type: ignore[no-untyped-call]
        return
    _looked[origin] = True
    axis = next(iter(axes_known(model, inputs) or ()), 1)
    columns = inputs.movedim(axis, 0).flatten(1)
    ranges = columns.amax(1) - columns.amin(1)
    varying = ranges[ranges > 0]
    if len(varying) > 1 and float(varying.max()) >= APART * float(varying.min()):
        warnings.warn(
            f"Expected features in one unit, as noise has one size a sample, but the ranges of columns or channels lie "
            f"between {float(varying.min()):.3g} and {float(varying.max()):.3g}: small ones drown in noise; give "
            "scale=(range of each), or bring inputs to one scale.",
            HeatproofWarning,
            stacklevel=2,
        )


def _noisy_copies(inputs: Tensor, samples: int, sigma: Tensor, seed: int) -> Iterator[Iterator[Chunk]]:
    """Blocks of samples; for each, chunks of its noisy copies that one pass takes together."""
    marks = draws.marks(inputs)
    for block, chunks in passes(inputs, samples):
        yield _chunks(inputs, block, chunks, marks[block], sigma[block], seed)


def _chunks(
    inputs: Tensor, block: slice, chunks: Iterable[range], marks: Tensor, sigma: Tensor, seed: int
) -> Iterator[Chunk]:
    clean = inputs[block]
    samples = torch.arange(block.start, block.stop, device=inputs.device)
    for chunk in chunks:
        noises = draws.normal(clean, seed, "noise", samples=marks, copies=chunk)
        yield Chunk(clean + sigma * noises, samples.repeat(len(chunk)))


def _maps(
    method: Attribution, model: nn.Module, inputs: Tensor, targets: Tensor, copies: Iterator[Iterator[Chunk]]
) -> Iterator[Iterator[Tensor]]:
    """The attributions (n, block, …) of every chunk of noisy copies, block by block."""

    def attribute(chunk: Chunk) -> Tensor:
        variants, rows = chunk
        noisy, labels = variants.flatten(0, 1), targets[rows]
        with door.looked(noisy, labels):
            maps = for_rows(method, rows)(select(model, rows), noisy, labels)
        broadcasts = maps.dim() == inputs.dim() and len(maps) == len(rows)
        if not broadcasts:
            raise InputError(
                f"Expected attributions that broadcast to {(len(rows), *inputs.shape[1:])}, but {method} gave "
                f"{tuple(maps.shape)}."
            )
        return maps.detach().reshape(*variants.shape[:2], *maps.shape[1:])

    for chunks in copies:
        yield map(attribute, chunks)


def _variance(parts: Iterator[Tensor]) -> Tensor:
    """The variance (ddof 0) over the first dimension of all parts together, merged as by Chan et al. 1979.

    Taken of the differences from the first map: maps that never vary have variance 0, not the rounding of their mean.
    """
    count, first, mean, squares = 0, torch.zeros(()), torch.zeros(()), torch.zeros(())
    for part in parts:
        if count == 0:
            first = part[0].clone()
        part = part - first
        own_mean = part.mean(0)
        own_squares = (part - own_mean).square().sum(0)
        if count == 0:
            count, mean, squares = len(part), own_mean, own_squares
            continue
        total = count + len(part)
        shift = own_mean - mean
        mean = mean + shift * (len(part) / total)
        squares = squares + own_squares + shift.square() * (count * len(part) / total)
        count = total
    return squares / count
