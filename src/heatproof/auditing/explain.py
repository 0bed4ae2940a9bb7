"""One picture explained by several methods, side by side."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from heatproof.auditing.fits import Lessons
from heatproof.auditing.model_spec import DTYPES, ModelSpec
from heatproof.data import ImageFile, ImageFolder
from heatproof.data.pictures import PictureSource
from heatproof.door import plain_outputs
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.fingerprint import model_fingerprint
from heatproof.methods.base import METHODS, Explanation, Method
from heatproof.methods.fitted import FittedMethod, learners, with_learners
from heatproof.models import check_targets

RED, BLUE = np.array([178, 24, 43]), np.array([33, 102, 172])
CAPTION, GAP, SIDE = 22, 8, 224


def explain_image(
    spec: ModelSpec,
    picture: ImageFile,
    methods: Sequence[str],
    *,
    target: int | None,
    out: Path,
    fit_on: Path | None = None,
) -> Table:
    """Attribute `target` (the predicted label by default) by each method, draw the maps, tabulate diagnostics.

    Methods that learn from data are fitted on `fit_on`: a folder with a subfolder of pictures for each label, in the
    labels' order, or a CSV file with columns `file` and `index`. Fits are kept in the cache folder.
    """
    if out.suffix.lower() not in (".png", ".webp", ".jpg", ".jpeg"):
        raise InputError(f"Expected a picture to write (.png, .webp, .jpg), but got {str(out)!r}.")
    if not out.parent.is_dir():
        raise InputError(f"Expected a folder to write {out.name} into, but there is no {out.parent}.")
    recipes = {name: METHODS.get(name) for name in methods}
    learning = [name for name, recipe in recipes.items() if learners(recipe)]
    if learning and fit_on is None:
        raise InputError(
            f"Expected pictures for {' and '.join(learning)} to learn from, but got none; give --fit-on with a folder "
            "of pictures like those that the network was trained on."
        )
    data = picture.load()
    model = spec.load()
    inputs = data.inputs.to(spec.device, DTYPES[spec.dtype])
    outputs = plain_outputs(model, inputs)
    label = torch.tensor([int(outputs.argmax()) if target is None else target])
    check_targets(inputs, label, outputs.shape[1])
    if learning and fit_on is not None:
        index = None if fit_on.is_dir() else fit_on.name
        root = fit_on if index is None else fit_on.parent
        read_alike = {field.name: getattr(picture, field.name) for field in fields(PictureSource)}
        folder = ImageFolder(root=str(root), index=index, **read_alike)
        lessons = Lessons(fingerprint=model_fingerprint(model), data=folder.load(), like=inputs)
        recipes |= {name: _fitted(recipes[name], model, lessons) for name in learning}
    found = {name: recipe.explain(model, inputs, label.to(inputs.device)) for name, recipe in recipes.items()}
    assert data.display is not None
    panels = [("input", data.display[0].numpy())]
    panels += [(name, colored(Pixels().pool(e.maps, inputs.shape[1:])[0])) for name, e in found.items()]
    side_by_side(panels).save(out)
    if outputs.shape[1] == 1:  # alone it is no probability of anything
        return _table(found, f"score {float(outputs[0, 0]):.4g}")
    return _table(found, f"label {int(label)}, probability {float(outputs.softmax(1)[0, label]):.3f}")


def colored(values: Tensor) -> "np.ndarray":
    """A map (H, W) as RGB uint8: red above and blue below zero, white at zero, scaled by the largest magnitude."""
    map_ = values.detach().double().cpu().numpy()
    strength = (map_ / max(np.abs(map_).max(), np.finfo(float).tiny))[..., None]
    ends = np.where(strength > 0, RED, BLUE)
    rgb: np.ndarray = (255 + (ends - 255) * np.abs(strength)).round().astype(np.uint8)
    return rgb


def side_by_side(panels: Sequence[tuple[str, "np.ndarray"]]) -> Image.Image:
    """Pictures in a row, each under its name."""
    images = []
    for _, pixels in panels:
        one = Image.fromarray(pixels).convert("RGB")
        scale = max(1, SIDE // max(one.size))
        images.append(one.resize((one.width * scale, one.height * scale), Image.Resampling.NEAREST))
    width = sum(max(one.width, SIDE) + GAP for one in images) + GAP
    canvas = Image.new("RGB", (width, max(one.height for one in images) + CAPTION + 2 * GAP), "white")
    draw, x = ImageDraw.Draw(canvas), GAP
    for (name, _), one in zip(panels, images, strict=True):
        draw.text((x, GAP // 2), name, fill=(40, 40, 40))
        canvas.paste(one, (x, CAPTION + GAP // 2))
        x += max(one.width, SIDE) + GAP
    return canvas


def _fitted(recipe: Method, model: nn.Module, lessons: Lessons) -> Method:
    def fit(one: FittedMethod) -> FittedMethod:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"fitting {type(one).__name__}", total=lessons.reads(one))
            return replace(one, fitted=lessons.fit(one, model, read=lambda: bar.advance(task)))

    return with_learners(recipe, fit)


def _table(found: dict[str, Explanation], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("method", no_wrap=True)
    table.add_column("diagnostic", no_wrap=True)
    table.add_column("value", no_wrap=True)
    for method, explanation in found.items():
        for i, (name, value) in enumerate(explanation.diagnostics.items()):
            table.add_row("" if i else method, name, f"{float(value[0]):.4g}")
    return table
