"""What the demo data promise, in scalar loops."""

from collections.abc import Sequence

Picture = Sequence[Sequence[float]]


def bounding_box(picture: Picture) -> tuple[int, int, int, int]:
    """The smallest (xmin, ymin, xmax, ymax), ends left out, around the pixels above 0."""
    lit = [(x, y) for y, row in enumerate(picture) for x, value in enumerate(row) if value > 0]
    xs, ys = [x for x, _ in lit], [y for _, y in lit]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def free_corners(span: int, row: int, column: int, rows: int, columns: int) -> list[tuple[int, int]]:
    """The places of a grid of side `span`, row by row, that are not in a block of it."""
    return [
        (y, x)
        for y in range(span)
        for x in range(span)
        if not (row <= y < row + rows and column <= x < column + columns)
    ]
