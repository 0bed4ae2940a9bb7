"""How arithmetic is pinned down, so that the same numbers come out bit for bit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """This many threads, deterministic kernels and no TF32, and everything as before afterwards.

    Sums on two threads differ from those on one in their last bits.
    """
    before = torch.get_num_threads()
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    deterministic, benchmark = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
