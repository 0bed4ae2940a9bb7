"""LRP's rules for linear operations: each a few lines that return a surrogate.

z = Σ_i w_i x_i + b is one neuron, g the derivative that comes back to it, R = z·g its relevance. A surrogate s is a
function of x (or of the mask m on the input) with x_i · ∂s/∂x_i = R_i / g: its ordinary derivative times x is the
rule's relevance. It is a list of terms: a part, linear in x, times a factor that is held. Every rule keeps the sum
(Σ_i R_i = R) up to its stabilizer, the bias's share, and neurons that have no contribution of the sign that it shares
among.

ε is a share of the layer's own size (`stabilizer="relative"`): of the mean magnitude of a sample's denominators in that
layer, biases left out, or the bias of −10⁹ that masks one label would take the relevance of all others. So a network
without biases hands back c times the relevance for c times the input, and what is tiny is not swept away. With
`stabilizer="absolute"` ε is a number, as Bach et al. write it and Zennit has it: it takes most of the relevance where
outputs are as small as it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.fields import ADDED
from heatproof.propagation.linear import Linear
from heatproof.propagation.stabilizers import Stabilizer, check_stabilizer
from heatproof.propagation.sums import damping, negative, parts, positive, share
from heatproof.propagation.terms import Share, Term
from heatproof.registry import Registry

BIASES = ("counted", "ignored")
RULES: "Registry[Rule]" = Registry("rule", "heatproof.propagation.rules")  # names in a spec


@RULES.register("pass")
@dataclass(frozen=True, kw_only=True)
class Pass:
    """R_i = R: relevance goes through a layer as it is, where outputs and inputs have one shape (Zennit's Pass)."""

    stabilizer: str = "relative"


@RULES.register("epsilon")
@dataclass(frozen=True, kw_only=True)
class Epsilon:
    """R_i = w_i x_i / (z + ε·sign z) · R. The bias counts: without it the denominator may have any sign.

    With `bias="ignored"` z is Σ_i w_i x_i: nothing is lost to the bias, and shares may be of any size.

    Source: Bach et al. 2015, eq. 58; Ancona et al. 2018, eq. 2 (with the bias once).
    """

    epsilon: float = 1e-6
    stabilizer: str = "relative"
    bias: str = field(default="counted", metadata=ADDED)

    def __post_init__(self) -> None:
        check_stabilizer(self)
        _check_bias(self.bias)

    def factor(self, op: Linear, y: Tensor) -> Tensor:
        """(z + b) / (z + ε·sign z), what the plain derivative is multiplied with; b is in z where it counts."""
        if self.bias == "ignored" and (offset := op.offset()) is not None:
            alone = y - offset
            return share(y, alone, stabilizer_of(self, op).of(alone) if self.epsilon else 0.0)
        if self.epsilon == 0:
            return y.new_ones(())
        by = stabilizer_of(self, op)
        return damping(y, by.of(y if op.bias is None or by.over is None else y - op.bias))


@RULES.register("alpha-beta")
@dataclass(frozen=True, kw_only=True)
class AlphaBeta:
    """R_i = (α·(w_i x_i)₊ / Σ(wx)₊ − β·(w_i x_i)₋ / Σ(wx)₋) · R with α − β = 1; z⁺ is α = 1, β = 0.

    Args:
        bias: `ignored`, or `counted`: its positive part joins Σ(wx)₊, its negative part Σ(wx)₋.
        lone: neurons with contributions of one sign only. `plain` keeps α and −β (the formula); `conserving` gives
            that sign the coefficient 1 (the LRP code behind Schulz et al. 2020).

    Source: Bach et al. 2015, eq. 60.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6
    bias: str = "ignored"
    lone: str = "plain"
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)
        _check_bias(self.bias)
        if abs(self.alpha - self.beta - 1) > 1e-9:
            raise InputError(f"Expected α − β = 1, but got α = {self.alpha} and β = {self.beta}.")
        if self.lone not in ("plain", "conserving"):
            raise InputError(f"Expected lone to be 'plain' or 'conserving', but got {self.lone!r}.")

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> Sequence[Term | Share]:
        """α·zp·(z/Σ₊) − β·zn·(z/Σ₋)."""
        up, down = parts(op, x, both=self.beta != 0 or self.lone == "conserving")
        offset = op.offset() if self.bias == "counted" else None
        rise, fall = (None, None) if offset is None else (positive(offset), negative(offset))
        alpha: float | Tensor = self.alpha
        beta: float | Tensor = self.beta
        if self.lone == "conserving" and down is not None:
            alpha = torch.where(_sum(down, fall) == 0, 1.0, self.alpha).to(y.dtype)
            beta = torch.where(_sum(up, rise) == 0, -1.0, self.beta).to(y.dtype)
        by = stabilizer_of(self, op)
        terms = [Share(part=up, amount=y, stabilizer=by, bias=rise, coefficient=alpha)]
        if down is not None:
            terms.append(Share(part=down, amount=y, stabilizer=by, bias=fall, coefficient=-beta, below=True))
        return terms


def _sum(part: Tensor, bias: Tensor | None) -> Tensor:
    return part.detach() if bias is None else part.detach() + bias


@RULES.register("z-plus")
def z_plus(*, epsilon: float = 1e-6, bias: str = "ignored") -> AlphaBeta:
    """The z⁺ rule: R_i = (w_i x_i)₊ / Σ(wx)₊ · R (Montavon et al. 2017), also for inputs of any sign."""
    return AlphaBeta(alpha=1.0, beta=0.0, epsilon=epsilon, bias=bias)


def beta_rule(beta: float, *, epsilon: float = 1e-6, bias: str = "ignored") -> AlphaBeta:
    """LRP-β: positive contributions get 1 + β, negative ones −β (Binder et al. 2023, F.3, eq. 52)."""
    return AlphaBeta(alpha=1.0 + beta, beta=beta, epsilon=epsilon, bias=bias)


@RULES.register("adaptive-beta")
@dataclass(frozen=True, kw_only=True)
class AdaptiveBeta:
    """LRP-β with a β for each neuron: β/(1+β) = M/P, P = Σ(wx)₊, M = −Σ(wx)₋, so β = M/(P − M), at most `maximum`.

    Args:
        dominated: neurons with P ≤ M. `limit` takes the maximum, which β tends to as P → M; `code` takes 0 where
            z ≤ 0 and otherwise divides by z, which has the bias, as Binder's published code does.

    Source: Binder et al. 2023, A.2, eq. 1 and β* = min(β, 3). Deviation: the printed eq. 2 has P + M in the
    denominator, which does not solve eq. 1.
    """

    maximum: float = 3.0
    epsilon: float = 1e-6
    dominated: str = "limit"
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)
        if self.dominated not in ("limit", "code"):
            raise InputError(f"Expected dominated to be 'limit' or 'code', but got {self.dominated!r}.")

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> Sequence[Term | Share]:
        """(1+β)·zp·(z/Σ₊) − β·zn·(z/Σ₋), β held as well."""
        up, down = parts(op, x)
        assert down is not None
        above, below = up.detach(), down.detach()
        least = torch.finfo(y.dtype).tiny
        rest = (above + below).clamp_(min=least) if self.dominated == "limit" else y.clamp(min=least)
        # P ≤ M divides by next to nothing and meets the maximum; M = 0 stays 0.
        beta = torch.div(below, rest, out=rest).neg_().clamp_(max=self.maximum)
        if self.dominated == "code":
            beta.mul_(torch.gt(y, 0, out=torch.empty_like(y)))  # `where` takes ten times as long
        by = stabilizer_of(self, op)
        return [
            Share(part=up, amount=y, stabilizer=by, coefficient=1 + beta),
            Share(part=down, amount=y, stabilizer=by, coefficient=beta.neg_(), below=True),  # 1 + β is taken already
        ]


@RULES.register("gamma")
@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Contributions of the neuron's own sign count 1 + γ times: R_i = c_i / Σ c · R with c_i = w_i x_i + γ·(w_i x_i)_±.

    ± is the sign of z; for x ≥ 0 and z > 0 this is w + γ·w₊. Source: Montavon et al. 2019, §10.2.3, and its
    generalization to inputs of any sign (Andéol et al. 2021).
    """

    gamma: float = 0.25
    epsilon: float = 1e-6
    bias: str = "counted"
    stabilizer: str = "relative"

    def __post_init__(self) -> None:
        check_stabilizer(self)
        _check_bias(self.bias)

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> Sequence[Term | Share]:
        """Σ c with the favored sign that of z, times the held z/Σ c."""
        up, down = parts(op, x, gamma=self.gamma, both=not op.rectified)
        by, either = stabilizer_of(self, op), self.bias == "ignored"  # then Σ c may have the other sign than z
        offset = None if either else op.offset()

        def term(part: Tensor, sign: Callable[[Tensor], Tensor], *, below: bool) -> Share:
            bias = None if offset is None else offset + self.gamma * sign(offset)
            amount = y if op.rectified else sign(y)
            return Share(part=part, amount=amount, stabilizer=by, bias=bias, below=below, mixed=True, either=either)

        risen = term(up, positive, below=False)
        return [risen] if down is None else [risen, term(down, negative, below=True)]


def stabilizer_of(rule: Any, op: Linear) -> Stabilizer:
    """What a rule's `epsilon` and `stabilizer` say for an operation."""
    return Stabilizer(rule.epsilon, op.outputs() if rule.stabilizer == "relative" else None)


Rule = Epsilon | AlphaBeta | AdaptiveBeta | Gamma | Pass


def _check_bias(bias: str) -> None:
    if bias not in BIASES:
        raise InputError(f"Expected bias to be 'counted' or 'ignored', but got {bias!r}.")
