"""The verb that explains pictures."""

from pathlib import Path
from typing import Annotated

import typer

from heatproof.cli.base import app, out
from heatproof.cli.given import lines, read_as
from heatproof.errors import InputError


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="torchvision:NAME, timm:NAME, hf:FOLDER or package.module:factory.")],
    images: Annotated[list[Path], typer.Argument(help="A picture, or several: a row each.")],
    method: Annotated[
        list[str],
        typer.Option(help="A method by name, or with fields, 'smoothgrad:samples=10,noise=0.1'; several side by side."),
    ] = ["gradient-x-input"],  # noqa: B006  # typer wants a list, and changes none
    weights: Annotated[Path | None, typer.Option(help="A safetensors file or a state dict.")] = None,
    layer: Annotated[str | None, typer.Option(help="Explain this submodule's output instead of the logits.")] = None,
    target: Annotated[int | None, typer.Option(help="The label; the predicted one by default.")] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="Short side before cropping; or HEIGHT,WIDTH; or none to keep the size. As the model tells, or 256."
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="Side of the square in the middle; or HEIGHT,WIDTH; or none to keep all. As the model tells, or 224."
        ),
    ] = None,
    channels: Annotated[int | None, typer.Option(help="3 for RGB (the default), 1 for grey.")] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="Mean of each channel, by commas. As the model tells, or ImageNet's for RGB, none for grey."),
    ] = None,
    std: Annotated[str | None, typer.Option(help="Standard deviation of each channel, by commas.")] = None,
    fit_on: Annotated[
        Path | None, typer.Option(help="Pictures for methods that learn: a folder a label, or a CSV of file,index.")
    ] = None,
    overlay: Annotated[
        float | None, typer.Option(help="Draw maps over the picture; how much the strongest colors cover, 0 to 1.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="The labels' names: a text file, a line each.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="The picture to write: .png, .svg, .webp or .jpg.")] = Path(
        "map.png"
    ),
) -> None:
    """Attribute what a network predicts of pictures by one or several methods, and draw the maps beside them."""
    from heatproof.auditing.explain import explain_images
    from heatproof.auditing.model_spec import ModelSpec
    from heatproof.data import ImageFile

    spec = ModelSpec(name=model, weights=None if weights is None else str(weights.resolve()), layer=layer)
    if overlay is not None and not 0 <= overlay <= 1:
        raise InputError(f"Expected overlay, a share, from 0 to 1, but got {overlay}.")
    given = read_as(resize, crop, channels, mean, std)
    read = [ImageFile(path=str(image), **given) for image in images]
    table = explain_images(
        spec, read, method, target=target, out=folder, fit_on=fit_on, overlay=overlay, classes=lines(classes)
    )
    out.print(table)
    out.print(f"Wrote {folder}", highlight=False)
