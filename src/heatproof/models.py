"""A network as a function of one float tensor: what every method and check evaluates."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from heatproof.compiled import uncompiled
from heatproof.errors import InputError
from heatproof.exported import batches_free
from heatproof.hooks import hooks_named

Output = str | int | Callable[[Any], Tensor]
REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h.flatten(2).mean(2) if h.dim() > 2 else h,
    "sum": lambda h: h.flatten(2).sum(2) if h.dim() > 2 else h,
    "max": lambda h: h.flatten(2).amax(2) if h.dim() > 2 else h,
}


class Bound(nn.Module):
    """A network with everything but one float tensor filled in.

    Args:
        net: the network, in eval mode.
        at: a submodule by name; the explained tensor replaces its output (token embeddings: integers stay integers).
            Without it, the explained tensor is the network's first argument.
        given: the network's other arguments by name, one row a sample.
        output: the logits in what the network returns: an attribute or key, an index, or a callable.
        layer: explain this submodule's output instead, reduced over positions by `reduction` to (N, C).
        reduction: `mean`, `sum` or `max` over the positions of `layer`: which of its dimensions these are is told by
            the operations that made it, in a watched run of two rows for each shape of inputs (a ViT's class token is
            none).
        layout: `channels-first` (N, K, …) or `channels-last` (N, …, K) of `layer`, where nothing tells.
        preprocessing: applied to the explained tensor first, so that baselines and noise live in its units.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        at: str | None = None,
        given: Mapping[str, Tensor] | None = None,
        output: Output | None = None,
        layer: str | None = None,
        reduction: str = "mean",
        layout: str | None = None,
        preprocessing: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name in (at, layer):
            if name is not None and name not in dict(net.named_modules()):
                raise InputError(f"Expected the name of a submodule of {type(net).__name__}, but got {name!r}.")
        if reduction not in REDUCTIONS:
            raise InputError(f"Expected reduction to be one of {', '.join(REDUCTIONS)}, but got {reduction!r}.")
        if layer is not None and output is not None:
            raise InputError("Expected either `layer` or `output`, but got both; a layer's output needs no `output`.")
        self.net, self.at, self.given, self.output = net, at, dict(given or {}), output
        self.layer, self.reduction, self.preprocessing = layer, reduction, preprocessing
        if layout not in (None, "channels-first", "channels-last"):
            raise InputError(f"Expected layout to be channels-first or channels-last, but got {layout!r}.")
        self.layout, self._readings = layout, dict[tuple[int, ...], Any]()
        self.train(net.training)

    def inputs(self) -> Tensor:
        """The output of submodule `at` on the given arguments: the tensor that is explained."""
        if self.at is None:
            raise InputError("Expected a Bound with `at`, whose layer's output is the input; this one has none.")
        seen: list[Tensor] = []
        with torch.no_grad(), _one_way(), _hook(self.net, self.at, lambda out: seen.append(out.detach().clone())):
            self.net(**self.given)
        if len(seen) != 1:
            raise InputError(f"Expected submodule {self.at!r} to run once, but it ran {len(seen)} times.")
        return seen[0]

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The logits (M, C) of variants `x` (M, …); `rows` (M,) names the sample of each variant."""
        if self.layer is None:
            return _pick(self._run(x, rows), self.output)
        reduce, reading, seen = REDUCTIONS[self.reduction], self._reading(x), list[Tensor]()
        # Reduced inside the hook: the next module may change the layer's output in place.
        with _hook(self.net, self.layer, lambda out: seen.append(reduce(out if reading is None else reading(out)))):
            self._run(x, rows)
        if len(seen) != 1:
            raise InputError(f"Expected submodule {self.layer!r} to run once, but it ran {len(seen)} times.")
        return seen[0]

    def _run(self, x: Tensor, rows: Tensor | None) -> Any:
        given = self._rows_of_given(x, rows)
        x = x if self.preprocessing is None else self.preprocessing(x)
        if self.at is None:
            return self.net(x, **given)
        with _hook(self.net, self.at, lambda _: x):
            return self.net(**given)

    def _reading(self, x: Tensor) -> Callable[[Tensor], Tensor] | None:
        """How the layer's output becomes (N, K, positions …); None where it is so already."""
        if self.layout is not None:
            return None if self.layout == "channels-first" else lambda out: out.movedim(-1, 1)
        from heatproof.layouts.channels import channels_first  # which asks this very class

        key = tuple(x.shape[1:])
        if key not in self._readings:
            assert self.layer is not None
            self._readings[key] = channels_first(self.net, self.layer, x, self._run)
        way: Callable[[Tensor], Tensor] | None = self._readings[key]
        return way

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Bound":
        """What `to`, `float` and their like do to parameters is done to the other arguments as well."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.given = {name: fn(value) for name, value in self.given.items()}
        return self

    def _rows_of_given(self, x: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        for name, value in self.given.items():
            if rows is None and len(value) != len(x):
                raise InputError(
                    f"Expected one row of given[{name!r}] a sample ({len(value)}), but got {len(x)} inputs; "
                    "variants of a sample need `rows`."
                )
        if rows is None:
            return self.given
        return {name: value[rows.to(value.device)] for name, value in self.given.items()}


def select(model: nn.Module, rows: Tensor) -> nn.Module:
    """The model whose i-th sample is sample `rows[i]` of `model`: for a method that calls another on variants."""
    if not isinstance(model, Bound) or not model.given:
        return model
    selected = copy(model)  # the same network; only the arguments are others
    selected.given = {name: value[rows.to(value.device)] for name, value in model.given.items()}
    vars(selected).setdefault("origin", model)  # the Bound that it is one of; not a submodule
    return selected


def forward(model: nn.Module, x: Tensor, rows: Tensor | None = None) -> Tensor:
    """The logits (M, C) of variants `x` (M, …); `rows` (M,) names the sample that each variant belongs to.

    The only place where methods and checks evaluate a model. A copy of `x` is handed over, because a model may change
    its input in place.
    """
    x = x.clone()
    derived = torch.is_grad_enabled() and not _rules_apply()
    with batches_free(len(x)), hooks_named(model), _one_way(), _derivable() if derived else nullcontext():
        out = model(x, rows) if isinstance(model, Bound) else model(x)
    if not isinstance(out, Tensor):
        raise InputError(
            f"Expected the model to return a tensor of logits (N, C), but got {type(out).__name__}; wrap the model: "
            "heatproof.models.Bound(model, output='logits')."
        )
    out = out[:, None] if out.dim() == 1 else out
    if out.dim() != 2 or len(out) != len(x) or not out.is_floating_point():
        raise InputError(
            f"Expected logits (N, C) with N = {len(x)}, but the model returned {tuple(out.shape)} of {out.dtype}; "
            "choose one output a label with heatproof.models.Bound(model, output=…)."
        )
    return out


@contextmanager
def _derivable() -> Iterator[None]:
    with uncompiled(), _SoundBatchNorms():
        yield


@contextmanager
def _one_way() -> Iterator[None]:
    """Without the fused way of torch's transformer encoders, taken where nothing is derived.

    Their layers then hand on nested tensors, which have no rows, and blank what is padded: another function of the
    layers inside than the one that is derived.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


