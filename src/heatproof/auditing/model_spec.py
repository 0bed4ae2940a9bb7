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

from heatproof.auditing.names import class_names, own_names
from heatproof.data import Dataset
from heatproof.data.preprocessing import Preprocessing, of_folder, preprocessing
from heatproof.errors import HeatproofError, InputError, MissingExtraError, unknown
from heatproof.models import Bound, with_given
from heatproof.named_code import broken, named_code
from heatproof.paths import located, regular
from heatproof.pretrained import load_folder, of_texts

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, with which weights, seen from where to where.

    `name` is `torchvision:NAME`, `timm:NAME`, `hf:FOLDER` or `package.module:factory`; `weights` a safetensors file or
    a state dict that torch loads with weights_only=True. A factory may bring its own weights, a folder of Hugging Face
    has them; a named architecture has none. Paths may begin with an environment variable, such as
    `$HEATPROOF_DATA/models/net.safetensors`.

    `given` says what the arguments of its forward are of what the data bring beside or in place of the explained
    tensor, such as `{ input_ids = "ids", attention_mask = "mask" }` of texts; a list where names are alike. `at` is the
    submodule whose output is explained, or several, or arguments: see `heatproof.Bound`. A network of texts is
    explained from its embedding on, and by default its first argument is the ids; in a folder of Hugging Face both are
    found.

    `preprocessing` is the name of torchvision's weights whose preprocessing of pictures counts, or "none": nothing is
    read from the network.
    """

    name: str
    weights: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    at: str | tuple[str, ...] | None = None
    given: Mapping[str, Any] | tuple[str, ...] = field(default_factory=dict)
    output: str | int | None = None
    layer: str | None = None
    reduction: str = "mean"
    device: str = "cpu"
    dtype: str = "float32"
    preprocessing: str = ""

    def load(self, folder: Path = Path(), first: Dataset | None = None) -> nn.Module:
        """The network in eval mode, bound to the sample `first` if there is one; relative paths are to `folder`."""
        return self.bound(self.network(folder), first)

    def network(self, folder: Path = Path()) -> nn.Module:
        """The network alone, in eval mode, with its weights; relative paths are to `folder`."""
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        net = _network(self.name, self.arguments, folder)
        if self.weights is not None and self.name.startswith("hf:"):
            raise InputError(f"Expected no `weights` for {self.name}, whose folder has them, but got {self.weights!r}.")
        if self.weights is not None:
            load_weights(net, located(self.weights, folder))
        elif self.name.startswith(("torchvision:", "timm:")):
            raise InputError(
                f"Expected `weights` for {self.name}, but got none: a network with random weights is no trained one."
            )
        return net.to(_device(self.device), DTYPES[self.dtype]).eval()

    def bound(self, net: nn.Module, first: Dataset | None = None) -> nn.Module:
        """The network as a function of what is explained of samples like `first`."""
        at, output = self.at, self.output
        given: Mapping[str, Any] = self._given()
        if self.name.startswith("hf:"):
            output = "logits" if output is None and self.layer is None else output
            way = of_texts(net)
            if way is not None and (first is None or first.tokens is None):
                got = "pictures" if first is None else first.name
                raise InputError(
                    f"Expected texts for {self.name}, {type(net).__name__}, but got {got}; the source 'text' reads "
                    "tables and folders of texts."
                )
            if way is None and first is not None and first.tokens is not None:
                raise InputError(
                    f"Expected pictures for {self.name}, {type(net).__name__}, but got the texts of {first.name}."
                )
            if way is not None:
                at, given = at or way.at, given or way.given
        if first is not None and first.tokens is not None:
            given = self._of_texts(net, first, at, given)
        if first is not None and not first.sides and (at is not None or given):
            raise InputError(
                "Expected `at` and `given` of [model] with data that bring side inputs, such as texts, but "
                f"{first.name} bring none."
            )
        if first is None:  # what is given is not known of any sample
            at, given = None, {}
        elif first.sides:
            for value in given.values():
                if isinstance(value, str) and value not in first.sides:
                    raise unknown("part of a sample in `given`", value, first.sides)
        if output is None and self.layer is None and not given:
            return net
        bound = Bound(net, at=at, given=given, output=output, layer=self.layer, reduction=self.reduction)
        return bound if first is None else with_given(bound, first.sides)

    def told(self, net: nn.Module, folder: Path = Path()) -> Preprocessing | None:
        """What the network tells of its pictures, or torchvision of its weights."""
        provider, _, rest = self.name.partition(":")
        if self.preprocessing == "none":
            return None
        if provider == "torchvision":
            weights = self._weights(rest)
            return None if weights is None else preprocessing(weights)
        if self.preprocessing:
            raise InputError(
                f"Expected `preprocessing` of {self.name} to be none, or that of torchvision's weights for a network "
                f"of torchvision, but got {self.preprocessing!r}."
            )
        return of_folder(hf_folder(self.name, folder)) if provider == "hf" else preprocessing(net)

    def names(self, net: nn.Module) -> tuple[str, ...] | None:
        """The names of labels that the network, or torchvision of its weights, brings."""
        provider, _, rest = self.name.partition(":")
        weights = self._weights(rest) if provider == "torchvision" and self.preprocessing != "none" else None
        return own_names(net) if weights is None else class_names(weights)

    def _weights(self, architecture: str) -> Any:
        """Which of torchvision's weights these are: as said, by their file's name, or the only ones there are."""
        models = _extra("torchvision.models", "torchvision", "vision", f"The model {self.name!r}")
        every = list(models.get_model_weights(architecture))
        if self.preprocessing:
            named = [one for one in every if one.name == self.preprocessing]
            if not named:
                raise unknown(f"set of weights of {self.name}", self.preprocessing, [one.name for one in every])
            return named[0]
        if self.arguments:  # another network than the one that torchvision trained
            return None
        file = Path(self.weights or "").name
        same = [one for one in every if file and Path(one.url).stem == Path(file).stem]
        return (same or every)[0] if len(same) == 1 or len(every) == 1 else None

    def _given(self) -> dict[str, Any]:
        return dict(self.given) if isinstance(self.given, Mapping) else {name: name for name in self.given}

    def _of_texts(self, net: nn.Module, texts: Dataset, at: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the arguments of a network of texts are."""
        if at is None:
            raise InputError(
                f"Expected `at` in [model], the network's embedding, because {texts.name} are texts, but got none; "
                f"submodules: {', '.join(name for name, _ in net.named_modules() if name)}."
            )
        return dict(given) or {next(iter(inspect.signature(net.forward).parameters)): "ids"}


def hf_folder(name: str, folder: Path) -> Path:
    """The folder of `hf:FOLDER`, relative to another."""
    return located(name.partition(":")[2], folder)


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
    shapes = {k: value.shape for k, value in own.items() if not nn.parameter.is_lazy(value)}  # lazy ones take any
    wrong = [k for k, shape in shapes.items() if k in state and shape != state[k].shape]
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
            f"Expected a model as torchvision:NAME, timm:NAME, hf:FOLDER or package.module:factory, but got {name!r}."
        )
    if provider == "hf":
        if arguments:
            raise InputError(
                f"Expected no `arguments` for {name}, whose config.json has them, but got {dict(arguments)}."
            )
        return load_folder(hf_folder(name, folder))
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
