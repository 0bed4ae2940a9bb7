"""Small words: numbers, lists and times as a sentence holds them."""

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def spelled(count: int) -> str:
    """A number as a word up to twelve."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A time as people say it."""
    units = ((1e3, "ms"), (1.0, "s"), (1 / 60, "min"), (1 / 3600, "h"))
    value, unit = next(((seconds * f, u) for f, u in units if seconds * f < 99.5), (seconds / 3600, "h"))
    return f"{value:.2g} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"


def rounded(count: int) -> str:
    """A count that is an estimate: two digits of it."""
    digits = max(0, len(str(count)) - 2)
    return f"{round(count, -digits):,}"
