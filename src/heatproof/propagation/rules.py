"""LRP's rules for linear operations: each a few lines that return a surrogate.

z = Σ_i w_i x_i + b is one neuron, g the derivative that comes back to it, R = z·g its relevance. A surrogate s is a
function of x (or of the mask m on the input) with x_i · ∂s/∂x_i = R_i / g: its ordinary derivative times x is the
rule's relevance. It is a list of terms: a part, linear in x, times a factor that is held. Every rule keeps the sum
(Σ_i R_i = R) up to its stabilizer, the bias's share, and neurons that have no contribution of the sign that it shares
among.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from heatproof.errors import InputError
from heatproof.propagation.linear import Linear
from heatproof.propagation.nodes import Term

BIASES = ("counted", "ignored")


class LinearRule(Protocol):
    """A rule for a linear operation. `of_value`: its surrogate is the plain value times a factor."""

    of_value: ClassVar[bool]


def share(amount: Tensor, total: Tensor, epsilon: float) -> Tensor:
    """amount / (total + ε·sign total) with sign(0) = +1, and 0/0 = 0."""
    stabilized = torch.where(total >= 0, total + epsilon, total - epsilon)
    if epsilon > 0:
        return amount / stabilized
    return torch.where(stabilized == 0, 0.0, amount / stabilized)


def positive(t: Tensor) -> Tensor:
    """The positive part."""
    return t.clamp(min=0)


def negative(t: Tensor) -> Tensor:
    """The negative part (≤ 0)."""
    return t.clamp(max=0)


def parts(op: Linear, x: Tensor, *, gamma: float | None = None, both: bool = True) -> tuple[Tensor, Tensor | None]:
    """The sums of positive and, if `both` are asked for, of negative contributions.

    With `gamma`, both are sums of all contributions, where those of one sign count 1 + γ times.
    """
    weight = op.weight
    above = weight.clamp(min=0) if gamma is None else weight + gamma * weight.clamp(min=0)
    signed = bool(x.amin() < 0)
    if not signed and not both:  # after a ReLU half of the work vanishes
        return op.apply(x, above), None
    below = weight.clamp(max=0) if gamma is None else weight + gamma * weight.clamp(max=0)
    if not signed:
        return op.apply(x, above), op.apply(x, below)
    risen, fallen = positive(x), negative(x)
    up = op.apply(risen, above) + op.apply(fallen, below)
    return up, op.apply(risen, below) + op.apply(fallen, above) if both else None


def denominators(op: Linear, up: Tensor, down: Tensor | None, bias: str) -> tuple[Tensor, Tensor]:
    """Σ(wx)₊ and Σ(wx)₋ (0 where it is not needed), each with its part of the bias if that is counted."""
    above = up.detach()
    below = torch.zeros((), dtype=up.dtype, device=up.device) if down is None else down.detach()
    offset = op.offset() if bias == "counted" else None
    return (above, below) if offset is None else (above + positive(offset), below + negative(offset))


def share_of_sum(amount: Tensor, total: Tensor, epsilon: float) -> Tensor:
    """`share` where the total's sign is known: total ≥ 0 for ε > 0, total ≤ 0 for ε < 0."""
    if epsilon == 0:
        return share(amount, total, 0.0)
    stabilized = total + epsilon
    return torch.div(amount, stabilized, out=stabilized) if stabilized.shape == amount.shape else amount / stabilized


@dataclass(frozen=True, kw_only=True)
class Epsilon:
    """R_i = w_i x_i / (z + ε·sign z) · R. The bias counts: without it the denominator may have any sign.

    Source: Bach et al. 2015, eq. 58; Ancona et al. 2018, eq. 2 (with the bias once).
    """

    epsilon: float = 1e-6
    of_value: ClassVar[bool] = True

    def factor(self, y: Tensor) -> Tensor:
        """z / (z + ε·sign z), what the plain derivative is multiplied with."""
        return share(y, y, self.epsilon) if self.epsilon else torch.ones_like(y)


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
    of_value: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_bias(self.bias)
        if abs(self.alpha - self.beta - 1) > 1e-9:
            raise InputError(f"Expected α − β = 1, but got α = {self.alpha} and β = {self.beta}.")
        if self.lone not in ("plain", "conserving"):
            raise InputError(f"Expected lone to be 'plain' or 'conserving', but got {self.lone!r}.")

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> list[Term]:
        """α·zp·(z/Σ₊) − β·zn·(z/Σ₋)."""
        both = self.beta != 0 or self.lone == "conserving"
        up, down = parts(op, x, both=both)
        above, below = denominators(op, up, down, self.bias)
        rising, falling = share_of_sum(y, above, self.epsilon), share_of_sum(y, below, -self.epsilon)
        alpha: float | Tensor = self.alpha
        beta: float | Tensor = self.beta
        if self.lone == "conserving":
            alpha = torch.where(below == 0, 1.0, self.alpha).to(y.dtype)
            beta = torch.where(above == 0, -1.0, self.beta).to(y.dtype)
        terms = [Term(up, rising if isinstance(alpha, float) and alpha == 1 else alpha * rising)]
        return terms if down is None else [*terms, Term(down, -beta * falling)]


def z_plus(*, epsilon: float = 1e-6, bias: str = "ignored") -> AlphaBeta:
    """The z⁺ rule: R_i = (w_i x_i)₊ / Σ(wx)₊ · R (Montavon et al. 2017), also for inputs of any sign."""
    return AlphaBeta(alpha=1.0, beta=0.0, epsilon=epsilon, bias=bias)


