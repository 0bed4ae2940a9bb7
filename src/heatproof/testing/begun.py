"""How much Python a call runs: a count that no other work on the machine disturbs."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def functions_begun(run: Callable[[], object]) -> int:
    """How many Python functions begin while it runs."""
    begun = 0

    def see(_frame: FrameType, event: str, _arg: Any) -> None:
        nonlocal begun
        begun += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(before)
    return begun
