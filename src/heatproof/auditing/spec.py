"""A TOML file that says what to audit, checked key by key before anything is loaded."""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from heatproof.auditing.model_spec import DTYPES, ModelSpec
from heatproof.checks import CHECKS, Check
from heatproof.data import DATA, Source
from heatproof.data.listing import PLACES
from heatproof.errors import InputError, unknown
from heatproof.features import FEATURES, Features
from heatproof.methods.base import METHODS, Attribution
from heatproof.named_code import code_beside, found_in
from heatproof.outputs import kind_of
from heatproof.paths import given_path, located, regular
from heatproof.recipes import build, coerced
from heatproof.targets import TARGETS, Label, Target

__all__ = [
    "DTYPES",
    "AuditSpec",
    "ModelSpec",
    "labeled",
    "parse",
    "parse_beside",
    "read",
    "read_table",
]

LARGEST = 2**24  # bytes of a spec


@dataclass(frozen=True, kw_only=True)
class AuditSpec:
    """Everything an audit depends on. `methods` and `checks` map labels to recipes.

    `training_data` are samples like those that the network was trained on, for what has to learn from data. `trusted`
    are packages whose code it may name besides what lies in its `folder`; None: any, as it was made in Python.
    """

    model: ModelSpec
    data: Source
    methods: Mapping[str, Attribution]
    checks: Mapping[str, tuple[str, Check]]
    training_data: Source | None = None
    features: Features | None = None
    targets: Target = field(default_factory=Label)
    outputs: str | None = None
    unit: str = ""
    title: str = ""
    out: str = ""
    batch: int | Literal["measured"] | None = None
    threads: int | None = None
    believable: tuple[str, ...] = ()
    gallery: int = 6
    max_errors: int = 10
    fast: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    trusted: tuple[str, ...] | None = None

    def code(self) -> AbstractContextManager[None]:
        """In here its code may be loaded: what lies beside the file that was read, and what is trusted."""
        return nullcontext() if self.trusted is None else code_beside(self.folder, self.trusted)


def read(path: Path, trusted: Sequence[str] = ()) -> AuditSpec:
    """The audit that a TOML file describes; `model`, `data`, `methods` and `checks` are required.

    The code that it names, its model's factory and methods, must lie beside it, or in a package that is `trusted`.

    Raises: InputError for what cannot be read, an unknown key or name (with the nearest known), or a wrong type.
    """
    return parse_beside(read_table(path), Path(path).resolve().parent, trusted)


def parse_beside(table: Mapping[str, Any], folder: Path, trusted: Sequence[str] = ()) -> AuditSpec:
    """The audit that a table describes, whose code must lie in `folder`, or in a package that is `trusted`."""
    with code_beside(folder, trusted):
        return replace(parse(table, folder), trusted=tuple(trusted))


def read_table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file."""
    path = regular(given_path(path), "a spec")
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"Expected a spec of at most {LARGEST} bytes, but {path} has {path.stat().st_size}.")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Expected a spec file, but {path} cannot be read: {error.strerror}.") from None
    except RecursionError:
        raise InputError(f"Expected {path} to be TOML of some depth, but its tables and lists have no end.") from None
    except InputError:
        raise
    except ValueError as error:  # no TOML, no UTF-8, or a number that Python refuses to read
        raise InputError(f"Expected {path} to be TOML, but it is not: {error}.") from None


def parse(table: Mapping[str, Any], folder: Path = Path()) -> AuditSpec:
    """The audit that a table describes; relative paths are relative to `folder`."""
    known = [f.name for f in fields(AuditSpec) if f.name not in ("source", "folder", "trusted")]
    for key in table:
        if key not in known:
            raise unknown("key of the spec", key, known)
    _check_places(table, known)
    for key in ("model", "data", "methods", "checks"):
        if not table.get(key):
            raise InputError(f"Expected the spec to have `{key}`, but it has none.")
    hints = get_type_hints(AuditSpec)
    simple = ("believable", "outputs", "unit", "title", "out", "batch", "threads", "gallery", "max_errors", "fast")
    values = {key: coerced(table[key], hints[key], f"key {key!r} of the spec") for key in simple if key in table}
    if "targets" in table:
        said = table["targets"]
        with found_in(folder):
            values["targets"] = Label(said) if type(said) is int else build(TARGETS, said)
    model = table["model"]
    of_hub = isinstance(model, Mapping) and str(model.get("name", "")).startswith("hf:")
    if values.get("unit") and values.get("outputs") != "scalars" and not (of_hub and "outputs" not in values):
        raise InputError(
            f'Expected `unit`, {values["unit"]!r}, beside outputs = "scalars", which it is the unit of, but got '
            f"{'no outputs' if 'outputs' not in values else repr(values['outputs'])}; a target has a unit of its own."
        )
    if values.get("outputs") is not None:
        kind_of(values["outputs"])
    if "features" in table:
        values["features"] = build(FEATURES, table["features"])
    return AuditSpec(
        model=_table(ModelSpec, model, "model"),
        data=_data(table["data"], folder),
        training_data=_data(table["training_data"], folder) if "training_data" in table else None,
        methods=_methods(table["methods"], folder),
        checks={label: (name, check) for label, name, check in _named(CHECKS, table["checks"])},
        source=dict(table),
        folder=folder,
        **values,
    )


def checks_of(table: Mapping[str, Any]) -> dict[str, Check]:
    """The checks of a spec by label, whatever else it names."""
    return {label: check for label, _, check in _named(CHECKS, table["checks"])}


def _check_places(table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse keys of the spec that stand below a table: TOML takes them for a part of it."""
    for name, inner in table.items():
        if not isinstance(inner, Mapping):
            continue
        own: Any = ModelSpec
        if name != "model":
            sources: Any = {"features": FEATURES, "targets": TARGETS}.get(name, DATA)
            own = sources.get(inner["name"]) if inner.get("name") in sources.names() else None
        parts = ["name", *(field.name for field in fields(own))] if own is not None else ["name"]
        for key in inner:
            if key in known and key not in parts:
                raise InputError(
                    f"Expected `{key}` above the first [table] of the spec, but it stands below [{name}], which "
                    "makes it a part of that; move it up."
                )


def _methods(entries: Any, folder: Path) -> dict[str, Any]:
    """Methods of ours, and those of others by their adapters' names; modules and files are found beside the spec."""
    if isinstance(entries, list | tuple):
        entries = [_beside(entry, folder) for entry in entries]
    with found_in(folder):
        return labeled(METHODS, entries)


def _beside(entry: Any, folder: Path) -> Any:
    """An entry whose file of maps is relative to the spec."""
    of_file = isinstance(entry, Mapping) and entry.get("name") == "given" and isinstance(entry.get("maps"), str)
    return {**entry, "maps": str(located(entry["maps"], folder))} if of_file else entry


def labeled(registry: Any, entries: Any) -> dict[str, Any]:
    """Recipes by label: the registered name, the entry's own `label`, or the recipe as text where a name repeats."""
    return {label: recipe for label, _, recipe in _named(registry, entries)}


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
    for name in PLACES:
        value = getattr(source, name, None)
        if value:
            source = replace(source, **{name: str(located(value, folder))})
    result: Source = source
    return result
