"""An explanation as a notebook shows it: its maps as pictures, and its diagnostics as a table."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from heatproof.drawing.sheet import svg, tile_of

MOST = 8  # samples shown
HIGH = 8  # times as wide as high is a map along one line

Floats = NDArray[np.floating]


def html(maps: Floats, diagnostics: Mapping[str, Floats]) -> str:
    """Maps (N, …) as pictures, the first eight; channels, and what has more than two axes, are summed or laid out."""
    tiles = [tile_of(picture(values), f"sample {k}") for k, values in enumerate(maps[:MOST])]
    rest = f"<p>and {len(maps) - MOST} more</p>" if len(maps) > MOST else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in diagnostics)
    rows = "".join(
        f"<tr><th>sample {k}</th>{''.join(f'<td>{float(values[k]):.4g}</td>' for values in diagnostics.values())}</tr>"
        for k in range(min(MOST, len(maps)))
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>" if diagnostics else ""
    return f"<div>{svg([tiles[:4], tiles[4:]] if len(tiles) > 4 else [tiles])}{rest}{table}</div>"


def picture(values: Floats) -> Floats:
    """One sample's map as (height, width).

    Channels (C, H, W) are summed, a line becomes a stripe, a volume's slices stand side by side, and tokens (T, D) are
    summed over D.
    """
    if values.ndim == 4:  # (C, D, H, W)
        values = np.moveaxis(values.sum(0), 0, 1).reshape(values.shape[2], -1)
    elif values.ndim == 3:
        values = values.sum(0)
    elif values.ndim == 2:  # (C, T) or (T, D): the longer axis is along the line
        values = values.sum(0 if values.shape[0] <= values.shape[1] else 1)
    if values.ndim < 2:
        line = np.atleast_1d(values)
        values = np.repeat(line[None], max(1, len(line) // HIGH), axis=0)
    return values
