"""Pictures explained by several methods, side by side."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from heatproof.auditing.fits import Lessons
from heatproof.auditing.model_spec import DTYPES, ModelSpec
from heatproof.data import Dataset, ImageFile, ImageFolder
from heatproof.data.defaults import is_default
from heatproof.data.pictures import PictureSource
from heatproof.data.preprocessing import as_wanted
from heatproof.described import unit
from heatproof.door import plain_outputs
from heatproof.drawing.sheet import Tile, check_writable, tile_of, write
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.fingerprint import model_fingerprint
from heatproof.methods.base import METHODS, Explanation, Method
from heatproof.methods.fitted import FittedMethod, learners, with_learners
from heatproof.models import check_targets
from heatproof.paths import given_path
from heatproof.recipes import build

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

P = TypeVar("P", bound=PictureSource)


def explain_images(
    spec: ModelSpec,
    pictures: Sequence[ImageFile],
    methods: Sequence[str],
    *,
    target: int | None,
    out: Path,
    fit_on: Path | None = None,
    overlay: float | None = None,
    classes: Sequence[str] = (),
) -> Table:
    """Attribute `target` (the predicted label by default) by each method, draw the maps, tabulate diagnostics.

    A row of `out` is a picture, a column a method: `smoothgrad`, or `smoothgrad:samples=10,noise=0.1` with fields of
    its own. `overlay` draws maps over the picture, and says how much of it the strongest colors cover. `classes` are
    the labels' names. Methods that learn from data are fitted on `fit_on`: a folder with a subfolder of pictures for
    each label, in the labels' order, or a CSV file with columns `file` and `index`. Fits are kept in the cache folder.

    Raises: InputError for what cannot be read, written or explained.
    """
    check_writable(out)
    recipes = {name: recipe_of(name) for name in methods}
    learning = [name for name, recipe in recipes.items() if learners(recipe)]
    if learning and fit_on is None:
        raise InputError(
            f"Expected pictures for {' and '.join(learning)} to learn from, but got none; give --fit-on with a folder "
            "of pictures like those that the network was trained on."
        )
    for picture in pictures:
        if not given_path(picture.path).is_file():  # before a network is loaded
            picture.load()
    net = spec.network()
    pictures = as_told(pictures, spec, net)
    every = [picture.load() for picture in pictures]
    model, classes = spec.bound(net), classes or spec.names(net) or ()
    rows, table = [], _table()
    for place, (picture, data) in enumerate(zip(pictures, every, strict=True)):
        inputs = data.inputs.to(spec.device, DTYPES[spec.dtype])
        if learning and fit_on is not None and place == 0:
            lessons = Lessons(fingerprint=model_fingerprint(model), data=_alike(picture, fit_on), like=inputs)
            recipes |= {name: _fitted(recipes[name], model, lessons) for name in learning}
        outputs = plain_outputs(model, inputs)
        label = torch.tensor([int(outputs.argmax()) if target is None else target])
        check_targets(inputs, label, outputs.shape[1])
        found = {name: recipe.explain(model, inputs, label.to(inputs.device)) for name, recipe in recipes.items()}
        said = _said(outputs, int(label), classes)
        rows.append(_row(data, inputs, recipes, found, said, overlay))
        _enter(table, Path(picture.path).name if len(pictures) > 1 else "", said, found)
    write(rows, out)
    return table


def as_told(pictures: Sequence[P], spec: ModelSpec, net: nn.Module) -> list[P]:
    """Pictures as the network tells, and where it tells nothing as ImageNet's; what somebody set counts first."""
    told = spec.told(net)
    found, said = list[P](), ""
    for picture in pictures:
        if told is None and picture.channels == 3 and is_default(picture.mean) and is_default(picture.std):
            picture = replace(picture, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        wanted, said = as_wanted(picture, told)
        found.append(wanted)
    if said:
        Console(stderr=True).print(said, highlight=False, markup=False, soft_wrap=True)
    return found


def recipe_of(text: str) -> Method:
    """A method as one writes it: its name, or its name, a colon and fields, `smoothgrad:samples=10,noise=0.1`."""
    name, colon, given = text.partition(":")
    if not colon:
        return METHODS.get(name)
    try:
        values: Mapping[str, object] = tomllib.loads(f"fields = {{ {given} }}")["fields"]
    except tomllib.TOMLDecodeError:
        raise InputError(
            f"Expected a method with fields such as 'smoothgrad:samples=10,noise=0.1' (texts in quotes), but got "
            f"{text!r}."
        ) from None
    found: Method = build(METHODS, {"name": name, **values})
    return found


def _alike(picture: ImageFile, fit_on: Path) -> Dataset:
    """Pictures to learn from, read as the one that is explained."""
    index = None if fit_on.is_dir() else fit_on.name
    root = fit_on if index is None else fit_on.parent
    read_alike = {field.name: getattr(picture, field.name) for field in fields(PictureSource)}
    return ImageFolder(root=str(root), index=index, **read_alike).load()


def _row(
    data: Dataset,
    inputs: Tensor,
    recipes: Mapping[str, Method],
    found: Mapping[str, Explanation],
    said: str,
    overlay: float | None,
) -> list[Tile]:
    assert data.display is not None
    shown = data.display[0].numpy()
    tiles = [Tile(shown if shown.ndim == 3 else shown[..., None].repeat(3, -1), said)]
    for name, one in found.items():
        values = Pixels().pool(one.maps, inputs.shape[1:])[0].detach().double().cpu().numpy()
        under = None if overlay is None else shown
        tiles.append(tile_of(values, name, unit=unit(recipes[name]), under=under, strength=overlay or 0.0))
    return tiles


def _said(outputs: Tensor, label: int, classes: Sequence[str]) -> str:
    name = classes[label] if label < len(classes) else f"label {label}"
    if outputs.shape[1] == 1:  # alone it is no probability of anything
        return f"score {float(outputs[0, 0]):.4g}"
    return f"{name}, probability {float(outputs.softmax(1)[0, label]):.3f}"


def _fitted(recipe: Method, model: nn.Module, lessons: Lessons) -> Method:
    def fit(one: FittedMethod) -> FittedMethod:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"fitting {type(one).__name__}", total=lessons.reads(one))
            return replace(one, fitted=lessons.fit(one, model, read=lambda: bar.advance(task)))

    return with_learners(recipe, fit)


def _table() -> Table:
    table = Table(title_justify="left")
    for name in ("picture", "method", "diagnostic", "value"):
        table.add_column(name, no_wrap=True)
    return table


def _enter(table: Table, picture: str, said: str, found: Mapping[str, Explanation]) -> None:
    first = f"{picture}: {said}" if picture else said
    for method, explanation in found.items():
        for name, value in explanation.diagnostics.items():
            table.add_row(first, method, name, f"{float(value[0]):.4g}")
            first = method = ""
