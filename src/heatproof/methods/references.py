"""Methods with many baselines in place of one: the mean over a distribution of what stands for a missing feature."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from functools import partial, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof import door, draws
from heatproof.baselines import Rows, Values
from heatproof.errors import InputError
from heatproof.frozen import Frozen
from heatproof.methods.backward import gradients
from heatproof.methods.base import METHODS, Linearizable, Linearization, Method, mixes, outputs_of, passes
from heatproof.methods.path import IntegratedGradients
from heatproof.models import select


@METHODS.register("over-baselines")
@dataclass(frozen=True, kw_only=True)
class OverBaselines(Linearizable):
    """The mean of a method's attributions over several baselines.

    R = (1/K) Σ_k E(x; x̄_k), with E's own baseline replaced by each of `baselines` (K, …), or over `samples` of them,
    drawn for each sample with replacement. With DeepLIFT it is what is known as DeepSHAP (Lundberg & Lee 2017).

    Sign, unit and shape are those of E; where E is complete, ΣR = S_c(x) − the mean of S_c(x̄_k) over those taken.
    Linear and linearizable as E is. Diagnostic: `score`. Cost: as many times E's as there are baselines, or draws.

    Args:
        method: E, a method with a `baseline`, or one around such a method (`SmoothGrad(IntegratedGradients())`).
        baselines: (K, …), rows like samples, such as some of the training data: a tensor, an array or a file; (K,)
            are numbers that stand for every feature.
        samples: how many are drawn for a sample; by default all are taken, each once.
        seed: of the draws, which depend on the sample's values as well, and on nothing else.

    Raises: InputError for a method without a baseline, or baselines that are no samples.

    >>> hp.methods.OverBaselines(hp.methods.DeepLIFT(), baselines=torch.tensor([[0.0, 0.0], [1.0, 1.0]]))(line, x, 1)
    tensor([[1.5000, 2.0000]])
    """

    method: Method = field(default=IntegratedGradients(), kw_only=False)  # a frozen value
    baselines: Frozen = field(default_factory=lambda: Frozen([0.0]))
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _checked(self)
        if _with_baseline(self.method, Values(Frozen(0.0))) is None:
            raise InputError(f"Expected a method with a baseline, such as DeepLIFT(), but got {self.method}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return self._count * self.method.cost(outputs, shape)

    @property
    def linearizable(self) -> bool:
        return self.method.linearizable

    @property
    def linear(self) -> bool:
        return isinstance(self.method, Linearizable) and self.method.linear

    @property
    def _count(self) -> int:
        return self.samples or len(self.baselines)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        method = self.method
        if not isinstance(method, Linearizable) or not method.linearizable:
            raise InputError(f"Expected a method that can be linearized, but got {method}.")
        outputs = outputs_of(model, inputs)

        def maps(cotangents: Tensor, chunk: _Chunk) -> Tensor:
            explained = _with_baseline(method, Rows(chunk.baselines))
            assert isinstance(explained, Linearizable)
            copies = inputs[chunk.rows]
            with door.looked(copies):
                return explained.linearize(select(model, chunk.rows), copies).pull(cotangents[:, chunk.rows])

        return Linearization(outputs, mixes(partial(_mean, self, self._count, inputs, maps)))

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor | None:
        if self.samples is not None or not isinstance(self.method, Linearizable):
            return None
        total = torch.zeros_like(outputs)
        for row in _rows(self.baselines, inputs):
            one = _with_baseline(self.method, Values(Frozen(row)))
            assert one is not None
            promised = one.promised_sums(model, inputs, outputs)
            if promised is None:
                return None
            total = total + promised
        return total / self._count


@METHODS.register("expected-gradients")
@dataclass(frozen=True, kw_only=True)
class ExpectedGradients(Linearizable):
    """The gradient at random places between random baselines and the input, times their difference, on average.

    R = (1/M) Σ_i (x − x̄_i) ⊙ ∂S_c(x̄_i + a_i(x − x̄_i))/∂x, x̄_i drawn from `baselines` (K, …), a_i from [0, 1).

    An estimate of Integrated Gradients averaged over the baselines; known as GradientSHAP where a SmoothGrad with
    `sigma` around it adds noise. Signed, in units of the score, shape of the inputs; ΣR tends to S_c(x) − mean S_c(x̄_k)
    as M grows. Linear. Diagnostic: `score`. Cost: `samples` forward and backward passes, and one forward pass.

    Args:
        baselines: (K, …), rows like samples, such as some of the training data: a tensor, an array or a file; (K,)
            are numbers that stand for every feature.
        samples: M.
        multipliers: leave out the factor x − x̄: units of score per input unit.
        seed: of the draws, which depend on the sample's values as well, and on nothing else.

    Source: Erion et al. 2021, eq. 3; Lundberg & Lee 2017.

    >>> hp.methods.ExpectedGradients(baselines=torch.zeros(3, 2), samples=5)(line, x, 1)
    tensor([[3., 4.]])
    """

    baselines: Frozen = field(default_factory=lambda: Frozen([0.0]))
    samples: int = 50
    multipliers: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _checked(self)

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(self.samples)

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        outputs = outputs_of(model, inputs)
        like = inputs.new_empty(len(inputs), self.samples)
        places = (draws.uniform(like, self.seed, "place", samples=draws.marks(inputs)) + 1) / 2

        def maps(cotangents: Tensor, chunk: _Chunk) -> Tensor:
            taken = torch.arange(chunk.taken.start, chunk.taken.stop, device=inputs.device)
            at = places[chunk.rows.view(len(taken), -1), taken[:, None]].flatten()
            difference = inputs[chunk.rows] - chunk.baselines
            points = chunk.baselines + at.view(-1, *[1] * (inputs.dim() - 1)) * difference
            _, back = gradients(model, points, chunk.rows)
            found = torch.stack([back(cotangent[chunk.rows]) for cotangent in cotangents])
            return found if self.multipliers else found * difference

        return Linearization(outputs, mixes(partial(_mean, self, self.samples, inputs, maps)))


class _Chunk(NamedTuple):
    """What one pass takes together: of some samples the draws number `taken`, all samples of one draw after another.

    `rows` (taken · samples,) are the samples, and `baselines` (taken · samples, …) theirs.
    """

    rows: Tensor
    baselines: Tensor
    taken: range


def _mean(
    recipe: "OverBaselines | ExpectedGradients",
    count: int,
    inputs: Tensor,
    maps: Callable[[Tensor, _Chunk], Tensor],
    cotangents: Tensor,
) -> Tensor:
    """The mean over `count` draws of the maps (L, taken · samples, …) of each chunk: (L, N, …)."""

    def summed(chunk: _Chunk) -> Tensor:
        found = maps(cotangents, chunk)
        return found.reshape(len(found), len(chunk.taken), -1, *found.shape[2:]).sum(1)

    blocks = _drawn(recipe.baselines, inputs, count, recipe.samples, recipe.seed)
    return torch.cat([reduce(torch.add, map(summed, chunks)) for chunks in blocks], 1) / count


def _checked(recipe: Any) -> None:
    object.__setattr__(recipe, "baselines", Frozen(recipe.baselines))
    if not recipe.baselines.shape or not len(recipe.baselines):
        raise InputError(f"Expected baselines (K, …), rows like samples, but got {recipe.baselines}.")
    values = recipe.baselines.tensor
    if values.dtype == torch.bool or not bool(torch.isfinite(values.double()).all()):
        raise InputError("Expected finite numbers as baselines, but got some that are not.")
    if recipe.samples is not None and recipe.samples < 1:
        raise InputError(f"Expected samples to be at least 1, but got {recipe.samples}.")


def _with_baseline(method: Any, baseline: Any) -> Method | None:
    """The method, or the one inside it, with another baseline; None where there is none to replace."""
    if not is_dataclass(method) or isinstance(method, type):
        return None
    if hasattr(method, "baseline"):
        return replace(method, baseline=baseline)  # type: ignore[return-value]  # a method as it was
    inner = _with_baseline(getattr(method, "method", None), baseline)
    return None if inner is None else replace(method, method=inner)  # type: ignore[return-value]  # likewise


def _rows(baselines: Frozen, inputs: Tensor) -> Tensor:
    """Baselines (K, …) like samples."""
    values = baselines.tensor.to(inputs)
    try:
        missing = [1] * (inputs.dim() - values.dim())
        return values.view(len(values), *missing, *values.shape[1:]).expand(-1, *inputs.shape[1:])
    except RuntimeError:
        raise InputError(
            f"Expected baselines (K, …) that broadcast to samples {tuple(inputs.shape[1:])}, but got {baselines.shape}."
        ) from None


def _drawn(baselines: Frozen, inputs: Tensor, count: int, samples: int | None, seed: int) -> Iterator[Iterator[_Chunk]]:
    """Blocks of samples; of each, its chunks of draws."""
    rows = _rows(baselines, inputs)
    if samples is None:
        picks = torch.arange(count, device=inputs.device).expand(len(inputs), -1)
    else:
        picks = draws.integers(len(rows), (count,), seed, "baseline", samples=draws.marks(inputs))
    for block, chunks in passes(inputs, count):
        at = torch.arange(block.start, block.stop, device=inputs.device)
        yield (
            _Chunk(at.repeat(len(chunk)), rows[picks[block, chunk.start : chunk.stop].T.flatten()], chunk)
            for chunk in chunks
        )
