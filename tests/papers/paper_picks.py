"""What the claims, tables and pictures of a paper pick from the rows of its steps."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from heatproof.papers import Paper, Pick


def picks(value: Any) -> Iterator[Pick]:
    """Every pick that a function was made with."""
    if isinstance(value, Pick):
        yield value
    elif isinstance(value, partial):
        yield from picks([value.args, value.keywords])
    elif isinstance(value, Mapping):
        yield from picks(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from picks(one)


def picked(paper: Paper) -> Iterator[tuple[str, Pick]]:
    for claim in paper.claims:
        yield from ((claim.steps[0], pick) for pick in picks(claim.answer) if len(claim.steps) == 1)
    for sheet in paper.sheets:
        yield from ((step, pick) for pick in picks(sheet.make) for step in sheet.steps)
    for picture in paper.pictures:
        yield from ((step, pick) for pick in picks(picture.draw) for step in picture.steps)
