"""One run of a network, watched: what its layers' outputs mean, and what depends on what."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from heatproof import modes
from heatproof.compiled import uncompiled
from heatproof.layouts.facts import Fact, first
from heatproof.layouts.reading import Reading, read
from heatproof.layouts.told import Told
from heatproof.layouts.watch import Watch
from heatproof.propagation.proofs import modes_left_above
from heatproof.state import unchanged
from heatproof.undo import hooked, undone

POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
POOLS += (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)  # type: ignore[assignment]


class Layer(NamedTuple):
    """A layer's output in one run of the network."""

    name: str
    shape: tuple[int, ...]
    fact: Fact
    reading: Reading | None
    new: bool  # not its own input handed on, nor adaptive pooling's, which keeps what it pools nowhere


@dataclass(eq=False)
class Record:
    """What was seen of a network on two rows of one sample. Its questions cost no run of the network."""

    told: Told
    shape: tuple[int, ...]  # of the input, with two rows
    source: Fact
    outputs: Fact | None
    layers: dict[str, Layer]  # by name, in the order in which they were done; those that ran once
    runs: dict[str, int]
    kinds: dict[str, str]  # of what each layer returned last: Tensor, tuple, …

    def depended_on(
        self, layers: Sequence[Layer], *, without: Sequence[Layer] = (), of: Fact | None = None
    ) -> list[Tensor]:
        """Where the outputs (or `of`) depend on each layer's output, as bool tensors of its shape.

        What leads through the layers `without` does not count.
        """
        shapes = [layer.shape for layer in layers]
        return self._depended_on([layer.fact.flow for layer in layers], shapes, without, of or self.outputs)

    def left(self, layers: Sequence[Layer], *, without: Sequence[Layer]) -> tuple[list[Tensor], bool]:
        """The same of the outputs; and whether they depend on the input in a way through none of `without` at all."""
        flows = [*(layer.fact.flow for layer in layers), self.source.flow]
        *reads, source = self._depended_on(
            flows, [*(layer.shape for layer in layers), self.shape], without, self.outputs
        )
        return reads, bool(source.any())

    def passes_by(self, layer: Layer) -> bool:
        """Whether the outputs depend on the input in a way that does not lead through the layer."""
        return self.left([], without=[layer])[1]

    def _depended_on(
        self, flows: list[Tensor], shapes: Sequence[tuple[int, ...]], without: Sequence[Layer], of: Fact | None
    ) -> list[Tensor]:
        if of is None or not of.flow.requires_grad or not flows:
            return [torch.zeros(shape, dtype=torch.bool) for shape in shapes]
        with torch.inference_mode(False), torch.enable_grad(), self._blocked(without):
            found = torch.autograd.grad(of.flow.sum(), flows, retain_graph=True, allow_unused=True)
        pairs = zip(found, shapes, strict=True)
        return [torch.zeros(shape, dtype=torch.bool) if g is None else g != 0 for g, shape in pairs]

    def is_class_map(self, layer: Layer) -> bool:
        """Whether each output depends on one channel of the layer's map, its own."""
        reading, outputs = layer.reading, self.outputs
        if reading is None or outputs is None or reading.width != outputs.flow.shape[1] or reading.width < 2:
            return False
        one = Fact(outputs.flow[:, 0], (), raw=False)
        (read,) = self.depended_on([layer], of=one)
        channels = reading(read).flatten(1, -2).any(1).any(0)
        return channels.nonzero().flatten().tolist() == [0]

    @contextmanager
    def _blocked(self, layers: Sequence[Layer]) -> Iterator[None]:
        with ExitStack() as hooks:
            for layer in layers:
                if layer.fact.flow.requires_grad:
                    handle = layer.fact.flow.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
                    hooks.callback(handle.remove)
            yield


def recorded(net: nn.Module, inputs: Tensor, run: Callable[[Tensor, Tensor], Any]) -> Record:
    """What is seen of `net` while `run(two rows of the first sample, their numbers)` runs a network around it.

    `run` gives the outputs, whose facts are kept where they are a tensor. Cost: one forward pass of two rows, and
    one to five times as long for what is noted. Nothing is left in the network: see `heatproof.state.unchanged`.
    """
    pair = inputs[:1].detach().expand(2, *inputs.shape[1:]).clone()
    source = first(tuple(pair.shape))
    watch = Watch(pair, source)
    layers: dict[str, tuple[Tensor, Fact, bool]] = {}
    runs: dict[str, int] = {}
    kinds: dict[str, str] = {}
    received: dict[str, Fact | None] = {}

    def before(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, arguments: Any) -> None:
            if not _watches(watch):
                return  # a run inside this one, which is watched by itself
            received[name] = watch.get(arguments[0]) if arguments else None

        return hook

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if not _watches(watch):
                return
            runs[name] = runs.get(name, 0) + 1
            kinds[name] = type(output).__name__
            if not isinstance(output, Tensor):
                return
            watch.lost(arguments, output)
            fact = watch.get(output)
            if fact is not None and fact.flow.shape == output.shape:
                layers.pop(name, None)
                layers[name] = (output, fact, fact is not received.get(name) and not isinstance(module, POOLS))

        return hook

    def scripted(module: nn.Module, arguments: Any, output: Any) -> None:
        if isinstance(module, torch.jit.ScriptModule) and isinstance(output, Tensor) and _watches(watch):
            watch.lost(arguments, output)

    rows = torch.zeros(2, dtype=torch.int64, device=pair.device)
    untouched = unchanged(net, pair.device, everything=True)
    # Modes first: whoever watches around this is not to see the copies that are kept of a network.
    with ExitStack() as hooks, _modes_aside(), untouched, torch.no_grad(), uncompiled(), watch:
        named = [(name, module) for name, module in net.named_modules() if name]
        plain = [(name, module) for name, module in named if not isinstance(module, torch.jit.ScriptModule)]
        hooks.enter_context(hooked(*((module, before(name), {"before": True}) for name, module in plain)))
        hooks.enter_context(hooked(*((module, after(name), {}) for name, module in plain)))
        hooks.callback(register_module_forward_hook(scripted).remove)
        # torch tells the user of compiled modules that hooks on all modules run twice; this one may.
        hooks.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are global hooks")
        try:
            outputs = run(pair, rows)
        finally:
            modes_left_above(watch)
    told = watch.told
    seen = {
        name: Layer(name, tuple(output.shape), fact, read(output.shape, fact, told.meaning, 2), new)
        for name, (output, fact, new) in layers.items()
        if runs[name] == 1
    }
    return Record(told, tuple(pair.shape), source, watch.get(outputs), seen, runs, kinds)


def _watches(watch: Watch) -> bool:
    return any(mode is watch for mode in modes.entered())


@contextmanager
def _modes_aside() -> Iterator[None]:
    """Run without the function modes that are on, which have nothing to do with a look at the network."""
    stack = modes.entered()
    with undone(partial(modes.become, stack), partial(modes.become, [])):
        yield
