"""Freed memory stays while it will be used again, and goes back afterwards."""

import resource
import sys

import pytest
import torch

from heatproof import allocator

glibc = pytest.mark.skipif(allocator._glibc() is None, reason="another C library keeps memory in its own way")


def faults(calls):
    """Pages that the kernel has to give in so many rounds of making and freeing 200 MiB in blocks of 4."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        held = [torch.ones(2**20) for _ in range(50)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_pages_are_given_once():
    with allocator.kept():
        faults(2)
        assert faults(5) < 0.1 * 5 * 50 * 1024  # 4 MiB are 1024 pages, were each block new


@glibc
def test_contexts_within_each_other_end_with_the_outermost(monkeypatch):
    told = []

    class Library:
        def mallopt(self, which, size):
            told.append((which, size))

        def malloc_trim(self, rest):
            told.append(("trim", rest))

    monkeypatch.setattr(allocator, "_glibc", Library)
    with allocator.kept():
        with allocator.kept():
            pass
        assert told == 2 * [*allocator._KEPT.items()]
    assert told[4:] == [*allocator._USUAL.items(), ("trim", 0)]
    assert allocator._open == 0


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_nothing_is_done(platform, monkeypatch):
    allocator._glibc.cache_clear()
    monkeypatch.setattr(sys, "platform", platform)
    try:
        assert allocator._glibc() is None
        with allocator.kept():
            assert allocator._open == 0
    finally:
        allocator._glibc.cache_clear()
