"""Where names stand in a figure, so that none lies on another."""

from collections.abc import Mapping, Sequence

LETTER = 5.9  # width of a letter of a small text


def above(marks: Mapping[str, float], width: float) -> tuple[dict[str, tuple[float, str, int]], int]:
    """Where the names of marks at these places stand: (x, anchor, line above), and how many lines they take.

    The first to the left of its line and the others to the right, as far as there is room; beside no other name.
    """
    found: dict[str, tuple[float, str, int]] = {}
    taken: list[tuple[float, float, int]] = []
    for k, (name, at) in enumerate(sorted(marks.items(), key=lambda one: one[1])):
        long = LETTER * len(name)
        left = (k == 0 and len(marks) > 1 and at - long > 0) or at + 3 + long > width
        start, stop = (at - 3 - long, at - 3) if left else (at + 3, at + 3 + long)
        line = next(n for n in range(len(marks) + 1) if all(n != m or stop < a or start > b for a, b, m in taken))
        taken.append((start, stop, line))
        found[name] = (stop, "end", line) if left else (start, "start", line)
    return found, 1 + max((line for _, _, line in found.values()), default=-1)


def beside(
    name: str,
    point: tuple[float, float],
    dots: Sequence[tuple[float, float]],
    taken: list[tuple[float, float, float]],
    within: tuple[float, float, float, float],
) -> tuple[float, float]:
    """Where a point's name begins, and the middle of its line: near the point, on no other point and no other name.

    `taken` are the names placed so far, (start, end, middle), and this one joins them; `within` is (left, right, top,
    bottom).
    """
    long, (x, y) = LETTER * len(name), point
    places = [
        (start, y + down)
        for far in range(0, 120, 6)
        for down in dict.fromkeys((far, -far))
        for start in (x + 9, x - 9 - long)
        if within[0] <= start and start + long <= within[1] and within[2] <= y + down <= within[3]
    ]

    def free(start: float, at: float) -> bool:
        apart = all(abs(at - b) >= 12 or start > stop or start + long < a for a, stop, b in taken)
        return apart and not any(start - 6 < a < start + long + 6 and abs(at - b) < 10 for a, b in dots)

    found = next((place for place in places if free(*place)), (x + 9, y))
    taken.append((found[0], found[0] + long, found[1]))
    return found