# As modules call it, as exported programs do, and as decomposed ones do.
_BATCH_NORMS = frozenset(("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"))


class _SoundBatchNorms(TorchFunctionMode):
    """Hands batch norms cotangents without gaps or permuted strides.

    torch's own derivative (2.12, on a CPU) of a batch norm in eval mode is wrong, not by rounding, for one sample whose
    cotangent comes back through a transposition, as in LeViT and XCiT. Rules have their own way with batch norms.
    """

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if getattr(function, "__name__", "").removesuffix(".default") in _BATCH_NORMS:
            normalized = out if isinstance(out, Tensor) else out[0]
            if normalized.requires_grad:
                normalized.register_hook(lambda cotangent: cotangent.contiguous())
        return out


def _rules_apply() -> bool:
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return any(type(mode).__module__.startswith("heatproof.") for mode in modes)


def rows_per_pass(x: Tensor) -> int:
    """How many variants of a sample of `x` (N, …) one pass takes: a function of shape and device type alone.

    On a CPU the best batch is 1 to 8 for 224² images and grows as the sample shrinks, up to 128: at 256 a CNN for 28²
    digits takes a quarter longer, as its activations leave the caches.
    """
    eight_images = 8 * 3 * 224 * 224
    budget, most = (eight_images, 128) if x.device.type == "cpu" else (16 * eight_images, 1024)
    return max(1, min(most, budget // max(1, x[0].numel())))


def check_model(model: nn.Module) -> None:
    """Refuse what cannot be explained: no module, a module in training mode, half-precision parameters."""
    if not isinstance(model, nn.Module):
        raise InputError(f"Expected the model to be a torch.nn.Module, but got {type(model).__name__}.")
    for name, module in model.named_modules():
        if module.training:
            where = f"its submodule {name!r}" if name else "it"
            raise InputError(f"Expected a model in eval mode, but {where} is in training mode; call model.eval().")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"Expected parameters in float32 or float64, but {name!r} is {parameter.dtype}; call model.float()."
            )


def check_inputs(model: nn.Module, inputs: Tensor) -> None:
    """Refuse inputs that are not finite float samples (N, …) on the model's device and in its dtype."""
    if not isinstance(inputs, Tensor) or inputs.dim() < 2 or len(inputs) == 0:
        got = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InputError(f"Expected inputs to be a tensor (N, …) with at least one sample, but got {got}.")
    if inputs.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"Expected inputs in float32 or float64, but got {inputs.dtype}; "
            "scale integer images as in training, for example images.float() / 255."
        )
    if not bool(torch.isfinite(inputs).all()):
        bad = (~torch.isfinite(inputs)).flatten(1).any(1).nonzero().flatten().tolist()
        raise InputError(f"Expected finite inputs, but samples {bad[:8]} hold NaN or infinity.")
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is not None and (parameter.device.type != inputs.device.type or parameter.dtype != inputs.dtype):
        raise InputError(
            f"Expected inputs like the model's parameters ({parameter.dtype} on {parameter.device}), but got "
            f"{inputs.dtype} on {inputs.device}; use inputs.to(device, dtype)."
        )


