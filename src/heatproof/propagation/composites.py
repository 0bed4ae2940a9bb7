"""Which LRP rule where: by the kind of operation and its place, never by a module's name.

Binder et al. 2023 print no table of their LRP settings, but β* ≤ 3 (A.2); the rest stands in the code they published.
Their composites are named here for what the networks do, not for what they are called:

- `binder-residual` (their network of residual sums; the one of depthwise convolutions, of the same parts, has no
  published settings): β = 0 on convolutions, biases ignored; an absolute ε = 1e-6 on dense layers, average pooling and
  residual sums; max-pooling its winner.
- `binder-concatenated` (their network of concatenations): the same with ε = 1e-3 in average pooling.
- `…-adaptive`: the same with the adaptive β* on convolutions, as coded (β = 0 where z ≤ 0).

Deviations: their batch norms are folded beforehand (a threshold and a tensor-valued bias where a ReLU lies between),
here as they are called, which is the same in exact arithmetic; relevance passes swish as f(x)/x, and a gate of
squeeze-and-excitation gets none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from heatproof.errors import InputError, unknown
from heatproof.fields import ADDED
from heatproof.propagation.first_rules import Box, FirstRule, Flat
from heatproof.propagation.rules import AdaptiveBeta, AlphaBeta, Epsilon, Gamma, Rule, z_plus
from heatproof.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Composite:
    """The rules of an LRP.

    Args:
        convolution: for convolutions of any dimension, transposed ones too.
        dense: for `linear` and products with a constant matrix.
        first: for linear operations that see the explained input itself; None takes the rule of their kind.
        batch_norm: `fold` folds scale and shift into the linear operation before it, and elsewhere carries the shift
            along as a constant part; `pass` hands relevance through unchanged.
        gates: the elementwise product of a signal and a gate (made by a sigmoid, hard sigmoid or softmax). `signal`
            gives all relevance to the signal (Arras et al. 2017); `uniform` gives each factor half, as every other
            product of two values does (Achtibat et al. 2024, eq. 15).
        layers: other rules for some linear operations, by the name of the module that calls them, as in `named_modules`
            of the network inside a Bound: {"features.0": Gamma(), "classifier": Pass()}. They come before `first`.
        pooling_epsilon, sum_epsilon: the ε of the ε-rule in average pooling, and in sums of two tensors that depend on
            the input, in units of their values; 0 shares in proportion to the values, all of it.
    """

    convolution: Rule
    dense: Rule
    first: FirstRule | None = None
    batch_norm: str = "fold"
    gates: str = "signal"
    pooling_epsilon: float = 0.0
    sum_epsilon: float = 0.0
    layers: Mapping[str, Rule] | tuple[tuple[str, Rule], ...] = field(default=(), metadata=ADDED)

    def stabilized(self, stabilizer: str) -> "Composite":
        """The same composite with every rule's ε `relative` to the layer's own size, or `absolute`."""
        first = None if self.first is None else replace(self.first, stabilizer=stabilizer)
        convolution, dense = (replace(rule, stabilizer=stabilizer) for rule in (self.convolution, self.dense))
        layers = {name: replace(rule, stabilizer=stabilizer) for name, rule in self.by_name.items()}
        return replace(self, convolution=convolution, dense=dense, first=first, layers=layers)

    @property
    def by_name(self) -> dict[str, Rule]:
        """The rules of named layers."""
        return dict(self.layers)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(sorted(dict(self.layers).items())))
        for name, rule in self.by_name.items():
            if not isinstance(rule, Rule) or not isinstance(name, str):
                raise InputError(
                    f"Expected a rule such as Gamma() for each named layer, but got {rule!r} for {name!r}."
                )
        for name, value, known in (
            ("batch_norm", self.batch_norm, ("fold", "pass")),
            ("gates", self.gates, ("signal", "uniform")),
        ):
            if value not in known:
                raise InputError(f"Expected {name} to be one of {', '.join(known)}, but got {value!r}.")
        if min(self.pooling_epsilon, self.sum_epsilon) < 0:
            raise InputError(
                "Expected pooling_epsilon and sum_epsilon to be at least 0, but got "
                f"{self.pooling_epsilon} and {self.sum_epsilon}."
            )


_EPSILON, _PLUS, _ALPHA2 = Epsilon(), z_plus(), AlphaBeta(alpha=2.0, beta=1.0)


def _binder(convolution: Rule, pooling_epsilon: float) -> Composite:
    rules = Composite(convolution=convolution, dense=_EPSILON, pooling_epsilon=pooling_epsilon, sum_epsilon=1e-6)
    return rules.stabilized("absolute")


_CODED = AdaptiveBeta(dominated="code")

COMPOSITES: Mapping[str, Composite] = MappingProxyType(
    {
        "epsilon": Composite(convolution=_EPSILON, dense=_EPSILON),
        "epsilon-plus": Composite(convolution=_PLUS, dense=_EPSILON),
        "epsilon-plus-flat": Composite(convolution=_PLUS, dense=_EPSILON, first=Flat()),
        "epsilon-gamma-box": Composite(convolution=Gamma(), dense=_EPSILON, first=Box()),
        "epsilon-alpha2-beta1": Composite(convolution=_ALPHA2, dense=_EPSILON),
        "epsilon-alpha2-beta1-flat": Composite(convolution=_ALPHA2, dense=_EPSILON, first=Flat()),
        "alpha1-beta0": Composite(convolution=_PLUS, dense=_PLUS),
        # Schulz et al. 2020 call these α1β0 and α0β−1, both with ε = 5, and name the second one "β = 1".
        "alpha1-beta0-epsilon5": Composite(
            convolution=AlphaBeta(alpha=1.0, beta=0.0, epsilon=5.0, lone="conserving"), dense=Epsilon(epsilon=5.0)
        ).stabilized("absolute"),
        "alpha0-beta-1-epsilon5": Composite(
            convolution=AlphaBeta(alpha=0.0, beta=-1.0, epsilon=5.0, lone="conserving"), dense=Epsilon(epsilon=5.0)
        ).stabilized("absolute"),
        "adaptive-beta": Composite(convolution=AdaptiveBeta(), dense=_EPSILON),
        "binder-residual": _binder(_PLUS, 1e-6),
        "binder-concatenated": _binder(_PLUS, 1e-3),
        "binder-residual-adaptive": _binder(_CODED, 1e-6),
        "binder-concatenated-adaptive": _binder(_CODED, 1e-3),
        "deep-taylor": Composite(convolution=_PLUS, dense=_PLUS, first=Box()),
    }
)


BY_NAME: Registry[Composite] = Registry("composite", "heatproof.propagation.composites")
for _name, _composite in COMPOSITES.items():
    BY_NAME.register(_name)(partial(replace, _composite))


def composite(named: "str | Composite") -> Composite:
    """The composite of that name, or the one given."""
    if isinstance(named, Composite):
        return named
    if named not in COMPOSITES:
        raise unknown("composite", named, COMPOSITES)
    return COMPOSITES[named]