def beta_rule(beta: float, *, epsilon: float = 1e-6, bias: str = "ignored") -> AlphaBeta:
    """LRP-β: positive contributions get 1 + β, negative ones −β (Binder et al. 2023, F.3, eq. 52)."""
    return AlphaBeta(alpha=1.0 + beta, beta=beta, epsilon=epsilon, bias=bias)


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
    of_value: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.dominated not in ("limit", "code"):
            raise InputError(f"Expected dominated to be 'limit' or 'code', but got {self.dominated!r}.")

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> list[Term]:
        """(1+β)·zp·(z/Σ₊) − β·zn·(z/Σ₋), β held as well."""
        up, down = parts(op, x)
        assert down is not None
        above, below = denominators(op, up, down, "ignored")
        rest = above + below if self.dominated == "limit" else y
        fraction = torch.where(rest > 0, -below / rest.clamp(min=torch.finfo(y.dtype).tiny), torch.inf)
        beta = fraction.clamp(max=self.maximum)
        beta = torch.where(below == 0, 0.0, beta) if self.dominated == "limit" else torch.where(y > 0, beta, 0.0)
        return [
            Term(up, (1 + beta) * share_of_sum(y, above, self.epsilon)),
            Term(down, -beta * share_of_sum(y, below, -self.epsilon)),
        ]


@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Contributions of the neuron's own sign count 1 + γ times: R_i = c_i / Σ c · R with c_i = w_i x_i + γ·(w_i x_i)_±.

    ± is the sign of z; for x ≥ 0 and z > 0 this is w + γ·w₊. Source: Montavon et al. 2019, §10.2.3, and its
    generalization to inputs of any sign (Andéol et al. 2021).
    """

    gamma: float = 0.25
    epsilon: float = 1e-6
    bias: str = "counted"
    of_value: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_bias(self.bias)

    def surrogate(self, op: Linear, y: Tensor, x: Tensor) -> list[Term]:
        """Σ c with the favored sign that of z, times the held z/Σ c."""
        up, down = parts(op, x, gamma=self.gamma)
        assert down is not None
        if self.bias == "ignored":  # then Σ c may have the other sign than z
            return [
                Term(up, share(positive(y), up.detach(), self.epsilon)),
                Term(down, share(negative(y), down.detach(), self.epsilon)),
            ]
        above, below, offset = up.detach(), down.detach(), op.offset()
        if offset is not None:
            above = above + (offset + self.gamma * positive(offset))
            below = below + (offset + self.gamma * negative(offset))
        return [
            Term(up, share_of_sum(positive(y), above, self.epsilon)),
            Term(down, share_of_sum(negative(y), below, -self.epsilon)),
        ]


@dataclass(frozen=True, kw_only=True)
class Flat:
    """R_i = R / (number of inputs): every input of the neuron gets the same, black pixels too.

    For the first linear operation, as a function of the mask m on the input. Source: Lapuschkin et al. 2019.
    """

    epsilon: float = 1e-6

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor) -> list[Term]:
        """Σ_i m_i over the neuron's inputs, times the held z / number of inputs."""
        shares = op.apply(mask, torch.ones_like(op.weight))
        return [Term(shares, share(y, shares.detach(), self.epsilon))]


@dataclass(frozen=True, kw_only=True)
class WSquare:
    """R_i = w_i² / Σ w² · R. For the first linear operation. Source: Montavon et al. 2017, eq. 10."""

    epsilon: float = 1e-6

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor) -> list[Term]:
        """Σ_i m_i w_i², times the held z / Σ w²."""
        shares = op.apply(mask, op.weight.square())
        return [Term(shares, share(y, shares.detach(), self.epsilon))]


@dataclass(frozen=True, kw_only=True)
class Box:
    """z^B: R_i = (w_i x_i − l_i w_i₊ − h_i w_i₋) / Σ(…) · R for inputs in the box l ≤ x ≤ h.

    Args:
        low, high: the box in units of the explained input: one number, or one a channel. None takes each sample's own
            smallest and largest value a channel, so that a sample's map depends on that sample alone.

    For the first linear operation. Source: Montavon et al. 2017, eq. 14. Deviation: the default box.
    """

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise InputError("Expected both ends of the box or none, but got one of `low` and `high`.")

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The box (N, …) for inputs x (N, C, …)."""
        if self.low is None or self.high is None:
            flat = x.flatten(2) if x.dim() > 2 else x[:, None]
            low, high = flat.amin(-1), flat.amax(-1)
        else:
            low, high = (torch.as_tensor(end, dtype=x.dtype, device=x.device)[None] for end in (self.low, self.high))
        shape = (*low.shape, *[1] * (x.dim() - low.dim()))
        low, high = low.view(shape).expand_as(x).clone(), high.view(shape).expand_as(x).clone()
        if bool((x < low).any() or (x > high).any()):
            raise InputError(
                f"Expected inputs inside the box of the z^B rule, but they reach from {float(x.min()):.4g} to "
                f"{float(x.max()):.4g}; give `low` and `high` in the units of the explained input."
            )
        return low, high

    def surrogate(self, op: Linear, y: Tensor, mask: Tensor, low: Tensor, high: Tensor) -> list[Term]:
        """Σ_i m_i (w_i x_i − l_i w_i₊ − h_i w_i₋), times the held z / (the same at m = 1)."""
        x = op.x.detach()
        weight = op.weight
        shares = (
            op.apply(mask * x, weight)
            - op.apply(mask * low, positive(weight))
            - op.apply(mask * high, negative(weight))
        )
        return [Term(shares, share(y, shares.detach(), self.epsilon))]


FirstRule = Flat | WSquare | Box
Rule = Epsilon | AlphaBeta | AdaptiveBeta | Gamma


def _check_bias(bias: str) -> None:
    if bias not in BIASES:
        raise InputError(f"Expected bias to be 'counted' or 'ignored', but got {bias!r}.")
