"""Programs of `torch.export`: what was fixed when they were exported."""

import re

from heatproof.errors import InputError

# A program's guard, and that of an unflattened one.
_FIXED = (r"Guard failed: .+\.size\(\)\[0\] == (\d+)", r"\.shape\[0\] to be equal to (\d+)")


def fixed_batch_behind(error: Exception, samples: int) -> InputError | None:
    """The refusal of a batch size that is not the one a program was exported with, as a sentence."""
    if not isinstance(error, AssertionError | RuntimeError):
        return None
    found = next(filter(None, (re.search(fixed, str(error)) for fixed in _FIXED)), None)
    return found and InputError(
        f"Expected a program that takes any number of samples, but this one was exported for batches of {found[1]} "
        f"and got {samples}; export it with a dynamic batch: torch.export.export(model, (inputs,), "
        "dynamic_shapes=({0: torch.export.Dim('batch')},))."
    )
