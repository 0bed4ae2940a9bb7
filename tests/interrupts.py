"""Interrupts at random moments, by an alarm or from another thread, and what they leave of a model and the process."""

import ctypes
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack


def everything(model: nn.Module) -> dict[str, Any]:
    """What must be as it was: bytes, modes, hooks and attributes of the model, and torch's state of the process."""
    state: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        state[f"bytes of {name}"] = tensor.detach().numpy().tobytes()
        state[f"wanted {name}"] = tensor.requires_grad, tensor.grad is None, len(tensor._backward_hooks or {})
    for name, module in model.named_modules():
        state[f"mode of {name}"] = module.training
        state[f"parts of {name}"] = sorted(vars(module))
        hooks = [kind for kind in vars(module) if "hooks" in kind]
        state[f"hooks of {name}"] = {kind: list(vars(module)[kind] or ()) for kind in hooks}
    for kind in ("forward_pre", "forward", "backward_pre", "backward"):
        state[f"global {kind} hooks"] = list(getattr(nn.modules.module, f"_global_{kind}_hooks"))
    state["gradients"] = torch.is_grad_enabled()
    state["modes"] = len(_get_current_function_mode_stack())
    state["generator"] = torch.get_rng_state().numpy().tobytes()
    state["threads"] = torch.get_num_threads()
    state["handler"] = signal.getsignal(signal.SIGINT)
    return state


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """KeyboardInterrupt after so many seconds, by a signal as Ctrl-C gives it."""

    def strike(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def from_outside(seconds: float) -> Iterator[None]:
    """KeyboardInterrupt after so many seconds, put into this thread by another."""
    begun, over, thread = threading.Lock(), threading.Lock(), threading.get_ident()
    begun.acquire()
    over.acquire()

    def strike() -> None:
        begun.acquire()
        if not over.acquire(timeout=seconds):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))

    other = threading.Thread(target=strike)
    other.start()  # an interrupt in it would break it, so that it begins to count only now
    begun.release()
    try:
        yield
    finally:
        over.release()
        other.join()


def struck(call: Callable[[], object], seconds: float, how: Callable[[float], Any]) -> bool:
    """Whether `call` was interrupted; the interrupt that comes too late goes nowhere."""
    try:
        with how(seconds):
            call()
        time.sleep(0)  # one that was sent at the last moment comes here
    except KeyboardInterrupt:
        return True
    return False


def damaged(make: Callable[[], tuple[nn.Module, Callable[[], object]]], times: int, seed: int) -> tuple[int, list[str]]:
    """Of so many calls, each with an interrupt at a random moment of it: how many were struck, and what was changed.

    `make` gives the model and the call; they are made anew where something was changed, so that each counts by itself.
    """
    generator, strikes, found = random.Random(seed), 0, list[str]()
    duration, model, call = 0.0, nn.Module(), object
    for i in range(times):
        if not duration:
            torch.set_grad_enabled(True)
            model, call = make()
            duration = min(_seconds(call) for _ in range(4))
        before = everything(model)
        strikes += struck(call, generator.uniform(0, duration), alarm if i % 2 else from_outside)
        after = everything(model)
        odd = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        if odd:
            found.append(", ".join(odd[:3]))
            duration = 0.0
    return strikes, found


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
