"""How a parameter is drawn anew."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.init import _calculate_fan_in_and_fan_out

from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.randomization.layers import Layer, Weight
from heatproof.registry import Registry

INITIALIZERS: "Registry[Initializer]" = Registry("initializer", "heatproof.randomization")


class Initializer(ABC):
    """A frozen dataclass that draws the weights of a layer anew, on the CPU.

    >>> hp.randomization.INITIALIZERS.names()
    ['default', 'he', 'permutation', 'truncated-normal', 'uniform']
    >>> isinstance(hp.randomization.He(), hp.randomization.Initializer)
    True
    """

    name: ClassVar[str]
    of_batch_norm: ClassVar[bool] = False  # whether it draws batch norms as well, which are reset otherwise

    @abstractmethod
    def draw(self, layer: Layer, seed: int) -> dict[str, Tensor]:
        """New values for every one of `layer.weights` by name, each in the shape of its tensor.

        They depend on the seed, this recipe, and the layer's and the weight's names alone: never on the stage, the
        order, or what else the network has.

        Raises: InputError if a weight cannot be drawn.
        """

    def check(self, layer: Layer) -> None:  # noqa: B027  # most initializers can draw anything
        """Raise InputError if it is plain, without drawing, that `layer` cannot be drawn."""

    def _key(self, seed: int, layer: Layer) -> tuple[int | str, ...]:
        return (seed, "randomization", self.name, layer.name)


class WeightByWeight(Initializer):
    """An initializer that draws each weight from a random stream of its own.

    >>> isinstance(hp.randomization.He(), hp.randomization.WeightByWeight)
    True
    >>> isinstance(hp.randomization.Default(), hp.randomization.WeightByWeight)  # a layer's own way draws it whole
    False
    """

    def draw(self, layer: Layer, seed: int) -> dict[str, Tensor]:
        key = self._key(seed, layer)
        return {weight.name: self._value(weight, *key, weight.name) for weight in layer.weights}

    def _value(self, weight: Weight, *key: int | str) -> Tensor:
        """`value`; of a complex weight real and imaginary part, each with half of the variance."""
        real = self.value(weight, generator(*key))
        if not weight.tensor.is_complex() or real.is_complex():
            return real
        return torch.complex(real, self.value(weight, generator(*key, "imaginary"))) / math.sqrt(2)

    @abstractmethod
    def value(self, weight: Weight, stream: torch.Generator) -> Tensor:
        """A new value of the shape of `weight.tensor`, drawn from `stream` in float32."""


@INITIALIZERS.register("truncated-normal")
@dataclass(frozen=True, kw_only=True)
class TruncatedNormal(WeightByWeight):
    """w ~ N(0, std²) given |w| ≤ 2·std: weights, biases and scales alike.

    As in TensorFlow, `std` is that of the normal before it is cut; what is drawn has a standard deviation of
    0.8796·std.

    Raises: InputError unless `std` is positive and finite.

    Source: Adebayo et al. 2018 appendix B (mean 0, std 0.01).

    >>> initializer = hp.randomization.TruncatedNormal(std=0.01)
    >>> with hp.randomization.Cascading(initializer=initializer).stages(net, images)[-1]:
    ...     bool(net[3].weight.abs().max() <= 0.02)
    ...
    True
    """

    name: ClassVar[str] = "truncated-normal"
    std: float = 0.01

    def __post_init__(self) -> None:
        _check_std(self.std)

    def value(self, weight: Weight, stream: torch.Generator) -> Tensor:
        # By inversion: w = σ√2·erf⁻¹(v·erf(√2)) with v uniform on (−1, 1).
        v = torch.rand(weight.tensor.shape, generator=stream, dtype=torch.float32) * 2 - 1
        cut = 2 * self.std
        return (torch.erfinv(v * math.erf(math.sqrt(2))) * (math.sqrt(2) * self.std)).clamp_(-cut, cut)


@INITIALIZERS.register("uniform")
@dataclass(frozen=True, kw_only=True)
class Uniform(WeightByWeight):
    """w ~ U(−√3·std, √3·std), whose standard deviation is `std`: weights, biases and scales alike.

    Raises: InputError unless `std` is positive and finite.

    Source: Adebayo et al. 2018 appendix B tries a uniform distribution, without a range; this has the same deviation
    as its normal distribution before the cut.

    >>> initializer = hp.randomization.Uniform(std=0.01)
    >>> with hp.randomization.Cascading(initializer=initializer).stages(net, images)[-1]:
    ...     bool(net[3].weight.abs().max() <= 0.01 * 3**0.5)
    ...
    True
    """

    name: ClassVar[str] = "uniform"
    std: float = 0.01

    def __post_init__(self) -> None:
        _check_std(self.std)

    def value(self, weight: Weight, stream: torch.Generator) -> Tensor:
        v = torch.rand(weight.tensor.shape, generator=stream, dtype=torch.float32) * 2 - 1
        return v * (math.sqrt(3) * self.std)


@INITIALIZERS.register("he")
@dataclass(frozen=True, kw_only=True)
class He(WeightByWeight):
    """w ~ N(0, 2 / fan-in), biases 0.

    Fan-in is what torch.nn.init counts: the second dimension times the positions of a kernel, also for a transposed
    convolution, an embedding table, or a bare parameter of two dimensions and more; for a matrix that a product takes
    on its right, the rows. Of a pruned weight it counts what the mask lets through, on average. A scale of fewer
    dimensions that is no bias (layer norm, layer scale) multiplies one number: its fan-in is 1. A weight is a bias if
    its name or its operation says so.

    Source: He et al. 2015, eq. 10, biases after eq. 10; used by Binder et al. 2023 A.1.

    >>> with hp.randomization.Cascading(initializer="he").stages(net, images)[-1]:
    ...     net[0].bias.tolist()
    ...
    [0.0, 0.0, 0.0, 0.0]
    """

    name: ClassVar[str] = "he"

    def value(self, weight: Weight, stream: torch.Generator) -> Tensor:
        shape = weight.tensor.shape
        if weight.bias or "bias" in weight.name:
            return torch.zeros(shape)
        counted = _calculate_fan_in_and_fan_out(weight.tensor)[0] if len(shape) > 1 else 1
        fan_in = (weight.fan_in or counted) * weight.density
        return torch.randn(shape, generator=stream, dtype=torch.float32) * math.sqrt(2 / fan_in)


@INITIALIZERS.register("permutation")
@dataclass(frozen=True, kw_only=True)
class Permutation(WeightByWeight):
    """The trained values of each weight in random order, within itself; a batch norm's tensors alike.

    A weight whose values are all equal stays as it is.

    None of the papers tries it: it keeps each layer's own distribution and destroys only what stands where.

    >>> before = net[3].weight.detach().flatten().sort().values
    >>> with hp.randomization.Cascading(initializer="permutation").stages(net, images)[-1]:
    ...     torch.equal(net[3].weight.detach().flatten().sort().values, before)
    ...
    True
    """

    name: ClassVar[str] = "permutation"
    of_batch_norm: ClassVar[bool] = True

    def value(self, weight: Weight, stream: torch.Generator) -> Tensor:
        trained = weight.tensor.detach().cpu()
        return trained.flatten()[torch.randperm(trained.numel(), generator=stream)].reshape(trained.shape)


@INITIALIZERS.register("default")
@dataclass(frozen=True, kw_only=True)
class Default(Initializer):
    """What the layer's own `reset_parameters` draws, on a throw-away copy of that module.

    `fallback` draws the weights that the layer's module cannot reset: bare parameters (class tokens, position
    embeddings), parametrized weights. Without it such a weight is an error, for it would stay trained.

    Attention counts in two layers, as torch registers it: its projections of query, key and value, and its output
    projection, a linear layer.

    >>> with hp.randomization.Cascading(initializer="default").stages(net, images)[-1]:
    ...     bool(net[0].weight.abs().max() <= 1 / 3)
    ...
    True
    """

    name: ClassVar[str] = "default"
    fallback: WeightByWeight | None = None

    def check(self, layer: Layer) -> None:
        if layer.weights and self.fallback is None and _own_reset(layer.module) is None:
            raise self._stays_trained(layer, layer.weights)

    def draw(self, layer: Layer, seed: int) -> dict[str, Tensor]:
        if not layer.weights:
            return {}
        values = self._reset(layer, seed)
        missed = [weight for weight in layer.weights if weight.name not in values]
        if missed and self.fallback is None:
            raise self._stays_trained(layer, missed)
        if missed and self.fallback is not None:
            key = (*self._key(seed, layer), self.fallback.name)
            values |= {weight.name: self.fallback._value(weight, *key, weight.name) for weight in missed}
        return values

    def _stays_trained(self, layer: Layer, missed: Sequence[Weight]) -> InputError:
        return InputError(
            f"Expected layer {layer.name!r} ({type(layer.module).__name__}) to reset its own parameters, but it does "
            f"not set {', '.join(weight.name for weight in missed)}, which would stay trained; "
            "choose initializer='he', or Default(fallback=TruncatedNormal(std=0.02))."
        )

    def _reset(self, layer: Layer, seed: int) -> dict[str, Tensor]:
        """The values that the module's own reset sets: NaN goes in, and what comes out finite was set."""
        name = _own_reset(layer.module)
        if name is None:
            return {}
        twin = copy.deepcopy(layer.module).to("cpu", torch.float32)
        parameters = dict(twin.named_parameters())
        own = {w.name: parameters[w.name] for w in layer.weights if w.name in parameters and not w.tensor.is_complex()}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for value in own.values():
                value.fill_(math.nan)
            # Not torch.manual_seed, which reaches the accelerators' generators too.
            torch.default_generator.manual_seed(generator(*self._key(seed, layer)).initial_seed())
            getattr(twin, name)()
        return {name: value.detach() for name, value in own.items() if not bool(value.isnan().any())}


# What these draw depends on names, shapes and the seed alone, whatever the model holds; of a class derived from one
# that is not known.
BY_NAME = (TruncatedNormal, Uniform, He)


def _check_std(std: float) -> None:
    if not (math.isfinite(std) and std > 0):
        raise InputError(f"Expected a positive, finite standard deviation (std), but got {std!r}.")


def _own_reset(module: nn.Module) -> str | None:
    return next((name for name in ("reset_parameters", "_reset_parameters") if hasattr(module, name)), None)
