"""A source as a network wants its samples, as far as the network tells and nobody said otherwise."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from heatproof.data.base import Source
from heatproof.data.preprocessing import Preprocessing, as_wanted
from heatproof.data.text import TextTable
from heatproof.errors import HeatproofWarning


class Wanted(NamedTuple):
    """A source, and what was read of the network for it, in a sentence; "" for nothing."""

    source: Source
    read: str


def wanted(source: Source, *, told: Preprocessing | None = None, folder: Path | None = None) -> Wanted:
    """The source with pictures as `told`, texts by the tokenizer in `folder`.

    Warns: HeatproofWarning where what was set is not what the network tells.
    """
    read = ""
    if isinstance(source, TextTable):
        if folder is not None and not source.tokenizer and not source.vocabulary:
            source = replace(source, tokenizer=str(folder))
            read = f"Texts are read by the model's tokenizer, {source.tokens_a_text} tokens each."
    else:
        source, read = as_wanted(source, told)
    return Wanted(source, read)


def with_names(source: Source, names: Sequence[str] | None) -> Source:
    """The source with labels in the order of `names`, those of the network's.

    Where a source has labels by name (subfolders, words in a column), all of which the network has, label k is the
    network's k; else it is the k-th of the source's own, in sorted order.

    Warns: HeatproofWarning where some names are not the network's, or stand for several of its labels; and where labels
        have their places already, in `classes` or by number, and these are not the network's.
    """
    if not names:
        return source
    own = source.blocks().classes
    if own is None or tuple(own) == tuple(names):
        return source
    if not source.labels_by_name or getattr(source, "classes", None):
        _say_order(own, names)
        return source
    twice = [name for name in own if list(names).count(name) > 1]
    if twice:
        places = [place for place, name in enumerate(names) if name == twice[0]]
        warnings.warn(
            f"The model has {len(places)} labels called {twice[0]!r}, {' and '.join(map(str, places))}, and the data's "
            "are taken for the first; give the samples' labels as numbers, in a CSV file as `index`, to tell them "
            "apart.",
            HeatproofWarning,
            stacklevel=3,
        )
    strange = [name for name in own if name not in names]
    if not strange:
        return replace(source, classes=tuple(names))  # type: ignore[call-arg]  # it has the field, as asked above
    warnings.warn(
        f"Labels of the data have names that the model's have not ({', '.join(map(repr, strange[:3]))}; the model's "
        f"are {', '.join(map(repr, list(names)[:3]))}, …), so label k of the data, in sorted order, is output k. Give "
        "the data's `classes` in the order of the outputs, or rename its labels.",
        HeatproofWarning,
        stacklevel=3,
    )
    return source


def _say_order(own: Sequence[str], names: Sequence[str]) -> None:
    """Warn where label k of the data has a name that the network has for another label."""
    known = list(names)
    other = [(k, name) for k, name in enumerate(own) if name in known and not (k < len(known) and known[k] == name)]
    if other:
        place, name = other[0]
        warnings.warn(
            f"Label {place} of the data is called {name!r}, and that is label {known.index(name)} of the model "
            f"({len(other)} such names), so what is explained and called right may be another label than is said. "
            "Bring the data's labels into the order of the model's.",
            HeatproofWarning,
            stacklevel=4,
        )
