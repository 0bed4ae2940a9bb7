"""Methods that run the network once and come back through it."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from heatproof import prefix
from heatproof.errors import InputError, OperationError
from heatproof.methods.base import METHODS, Explanation, Linearizable, Linearization, Method, sum_rule, told
from heatproof.models import forward


@METHODS.register("gradient")
@dataclass(frozen=True, kw_only=True)
class Gradient(Linearizable):
    """How fast the score changes with each input scalar.

    R = ∂S_c/∂x, signed, in units of score per input unit. Shape of the inputs. No sum rule.
    Cost: one forward and one backward pass.

    Source: Simonyan et al. 2013; Adebayo et al. 2018, A.1 (with its sign).

    >>> hp.methods.Gradient()(line, x, 1)
    tensor([[3., 4.]])
    """

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return gradients(model, inputs)


@METHODS.register("gradient-x-input")
@dataclass(frozen=True, kw_only=True)
class GradientXInput(Linearizable):
    """The gradient times the input: a first-order share of the score.

    R = x ⊙ ∂S_c/∂x, signed, in units of the score. Shape of the inputs. On ReLU networks without biases R sums to S_c
    (Gupta & Arora, Lemma 1); elsewhere the diagnostic `completeness-gap` = ΣR − S_c says by how much it does not,
    beside `condition-number` = Σ|R|/|S_c|.
    Cost: one forward and one backward pass.

    Source: Shrikumar et al. 2016; Ancona et al. 2018, Table 1; Adebayo et al. 2018, A.2.

    >>> hp.methods.GradientXInput()(line, 2 * x, 1)
    tensor([[6., 8.]])
    """

    @property
    def needs(self) -> tuple[Method, ...]:
        return (Gradient(),)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        slope = Gradient().explain(model, inputs, targets)
        maps, score = inputs * slope.maps, slope.diagnostics["score"]
        return Explanation(maps, told(lambda: {"score": score, **sum_rule(maps, score)}))

    def _linearize(self, model: nn.Module, inputs: Tensor) -> Linearization:
        return gradients(model, inputs, times=inputs)

    def promised_sums(self, model: nn.Module, inputs: Tensor, outputs: Tensor) -> Tensor:
        return outputs


@METHODS.register("saliency")
@dataclass(frozen=True, kw_only=True)
class Saliency(Method):
    """The magnitude of the gradient.

    R = |∂S_c/∂x|, non-negative, in units of score per input unit. Shape of the inputs. No sum rule, and no
    linearization: a magnitude is not additive over labels.
    Cost: one forward and one backward pass.

    Source: Simonyan et al. 2013. Deviation: no maximum over channels; pooling is the reader's choice.

    >>> hp.methods.Saliency()(line, -x, 1)
    tensor([[3., 4.]])
    """

    @property
    def needs(self) -> tuple[Method, ...]:
        return (Gradient(),)

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        signed = Gradient().explain(model, inputs, targets)
        return Explanation(signed.maps.abs(), signed.diagnostics)


def gradients(
    model: nn.Module, inputs: Tensor, rows: Tensor | None = None, times: Tensor | None = None
) -> Linearization:
    """The plain gradient of any mix of outputs with respect to `inputs` (N, …), perhaps times a tensor of their shape.

    Parameters are left alone.
    """
    kept = prefix.leaf_of(model, inputs) if rows is None else None  # the pull retains the graph
    x = inputs.detach().requires_grad_() if kept is None else kept
    with torch.enable_grad(), _differentiable_recurrence(model) if x.is_cuda else nullcontext():
        outputs = forward(model, x, rows)
    if not outputs.requires_grad:
        raise _no_path()
    return Linearization(outputs.detach(), GradientPull(outputs, x, times))


@dataclass(frozen=True, eq=False)
class GradientPull:
    """The pull of plain gradients, from the outputs or from the features that the last linear layer reads."""

    outputs: Tensor  # (N, C), with its graph
    x: Tensor  # (N, …), the leaf
    times: Tensor | None

    def __call__(self, cotangent: Tensor) -> Tensor:
        return self._back(self.outputs, cotangent)

    def factor(self) -> "Factor | None":
        """The outputs as W h + b, where the network ends in a linear layer on features h (N, D); None where not.

        So it does as well where a 1 × 1 convolution makes a class map whose mean over positions is explained: h is then
        the mean of what the convolution reads. Only constants and parameters, perhaps transposed, count as W and b:
        then h is all that the inputs reach the outputs through.
        """
        return self._of_linear_layer() or self._of_class_map()

    def _of_linear_layer(self) -> "Factor | None":
        node = self.outputs.grad_fn
        read = _READ_BY.get(node.name()) if node is not None else None
        if node is None or read is None:
            return None
        saved: Any = node
        if read == 1 and (saved._saved_alpha, saved._saved_beta) != (1, 1):
            return None
        features, index = node.next_functions[read]
        if features is None:
            return None  # the layer reads a constant
        others = [edge for i, (edge, _) in enumerate(node.next_functions) if i != read]
        if not all(_is_fixed(edge, self.x) for edge in others):
            return None  # the bias or the weight may depend on the inputs as well
        edge = torch.autograd.graph.GradientEdge(features, index)
        return Factor(saved._saved_mat2.detach().T, lambda cotangent: self._back(edge, cotangent))

    def _of_class_map(self) -> "Factor | None":
        mean: Any = self.outputs.grad_fn
        if (
            mean is None
            or mean.name() != "MeanBackward1"
            or (tuple(mean._saved_dim), mean._saved_keepdim) != ((2,), False)
        ):
            return None
        flat = mean.next_functions[0][0]
        layer: Any = flat.next_functions[0][0] if flat is not None and flat.name() == "ViewBackward0" else None
        if layer is None or layer.name() != "ConvolutionBackward0" or not _is_pointwise(layer):
            return None
        (features, index), *others = layer.next_functions
        if features is None or not all(_is_fixed(edge, self.x) for edge, _ in others):
            return None
        edge = torch.autograd.graph.GradientEdge(features, index)
        grid = layer._saved_input.shape[2:]

        def pull(cotangent: Tensor) -> Tensor:
            if cotangent.dim() == 3:
                return torch.stack([pull(one) for one in cotangent])
            return self._back(edge, (cotangent / grid.numel())[..., None, None].expand(-1, -1, *grid))

        return Factor(layer._saved_weight.detach().flatten(1), pull)

    def _back(self, top: "Tensor | torch.autograd.graph.GradientEdge", cotangent: Tensor) -> Tensor:
        if cotangent.dim() == 3:
            return torch.stack([self._back(top, one) for one in cotangent])
        # autograd.grad towards the input alone computes no parameter gradients and writes no .grad.
        with nothing_overwritten():
            (gradient,) = torch.autograd.grad(top, self.x, cotangent, retain_graph=True, allow_unused=True)
        if gradient is None:  # a graph there is, but it leads to parameters alone
            raise _no_path()
        return gradient if self.times is None else self.times * gradient


def _no_path() -> InputError:
    return InputError(
        "Expected outputs that depend on the inputs, but no path leads back from them; "
        "look for no_grad, detach or NumPy inside the model, or for inference_mode around the call."
    )


@contextmanager
def nothing_overwritten() -> Iterator[None]:
    """For backward passes: a network that overwrites what its own derivative needs is an error that says what to do."""
    try:
        yield
    except RuntimeError as error:
        found = re.search(r"modified by an inplace operation: \[\S+ (\[.*?\])", str(error))
        if found is None:
            raise
        raise OperationError(
            f"Expected values that a derivative needs to stay as they were, but the model writes into one of shape "
            f"{found[1]} afterwards, so that torch has no derivative either; write `h = h * gate` in place of "
            "`h *= gate`, and the same for other calls in place."
        ) from None


class Factor(NamedTuple):
    """Attributions of C labels as a matrix product: those of label i are Σ_d weight[i, d] · (those of feature d)."""

    weight: Tensor  # (C, D)
    pull: Callable[[Tensor], Tensor]  # (N, D) or (K, N, D) → attributions


# How autograd calls a linear layer on (N, D) with and without a bias, and the operand that its features are.
_READ_BY = {"AddmmBackward0": 1, "MmBackward0": 0}


def _is_pointwise(layer: Any) -> bool:
    """Whether this convolution of a graph is one matrix at each position of an image."""
    plain = not layer._saved_transposed and layer._saved_groups == 1
    moves = [*layer._saved_stride, *(p + 1 for p in layer._saved_padding)]
    return plain and tuple(layer._saved_weight.shape[2:]) == (1, 1) and moves == [1, 1, 1, 1]


def _is_fixed(edge: torch.autograd.graph.Node | None, x: Tensor) -> bool:
    """Whether this edge of a graph leads to nothing, or to a leaf other than `x`, perhaps transposed on the way."""
    while edge is not None and edge.name() in ("TBackward0", "TransposeBackward0"):
        edge = edge.next_functions[0][0]
    if edge is None:
        return True
    leaf: Any = edge
    return edge.name() == "torch::autograd::AccumulateGrad" and leaf.variable is not x


def _differentiable_recurrence(model: nn.Module) -> AbstractContextManager[None]:
    """cuDNN's recurrent kernels refuse a backward pass in eval mode; the plain ones do not."""
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()
