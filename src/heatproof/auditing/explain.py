"""One picture explained by several methods, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.table import Table
from torch import Tensor

from heatproof.auditing.spec import DTYPES, ModelSpec
from heatproof.data import ImageFile
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.methods.base import METHODS, Explanation
from heatproof.models import check_targets, forward

RED, BLUE = np.array([178, 24, 43]), np.array([33, 102, 172])
CAPTION, GAP, SIDE = 22, 8, 224


def explain_image(
    spec: ModelSpec,
    image: Path,
    methods: Sequence[str],
    *,
    target: int | None,
    resize: int | None,
    crop: int | None,
    normalize: tuple[tuple[float, ...], ...],
    out: Path,
) -> Table:
    """Attribute `target` (the predicted label by default) by each method, draw the maps, tabulate diagnostics."""
    if out.suffix.lower() not in (".png", ".webp", ".jpg", ".jpeg"):
        raise InputError(f"Expected a picture to write (.png, .webp, .jpg), but got {str(out)!r}.")
    if not out.parent.is_dir():
        raise InputError(f"Expected a folder to write {out.name} into, but there is no {out.parent}.")
    recipes = {name: METHODS.get(name) for name in methods}
    data = ImageFile(path=str(image), resize=resize, crop=crop, mean=normalize[0], std=normalize[1]).load()
    model = spec.load()
    inputs = data.inputs.to(spec.device, DTYPES[spec.dtype])
    with torch.no_grad():
        outputs = forward(model, inputs, torch.tensor([0]))
    label = torch.tensor([int(outputs.argmax()) if target is None else target])
    check_targets(inputs, label, outputs.shape[1])
    found = {name: recipe.explain(model, inputs, label.to(inputs.device)) for name, recipe in recipes.items()}
    assert data.display is not None
    panels = [("input", data.display[0].numpy())]
    panels += [(name, colored(Pixels().pool(e.maps, inputs.shape[1:])[0])) for name, e in found.items()]
    side_by_side(panels).save(out)
    return _table(found, int(label), float(outputs.softmax(1)[0, label]))


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


def _table(found: dict[str, Explanation], label: int, probability: float) -> Table:
    table = Table(title=f"label {label}, probability {probability:.3f}", title_justify="left")
    table.add_column("method", no_wrap=True)
    table.add_column("diagnostic", no_wrap=True)
    table.add_column("value", no_wrap=True)
    for method, explanation in found.items():
        for i, (name, value) in enumerate(explanation.diagnostics.items()):
            table.add_row("" if i else method, name, f"{float(value[0]):.4g}")
    return table
