"""How pictures are read, as options say it: for the verbs that take pictures, and the names of labels."""

from pathlib import Path
from typing import Any

from heatproof.errors import InputError


def read_as(
    resize: str | None, crop: str | None, channels: int | None, mean: str | None, std: str | None
) -> dict[str, Any]:
    """The fields of a source of pictures that somebody gave."""
    given: dict[str, Any] = {name: _pixels(size) for name, size in (("resize", resize), ("crop", crop)) if size}
    given |= {name: _numbers(numbers) for name, numbers in (("mean", mean), ("std", std)) if numbers is not None}
    return given if channels is None else {**given, "channels": channels}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"Expected numbers with commas between them, but got {text!r}.") from None


def _pixels(text: str) -> int | tuple[int, int] | None:
    """A number of pixels, HEIGHT,WIDTH, or none."""
    if text.strip().lower() == "none":
        return None
    numbers = text.replace("x", ",").split(",")
    if not all(number.strip().isdigit() for number in numbers) or len(numbers) > 2:
        raise InputError(f"Expected a number of pixels, HEIGHT,WIDTH or none, but got {text!r}.")
    first, last = int(numbers[0]), int(numbers[-1])
    return first if len(numbers) == 1 else (first, last)


def lines(path: Path | None) -> list[str]:
    """The lines of a text file."""
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Expected a text file of labels' names, but {path} cannot be read: {error}.") from None
