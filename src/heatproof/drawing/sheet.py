"""Maps and pictures in a grid with captions and color bars, as a bitmap or as SVG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from heatproof.drawing.colormaps import colored, table
from heatproof.drawing.scale import flat, levels, scale_of
from heatproof.errors import InputError

Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating]
SIDE, GAP, CAPTION, BAR = 224, 12, 20, 30
BITMAPS = (".png", ".webp", ".jpg", ".jpeg")
INK, SOFT = "#1a1f27", "#5b6572"


@dataclass(frozen=True)
class Tile:
    """A picture (H, W, 3) with what stands above it.

    `bar` is its color bar: the value of the strongest color, the unit, and whether there are negative values; `note`
    takes its place where there is none.
    """

    pixels: Bytes
    caption: str
    bar: tuple[float, str, bool] | None = None
    note: str = ""


def tile_of(values: Floats, caption: str, *, unit: str = "", under: Bytes | None = None, strength: float = 0.6) -> Tile:
    """A map (H, W) as a tile, scaled as everywhere (`drawing.scale`); over a picture of any size, if `under` is given.

    A map without a pattern is a grey ground with the words for it. `strength` in [0, 1] is how much of the picture the
    strongest colors cover.
    """
    none = flat(values)
    if none is not None:
        return Tile(np.full((*values.shape, 3), 225, np.uint8), caption, note=none.said)
    signed, scale = bool((values < 0).any()), scale_of(values)
    level = levels(values, scale, signed=signed)
    pixels = colored(level, signed=signed)
    if under is not None:
        height, width = under.shape[:2]
        level = np.asarray(Image.fromarray(level).resize((width, height), Image.Resampling.BILINEAR))
        pixels = overlaid(under, level, signed=signed, strength=strength)
    return Tile(pixels, caption, bar=(scale, unit, signed))


def overlaid(picture: Bytes, level: Bytes, *, signed: bool, strength: float) -> Bytes:
    """A map's colors over the picture (H, W) or (H, W, 3) in grey: the stronger the value, the less shows through."""
    grey = picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
    size = np.abs(level.astype(float) - 128) / 127 if signed else level / 255
    weight = np.clip(1.6 * strength * size, 0, 1)[..., None]
    ground = 255 - 0.45 * (255 - grey[..., None].astype(float))
    found: Bytes = np.rint(colored(level, signed=signed) * weight + ground * (1 - weight)).astype(np.uint8)
    return found


def check_writable(out: Path) -> None:
    """Refuse a file that `write` cannot make. Raises: InputError for another ending, or a folder that is not there."""
    if out.suffix.lower() not in (*BITMAPS, ".svg"):
        raise InputError(f"Expected a picture to write (.svg, .png, .webp, .jpg), but got {str(out)!r}.")
    if not out.parent.is_dir():
        raise InputError(f"Expected a folder to write {out.name} into, but there is no {out.parent}.")


def write(rows: Sequence[Sequence[Tile]], out: Path) -> None:
    """A grid of tiles as a file, by the ending of its name. Raises: as `check_writable`."""
    check_writable(out)
    if out.suffix.lower() == ".svg":
        out.write_text(svg(rows), encoding="utf-8")
    else:
        bitmap(rows).save(out)


def bitmap(rows: Sequence[Sequence[Tile]]) -> Image.Image:
    """A grid of tiles as an image."""
    width, height, places = _laid_out(rows)
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for tile, x, y, across, down in places:
        draw.text((x, y), tile.caption, fill=INK, font=font)
        image = Image.fromarray(tile.pixels).convert("RGB").resize((across, down), Image.Resampling.NEAREST)
        canvas.paste(image, (x, y + CAPTION))
        below = y + CAPTION + down + 4
        if tile.bar is not None:
            signed = tile.bar[2]
            bar = Image.fromarray(table(signed=signed)[1:][None]).resize((across, 8), Image.Resampling.NEAREST)
            canvas.paste(bar, (x, below))
            for (said, anchor), at in zip(_ends(tile), (x, x + across), strict=True):
                draw.text((at, below + 10), said, fill=SOFT, font=font, anchor="la" if anchor == "start" else "ra")
        elif tile.note:
            draw.text((x, below), tile.note, fill=SOFT, font=font)
    return canvas


def svg(rows: Sequence[Sequence[Tile]]) -> str:
    """The same as SVG: text stays text, maps are images in it."""
    width, height, places = _laid_out(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *(_gradient(signed=signed) for signed in (True, False)),
    ]
    for tile, x, y, across, down in places:
        parts.append(f'<text x="{x}" y="{y + 13}" fill="{INK}">{escape(tile.caption)}</text>')
        parts.append(
            f'<image x="{x}" y="{y + CAPTION}" width="{across}" height="{down}" style="image-rendering:pixelated" '
            f'href="{png(tile.pixels)}"/>'
        )
        below = y + CAPTION + down + 4
        if tile.bar is not None:
            name = "signed" if tile.bar[2] else "unsigned"
            parts.append(f'<rect x="{x}" y="{below}" width="{across}" height="8" fill="url(#{name})"/>')
            for (said, anchor), at in zip(_ends(tile), (x, x + across), strict=True):
                text = f'<text x="{at}" y="{below + 21}" fill="{SOFT}" text-anchor="{anchor}">{escape(said)}</text>'
                parts.append(text)
        elif tile.note:
            parts.append(f'<text x="{x}" y="{below + 12}" fill="{SOFT}">{escape(tile.note)}</text>')
    return "".join([*parts, "</svg>\n"])


def png(pixels: Bytes) -> str:
    """Pixels as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _ends(tile: Tile) -> tuple[tuple[str, str], tuple[str, str]]:
    assert tile.bar is not None
    scale, unit, signed = tile.bar
    return (f"−{scale:.3g}" if signed else "0", "start"), (f"{scale:.3g} {unit}".strip(), "end")


def _gradient(*, signed: bool) -> str:
    colors = table(signed=signed)[1::15]
    stops = "".join(
        f'<stop offset="{k / (len(colors) - 1):.3f}" stop-color="#{bytes(color).hex()}"/>'
        for k, color in enumerate(colors)
    )
    return f'<linearGradient id="{"signed" if signed else "unsigned"}">{stops}</linearGradient>'


def _laid_out(rows: Sequence[Sequence[Tile]]) -> tuple[int, int, list[tuple[Tile, int, int, int, int]]]:
    """Width, height, and each tile with its place and size: pixels enlarged by whole numbers up to `SIDE` a side."""
    places, y, width = [], GAP, 0
    for row in rows:
        x, tallest = GAP, 0
        for tile in row:
            down, across = tile.pixels.shape[:2]
            factor = max(1, SIDE // max(down, across))
            size = (across * factor, down * factor)
            places.append((tile, x, y, *size))
            x += max(size[0], SIDE) + GAP
            tallest = max(tallest, size[1])
        y += CAPTION + tallest + BAR + GAP
        width = max(width, x)
    return width, y, places
