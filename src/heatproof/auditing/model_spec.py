"""The network of a spec: where it comes from, with which weights, and what of it is explained."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heatproof.data import Dataset
from heatproof.errors import HeatproofError, InputError, MissingExtraError, unknown
from heatproof.models import Bound, with_given
from heatproof.named_code import broken, named_code
from heatproof.paths import located, regular

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, with which weights, seen from where to where.

    `name` is `torchvision:NAME`, `timm:NAME` or `package.module:factory`; `weights` a safetensors file or a state dict
    that torch loads with weights_only=True. A factory may bring its own weights; a named architecture may not.
    Paths may begin with an environment variable, such as `$HEATPROOF_DATA/models/net.safetensors`.

    A network of texts is explained from the output of the submodule `at` on, its embedding. `given` says what the
    arguments of its forward are: "ids" (the tokens' numbers) or "mask" (1 where the text stands, 0 where it is filled
    up), such as `{ input_ids = "ids", attention_mask = "mask" }`; by default its first argument is the ids.
    """

    name: str
    weights: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    at: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    output: str | int | None = None
    layer: str | None = None
    reduction: str = "mean"
    device: str = "cpu"
    dtype: str = "float32"

    def load(self, folder: Path = Path(), texts: Dataset | None = None) -> nn.Module:
        """The network in eval mode, bound to `texts` where there are some; relative paths are relative to `folder`."""
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        net = _network(self.name, self.arguments, folder)
        if self.weights is not None:
            load_weights(net, located(self.weights, folder))
        elif self.name.startswith(("torchvision:", "timm:")):
            raise InputError(
                f"Expected `weights` for {self.name}, but got none: a network with random weights is no trained one."
            )
        net = net.to(_device(self.device), DTYPES[self.dtype]).eval()
        given = self._given(net, texts)
        if self.output is None and self.layer is None and not given:
            return net
        bound = Bound(net, at=self.at, given=given, output=self.output, layer=self.layer, reduction=self.reduction)
        return bound if texts is None else with_given(bound, texts.sides)

    def _given(self, net: nn.Module, texts: Dataset | None) -> dict[str, str]:
        """What the arguments of the network's forward are of a text, if its samples are texts."""
        if texts is None:
            if self.at is not None or self.given:
                raise InputError("Expected `at` and `given` of [model] with texts only, but the data are no texts.")
            return {}
        if self.at is None:
            raise InputError(
                f"Expected `at` in [model], the network's embedding, because {texts.name} are texts, but got none; "
                f"submodules: {', '.join(name for name, _ in net.named_modules() if name)}."
            )
        given = dict(self.given) or {next(iter(inspect.signature(net.forward).parameters)): "ids"}
        for value in given.values():
            if value not in texts.sides:
                raise unknown("part of a text in `given`", str(value), texts.sides)
        return given


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill `net` from a safetensors file or a state dict; nothing is ever unpickled.

    Raises: InputError for a file that cannot be read or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = regular(path, "weights")
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (OSError, SafetensorError) as error:
        raise InputError(f"Expected weights in {path}, but it cannot be read: {error}.") from None
    except Exception as error:  # torch.load raises pickle's, zip's and its own errors for foreign files
        raise InputError(
            f"Expected {path} to be a state dict of tensors, but it is not ({type(error).__name__}); "
            "heatproof unpickles nothing: save model.state_dict(), best with safetensors."
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"Expected {path} to hold a state dict of tensors, but it holds {type(state).__name__}.")
    own = net.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or extra or wrong:
        raise InputError(
            f"Expected the weights of {type(net).__name__} in {path}, but "
            f"{len(missing)} tensors are missing {missing[:3]}, {len(extra)} are not the network's {extra[:3]}, "
            f"{len(wrong)} have another shape {wrong[:3]}."
        )
    net.load_state_dict(state)


def _network(name: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    provider, _, rest = name.partition(":")
    if not rest:
        raise InputError(
            f"Expected a model as torchvision:NAME, timm:NAME or package.module:factory, but got {name!r}."
        )
    if provider == "torchvision":
        models = _extra("torchvision.models", "torchvision", "vision", f"The model {name!r}")
        if rest not in models.list_models():
            raise unknown("torchvision model", rest, models.list_models())
        return _made(name, partial(models.get_model, rest, weights=None), arguments)
    if provider == "timm":
        timm = _extra("timm", "timm", "timm", f"The model {name!r}")
        if not timm.is_model(rest):
            raise unknown("timm model", rest, timm.list_models())
        return _made(name, partial(timm.create_model, rest, pretrained=False), arguments)
    return _from_factory(name, arguments, folder)


def _from_factory(name: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    return _made(name, named_code(name, "model", folder=folder), arguments)


def _made(name: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise InputError(f"Expected `arguments` that {name} takes, but got {dict(arguments)}: {error}.") from error
    except ValueError:  # it shows no signature
        pass
    try:
        net = make(**arguments)
    except (HeatproofError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever it raises
        given = f" with arguments {dict(arguments)}" if arguments else ""
        raise broken(name, "model", error, given) from error
    if not isinstance(net, nn.Module):
        raise InputError(f"Expected {name} to return a torch.nn.Module, but it returned {type(net).__name__}.")
    return net


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # a name that torch does not know, or no such device here
        reason = str(error).splitlines()[0]
        raise InputError(
            f"Expected a device that is here, such as 'cpu' or 'cuda', but got {name!r}: {reason}"
        ) from None


def _extra(module: str, package: str, extra: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(package, extra, purpose) from None
