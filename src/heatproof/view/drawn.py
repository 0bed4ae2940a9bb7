"""Maps and samples as the page shows them: pictures as data, texts as colored words, numbers beside them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatproof.data import Dataset
from heatproof.drawing.scale import flat, scale_of
from heatproof.report import pictures, texts

LARGEST = 448  # pixels a side


def drawn(values: NDArray[Any], grid: Sequence[int], words: Sequence[str] | None = None) -> dict[str, Any]:
    """A map of `grid` features, scaled and colored as everywhere; of a text its words, as escaped HTML.

    `flat` says what a map without a pattern is, which is not drawn; `scale` is the value of the strongest color.
    """
    signed = bool((values < 0).any())
    found: dict[str, Any] = {"signed": signed, "scale": scale_of(values), "flat": "", "text": "", "image": ""}
    if (none := flat(values)) is not None:
        found["flat"] = none.said
    elif words is not None and len(words) == values.size:
        found["text"] = str(texts.colored(words, values.reshape(-1).astype(np.float32), signed=signed))
    else:
        level = pictures.grey(pictures.drawable(values.astype(np.float32), grid), signed=signed, side=LARGEST)
        found["image"] = pictures.in_colors(level, signed=signed)
    return found


def picture_of(data: Dataset) -> str:
    """The one sample of a data set as a picture; empty where it is a text."""
    name = data.ids[0]
    if data.display is not None:
        return pictures.picture(name, {f"display:{name}": data.display[0].numpy()}) or ""
    if not data.inputs.is_floating_point():
        return ""
    return pictures.picture(name, {name: data.inputs[0].numpy()}) or ""
