"""Methods that clamp what comes back at every ReLU."""

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from heatproof.errors import InputError
from heatproof.methods.base import METHODS, Linearizable, Linearization
from heatproof.methods.lrp import pulled
from heatproof.models import forward
from heatproof.propagation.clamping import Clamping, Smoothing
from heatproof.propagation.mode import Engine
from heatproof.propagation.proofs import unwrap


@METHODS.register("guided-backprop")
@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(Linearizable):
    """The gradient, with only positive derivatives let through open ReLUs.

    At each ReLU g_in = [z > 0]·max(g_out, 0). Signed at the input, in units of score per input unit, shape of the
    inputs; no sum rule. Works on functional, in-place and reused ReLUs; other nonlinearities keep their derivative.
    Cost: one forward and one backward pass. Not linear: the clamp depends on the mix of labels.

    Raises: InputError for a network without ReLUs (use Gradient); OperationError for an operation it does not know.

    Source: Springenberg et al. 2014; Adebayo et al. 2018, A.5.

    >>> opening = nn.Sequential(nn.ReLU(), line).eval()
    >>> hp.methods.GuidedBackprop()(opening, torch.tensor([[1.0, -1.0]]), 0)
    tensor([[1., 0.]])
    """

    allow_detached: bool = False

    @property
    def linear(self) -> bool:
        return False

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return _clamped(model, inputs, Clamping(masked=True), self.allow_detached)


@METHODS.register("deconvnet")
@dataclass(frozen=True, kw_only=True)
class Deconvnet(Linearizable):
    """The gradient, with positive derivatives let through every ReLU, open or not.

    At each ReLU g_in = max(g_out, 0); max-pooling hands back to its winner. Signed at the input, in units of score per
    input unit, shape of the inputs; no sum rule.
    Cost: one forward and one backward pass. Not linear: the clamp depends on the mix of labels.

    Raises: InputError for a network without ReLUs (use Gradient); OperationError for an operation it does not know.

    Source: Zeiler & Fergus 2014.

    >>> opening = nn.Sequential(nn.ReLU(), line).eval()
    >>> hp.methods.Deconvnet()(opening, torch.tensor([[1.0, -1.0]]), 0)
    tensor([[1., 2.]])
    """

    allow_detached: bool = False

    @property
    def linear(self) -> bool:
        return False

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return _clamped(model, inputs, Clamping(masked=False), self.allow_detached)


@METHODS.register("beta-smooth")
@dataclass(frozen=True, kw_only=True)
class BetaSmooth(Linearizable):
    """The gradient of the network with its ReLUs smoothed: values as they are, derivatives those of a softplus.

    At each ReLU g_in = σ(β x) · g_out. Signed, in units of score per input unit, shape of the inputs; no sum rule.
    Linear. Cost: one forward and one backward pass.

    Args:
        beta: β, in units of one over a ReLU's input; the larger, the closer to the gradient.
        allow_detached: accept a model that cuts paths to the input on purpose (`detach`, `no_grad`).

    Raises: InputError for a network without ReLUs (use Gradient); OperationError for an operation it does not know.

    Source: Dombrowski et al. 2019, as in Zennit's BetaSmooth. Deviation: values are not smoothed, derivatives alone.

    >>> hp.methods.BetaSmooth(beta=10.0)(nn.Sequential(nn.ReLU(), line).eval(), torch.zeros(1, 2), 0)
    tensor([[0.5000, 1.0000]])
    """

    beta: float = 10.0
    allow_detached: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise InputError(f"Expected beta to be finite and above 0, but got {self.beta}.")

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return _clamped(model, inputs, Smoothing(self.beta), self.allow_detached)


def _clamped(model: nn.Module, inputs: Tensor, strategy: Clamping | Smoothing, allow_detached: bool) -> Linearization:
    model = unwrap(model)
    x = inputs.detach().clone().requires_grad_()
    outputs = Engine(model, strategy, allow_detached=allow_detached).run(x, partial(forward, model))
    strategy.check()
    return Linearization(outputs.detach(), partial(pulled, outputs, x))
