"""Defaults of a source's fields that give way: to what a network tells, where nobody gave the field."""

from typing import Any


class Number(int):
    """A number that nobody gave: like any other, but for `is_default`."""


class Numbers(tuple[float, ...]):
    """Numbers that nobody gave."""

    __slots__ = ()


class Word(str):
    """A word that nobody gave."""

    __slots__ = ()


NONE, RESIZE, CROP, RGB, LENGTH = Numbers(), Number(256), Number(224), Number(3), Number(500)
BILINEAR, NEAREST = Word("bilinear"), Word("nearest")


def is_default(value: Any) -> bool:
    """Whether the value of a field is its default, and not the same that somebody gave."""
    return isinstance(value, Number | Numbers | Word)
