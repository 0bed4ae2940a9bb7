"""A TOML file that says what to audit, checked key by key before anything is loaded."""

import importlib
import inspect
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

from heatproof.checks import CHECKS, Check
from heatproof.data import DATA, Dataset, Source
from heatproof.errors import InputError, MissingExtraError, unknown
from heatproof.features import FEATURES, Features
from heatproof.methods.base import METHODS, Method
from heatproof.models import Bound
from heatproof.recipes import build, coerced

TARGETS = ("predicted", "label")
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
        return Bound(net, at=self.at, given=given, output=self.output, layer=self.layer, reduction=self.reduction)

    def _given(self, net: nn.Module, texts: Dataset | None) -> dict[str, torch.Tensor]:
        """The arguments of the network's forward, if its samples are texts."""
        if texts is None:
            if self.at is not None or self.given:
                raise InputError("Expected `at` and `given` of [model] with texts only, but the data are no texts.")
            return {}
        if self.at is None:
            raise InputError(
                f"Expected `at` in [model], the network's embedding, because {texts.name} are texts, but got none; "
                f"submodules: {', '.join(name for name, _ in net.named_modules() if name)}."
            )
        known = {"ids": texts.inputs, "mask": texts.mask}
        given = self.given or {next(iter(inspect.signature(net.forward).parameters)): "ids"}
        for value in given.values():
            if value not in known:
                raise unknown("part of a text in `given`", str(value), known)
        return {name: known[part].to(_device(self.device)) for name, part in given.items()}  # type: ignore[union-attr]  # texts have a mask


@dataclass(frozen=True, kw_only=True)
class AuditSpec:
    """Everything an audit depends on. `methods` and `checks` map labels to recipes.

    `training_data` are samples like those that the network was trained on, for what has to learn from data.
    """

    model: ModelSpec
    data: Source
    methods: Mapping[str, Method]
    checks: Mapping[str, tuple[str, Check]]
    training_data: Source | None = None
    features: Features | None = None
    targets: str = "predicted"
    title: str = ""
    out: str = ""
    batch: int | None = None
    threads: int | None = None
    gallery: int = 6
    max_errors: int = 10
    source: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


def read(path: Path) -> AuditSpec:
    """The audit that a TOML file describes; `model`, `data`, `methods` and `checks` are required.

    Raises: InputError for what cannot be read, an unknown key or name (with the nearest known), or a wrong type.
    """
    return parse(read_table(path), Path(path).resolve().parent)


def read_table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Expected a spec file, but {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Expected {path} to be TOML, but it is not: {error}.") from None


def parse(table: Mapping[str, Any], folder: Path = Path()) -> AuditSpec:
    """The audit that a table describes; relative paths are relative to `folder`."""
    known = [f.name for f in fields(AuditSpec) if f.name not in ("source", "folder")]
    for key in table:
        if key not in known:
            raise unknown("key of the spec", key, known)
    for key in ("model", "data", "methods", "checks"):
        if not table.get(key):
            raise InputError(f"Expected the spec to have `{key}`, but it has none.")
    hints = get_type_hints(AuditSpec)
    simple = ("targets", "title", "out", "batch", "threads", "gallery", "max_errors")
    values = {key: coerced(table[key], hints[key], f"key {key!r} of the spec") for key in simple if key in table}
    if values.get("targets", "predicted") not in TARGETS:
        raise unknown("target rule", values["targets"], TARGETS)
    if "features" in table:
        values["features"] = build(FEATURES, table["features"])
    return AuditSpec(
        model=_table(ModelSpec, table["model"], "model"),
        data=_data(table["data"], folder),
        training_data=_data(table["training_data"], folder) if "training_data" in table else None,
        methods=labeled(METHODS, table["methods"]),
        checks={label: (name, check) for label, name, check in _named(CHECKS, table["checks"])},
        source=dict(table),
        folder=folder,
        **values,
    )


def labeled(registry: Any, entries: Any) -> dict[str, Any]:
    """Recipes by label: the registered name, the entry's own `label`, or the recipe as text where a name repeats."""
    return {label: recipe for label, _, recipe in _named(registry, entries)}


def located(path: str, folder: Path) -> Path:
    """A path of a spec: `$NAME` stands for an environment variable, and a relative path is relative to `folder`.

    Raises: InputError if the variable is not set.
    """
    full = os.path.expandvars(path)
    if "$" in full:
        raise InputError(f"Expected the environment variables in {path!r} to be set, but got {full!r}.")
    return folder / full


def load_weights(net: nn.Module, path: Path) -> None:
    """Fill `net` from a safetensors file or a state dict; nothing is ever unpickled.

    Raises: InputError for a file that cannot be read or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

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


def _named(registry: Any, entries: Any) -> list[tuple[str, str, Any]]:
    if not isinstance(entries, list | tuple):
        raise InputError(f"Expected a list of {registry.kind}s, but got {entries!r}.")
    found: list[tuple[str, str, Any]] = []
    names = [
        entry if isinstance(entry, str) else entry.get("name") for entry in entries if isinstance(entry, str | dict)
    ]
    for entry in entries:
        label = entry.get("label") if isinstance(entry, dict) else None
        if label is not None and not isinstance(label, str):
            raise InputError(f"Expected the label of a {registry.kind} to be text, but got {label!r}.")
        bare = {key: value for key, value in entry.items() if key != "label"} if isinstance(entry, dict) else entry
        recipe = build(registry, bare)
        name = bare if isinstance(bare, str) else bare["name"]
        label = label or (name if names.count(name) == 1 else repr(recipe))
        if label in [other for other, _, _ in found]:
            raise InputError(f"Expected every {registry.kind} to have a label of its own, but {label!r} comes twice.")
        found.append((label, name, recipe))
    return found


def _table(kind: type[Any], table: Any, what: str) -> Any:
    if not isinstance(table, Mapping):
        raise InputError(f"Expected `{what}` to be a table, but got {table!r}.")
    known = {f.name: f for f in fields(kind)}
    for key in table:
        if key not in known:
            raise unknown(f"key of [{what}]", key, known)
    for name, one in known.items():
        if one.default is MISSING and one.default_factory is MISSING and name not in table:
            raise InputError(f"Expected [{what}] to have `{name}`, but it has none.")
    hints = get_type_hints(kind)
    return kind(
        **{
            key: dict(value)
            if key in ("arguments", "given") and isinstance(value, Mapping)
            else coerced(value, hints[key], f"{key!r} of [{what}]")
            for key, value in table.items()
        }
    )


def _data(table: Any, folder: Path) -> Source:
    source = build(DATA, table)
    for name in ("root", "path", "vocabulary"):
        value = getattr(source, name, None)
        if value:
            source = replace(source, **{name: str(located(value, folder))})
    result: Source = source
    return result


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
    return _from_factory(provider, rest, arguments, folder)


def _from_factory(module: str, factory: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    sys.path.insert(0, str(folder))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"Expected a module {module!r} with the model, but there is none: {error}.") from None
    finally:
        sys.path.remove(str(folder))
    if not callable(getattr(found, factory, None)):
        raise unknown(f"factory in {module}", factory, [n for n in vars(found) if callable(getattr(found, n))])
    return _made(f"{module}:{factory}", getattr(found, factory), arguments)


def _made(name: str, make: Callable[..., Any], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        net = make(**arguments)
    except TypeError as error:
        raise InputError(f"Expected `arguments` that {name} takes, but got {dict(arguments)}: {error}.") from error
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
