"""Networks under `torch.compile`: what derives through them runs them as they were written."""

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[object]:
    """Functions that `torch.compile` made run as they were written.

    A rule sees their calls then, and a gradient may be pulled more than once: compiled graphs give back their memory at
    the first pull. The compiler is asked only where it is loaded: to load it takes seconds.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