def check_targets(inputs: Tensor, targets: Tensor, outputs: int | None = None) -> None:
    """Refuse targets that are not one label (N,) in int64 a sample, within the model's outputs where they are known."""
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.shape != inputs.shape[:1]:
        got = f"{tuple(targets.shape)} of {targets.dtype}" if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(f"Expected targets ({len(inputs)},) of torch.int64, one label a sample, but got {got}.")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or (outputs is not None and high >= outputs):
        bound = "" if outputs is None else f" and {outputs - 1}, the model's last output"
        raise InputError(f"Expected targets between 0{bound}, but got {low if low < 0 else high}.")


@contextmanager
def _hook(net: nn.Module, name: str, see: Callable[[Any], Any]) -> Iterator[None]:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        replaced = see(output)
        return replaced if isinstance(replaced, Tensor) else None

    handle = net.get_submodule(name).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _pick(returned: Any, output: Output | None) -> Tensor:
    if output is None:
        return returned  # type: ignore[no-any-return]  # `forward` checks it
    if callable(output):
        return output(returned)
    try:
        by_name = isinstance(output, str) and not isinstance(returned, Mapping | Tensor)
        picked: Tensor = getattr(returned, str(output)) if by_name else returned[output]
    except (AttributeError, IndexError, KeyError, TypeError):
        kind = type(returned).__name__
        raise InputError(f"Expected {output!r} in what the model returns, but its {kind} has none.") from None
    return picked
