"""Modes that watch one run of a model and say which operation, in which module, did something."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.propagation.operations import identify, key
from heatproof.propagation.proofs import where
from heatproof.propagation.trees import tensors_in

FULL, HALF = (torch.float32, torch.float64), (torch.float16, torch.bfloat16)


class Watch(TorchFunctionMode):
    """`found` is what there is to say, in words; empty for nothing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.found = model, ""

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.found:
            return function(*args, **(kwargs or {}))
        self.before(args, kwargs)
        result = function(*args, **(kwargs or {}))
        self.after(function, args, kwargs, result)
        return result

    def begin(self, x: Tensor) -> None:
        """Look at what the model will be given."""

    def before(self, args: Any, kwargs: Any) -> None:
        """Look at a call's arguments, which it may write into."""

    def after(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Look at what a call gave."""

    def _called(self, function: Any) -> str:
        return f"{identify(key(function)).name} in {where(self.model)}"


class Precision(Watch):
    """Finds what is computed from the inputs in half precision, and tensors that no derivative can be saved for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._inference = torch.is_inference_mode_enabled()
        self._marks = WeakIdKeyDictionary()

    def begin(self, x: Tensor) -> None:
        self._marks[x] = True

    def after(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        given = tensors_in((args, kwargs))
        if not self._inference and any(leaf.is_inference() for leaf in given):
            self._refuse_inference(function, next(leaf for leaf in given if leaf.is_inference()))
            return
        marked = [leaf for leaf in given if leaf in self._marks]
        if marked and torch.is_inference_mode_enabled() and not self._inference:
            self.found = (
                f"Expected a derivative through every step, but {self._called(function)} runs in torch.inference_mode; "
                "remove it from the model."
            )
            return
        for leaf in tensors_in(result) if marked else ():
            self._marks[leaf] = True
            if leaf.dtype in HALF and any(one.dtype in FULL for one in marked):
                autocast = torch.is_autocast_enabled(leaf.device.type)
                self.found = (
                    f"Expected full precision, but {self._called(function)} makes {leaf.dtype}"
                    f"{' under autocast' if autocast else ''}, and its rounding would be in every map; "
                    f"{'leave the autocast out of the network' if autocast else 'call .float() on the model'}."
                )

    def _refuse_inference(self, function: Any, tensor: Tensor) -> None:
        held = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        for prefix, module in self.model.named_modules():
            held |= {f"{prefix}.{name}".lstrip("."): one for name, one in vars(module).items()}
        name = next((repr(name) for name, one in held.items() if one is tensor), "one that the model keeps")
        self.found = (
            f"Expected tensors that derivatives can be computed with, but {self._called(function)} reads {name}, made "
            "under torch.inference_mode; make it again outside (its .clone() will do), or use no_grad instead."
        )


class Drawing(Watch):
    """Finds the first call that moves a random generator: torch's own, or one that it is given."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__(model)
        self._device = device
        self._states: list[Tensor] = []

    def begin(self, x: Tensor) -> None:
        """Look at what the model will be given."""

    def before(self, args: Any, kwargs: Any) -> None:
        self._states = self._now(kwargs)

    def after(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        if not all(map(torch.equal, self._states, self._now(kwargs))):
            self.found = self._called(function)

    def _now(self, kwargs: Any) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self._device.type == "cuda":
            states += [torch.cuda.get_rng_state(self._device)]
        own = (kwargs or {}).get("generator")
        return [*states, own.get_state()] if isinstance(own, torch.Generator) else states


class Mixing(Watch):
    """Finds the first call whose result has a larger share of NaN than the largest of its arguments with any."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._share = 0.0

    def begin(self, x: Tensor) -> None:
        """Look at what the model will be given."""

    def before(self, args: Any, kwargs: Any) -> None:
        self._share = _spoiled((args, kwargs))

    def after(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        if self._share and identify(key(function)).kind != "structural" and _spoiled(result) > self._share:
            self.found = self._called(function)


def _spoiled(values: Any) -> float:
    floats = [leaf for leaf in tensors_in(values) if leaf.is_floating_point()]
    shares = [(leaf.numel(), float(leaf.isnan().double().mean())) for leaf in floats if leaf.numel()]
    return max(((size, share) for size, share in shares if share), default=(0, 0.0))[1]
