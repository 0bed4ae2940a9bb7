"""Shares and lists in words."""

from collections.abc import Sequence

import numpy as np


def percent(value: float) -> str:
    """A share in whole percent."""
    return "? %" if not np.isfinite(value) else f"{round(100 * value) + 0:d} %"


def in_words(mean: float, low: float, high: float) -> str:
    """A share with its interval, of what there is: less alike than chance is nothing, more than itself all of it."""
    if not np.isfinite(mean + low + high):
        return "an unknown share"
    kept, least, most = (percent(min(max(end, 0.0), 1.0)) for end in (mean, low, high))
    if mean > 0:
        return kept if least == most else f"{kept} ({least[:-2]} to {most})"
    return "nothing" if most == "0 %" else f"nothing (at most {most})"


def sentence(text: str) -> str:
    """The text with a capital first."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names with commas, and a word before the last."""
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else "".join(names)
