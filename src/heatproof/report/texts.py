"""Texts with their words colored by what each method attributes to them, as escaped HTML that needs no script."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from heatproof.report import pictures
from heatproof.report.columns import columns_of
from heatproof.report.gallery import class_name, is_signed
from heatproof.report.shown import Shown

LEVELS = 8  # shades of a color; style.css has a class each
LONG = 4  # so many equal words in a row, such as padding, are shown once, with their number


def texts_of(kept: Shown, manifest: Mapping[str, Any], order: Sequence[str]) -> list[dict[str, Any]]:
    """For each shown text, what each method colors: under the trained network, and with every layer random.

    Empty where the run is not about texts, or kept no maps.
    """
    tokens: Mapping[str, Sequence[str]] = manifest["data"].get("tokens") or {}
    if not tokens:
        return []
    maps, _, samples = kept
    columns = columns_of(manifest, {state for state, _, _ in maps})
    columns = [column for column in columns if not column["group"] or column["random"]]
    signed = {label: is_signed(maps, label) for label in order}

    def method(label: str, name: str) -> dict[str, Any]:
        kept = [column for column in columns if (column["state"], label, name) in maps]
        said = {column["state"]: f"{column['group']}, all layers" if column["group"] else "trained" for column in kept}
        return {
            "label": label,
            "texts": [
                (said[state], colored(tokens[name], maps[state, label, name], signed=signed[label])) for state in said
            ],
        }

    return [
        {
            "id": name,
            "target": class_name(samples[name]["target"], manifest["data"]["classes"]),
            "methods": [found for label in order if (found := method(label, name))["texts"]],
        }
        for name in manifest["shown"]
        if name in tokens
    ]


def colored(tokens: Sequence[str], values: pictures.Floats, *, signed: bool) -> Markup:
    """The words with a class a shade: p1 … p8 for, n1 … n8 against; u1 … u8 where a method knows no sign.

    Scaled like every map, by the 99.5th percentile of the absolute values. Words of one shade share an element.
    """
    drawn = pictures.grey(np.asarray(values).reshape(1, -1), signed=signed, side=len(tokens))[0].astype(int)
    level = np.rint((drawn - 128) / 127 * LEVELS if signed else drawn / 255 * LEVELS).astype(int).tolist()
    words: list[tuple[str, int]] = []
    at = 0
    for token, same in groupby(tokens):
        many = len(list(same))
        shades = level[at : at + many]
        words += [(f"{token} × {many}", max(shades, key=abs))] if many >= LONG else [(token, s) for s in shades]
        at += many
    return Markup(" ").join(
        _shaded(shade, " ".join(word for word, _ in run), signed=signed)
        for shade, run in groupby(words, key=lambda word: word[1])
    )


def _shaded(shade: int, text: str, *, signed: bool) -> Markup:
    if shade == 0:
        return escape(text)
    kind = "n" if shade < 0 else "p" if signed else "u"
    return Markup('<i class="{}{}">{}</i>').format(kind, abs(shade), text)
