"""A network as a function of one float tensor: what every method and check evaluates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from heatproof import habits, modes, prefix, sound
from heatproof.arguments import Shared as Shared
from heatproof.arguments import check_arguments, content, is_shared, parameters_of
from heatproof.callables import as_model as as_model
from heatproof.compiled import uncompiled
from heatproof.complaints import shown_outputs
from heatproof.errors import HeatproofError, InputError, shown, unknown
from heatproof.exported import fixed_batch_behind
from heatproof.features import Features, Segments
from heatproof.hooks import any_backward_hooks, hooks_behind, hooks_watched, register_held
from heatproof.intact import guards
from heatproof.modules import modules_of
from heatproof.packing import Packing, Parts
from heatproof.places import Place
from heatproof.propagation.proofs import where
from heatproof.refusals import Like, check_lazy, check_precision, is_exported, parameters_like, plain
from heatproof.refusals import check_inputs as check_inputs
from heatproof.refusals import check_model as check_model
from heatproof.refusals import check_targets as check_targets
from heatproof.undo import Undoing

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
Output = str | int | Callable[[Any], Tensor]
SIDE = "target."  # among `given`, what is no argument of the network but fixed of each sample by what is explained
REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda h: h.flatten(2).mean(2) if h.dim() > 2 else h,
    "sum": lambda h: h.flatten(2).sum(2) if h.dim() > 2 else h,
    "max": lambda h: h.flatten(2).amax(2) if h.dim() > 2 else h,
    "none": lambda h: h.clone(),  # the next module may change it in place
}


class Bound(nn.Module):
    """A network with everything but one float tensor filled in, or but several, side by side in one (N, D).

    Args:
        net: the network, in eval mode, or a function.
        at: a submodule by name; the explained tensor replaces its output (token embeddings: integers stay integers).
            Where it runs several times, `name#2` is its second run; where it returns several tensors, `name[0]` is
            the first (`Place`). Or an argument of the network by name. Without it, the explained tensor is the
            network's first argument. Several of them, as a list, are explained together: `inputs()` lays them side by
            side, `parts(maps)` takes maps apart, and `features()` says what counts as one feature of each.
        given: the network's other arguments by name: tensors with one row a sample, or the names under which the data
            bring them, {argument: name} or (name, …) where they are alike (of a text: "ids" and "mask"). A network that
            has names is open until `with_given` fills in the rows of some samples, as an audit does block by block.
            Numbers, flags and None are shared by all samples, and so is what stands in `Shared`.
        output: the logits in what the network returns: an attribute or key, an index, or a callable.
        layer: explain this submodule's output instead (named as for `at`), reduced over positions by `reduction` to
            (N, C).
        reduction: `mean`, `sum` or `max` over the positions of `layer`, or `none`, of which a target then explains one
            neuron, `targets.Index((k, y, x), labels=0)`: which of its dimensions these are is told by
            the operations that made it, in a watched run of two rows for each shape of inputs (a ViT's class token is
            none).
        layout: `channels-first` (N, K, …) or `channels-last` (N, …, K) of `layer`, where nothing tells.
        preprocessing: applied to the explained tensor first, so that baselines and noise live in its units.

    Raises: InputError for names that the network or its forward does not have, and arguments that are missing.

    >>> bound = hp.Bound(lambda a, b: a * b, given={"b": 2 * x})
    >>> hp.methods.Gradient()(bound, x, 0)
    tensor([[2., 0.]])
    """

    def __init__(
        self,
        net: nn.Module | Callable[..., Any],
        *,
        at: str | Sequence[str] | None = None,
        given: Mapping[str, Any] | Sequence[str] | None = None,
        output: Output | None = None,
        layer: str | None = None,
        reduction: str = "mean",
        layout: str | None = None,
        preprocessing: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        net = as_model(net)
        _check_kinds(at, given, output, reduction, layout)
        self._several = isinstance(at, list | tuple)
        wanted: list[Any] = [] if at is None else list(at) if self._several else [at]
        if self._several and (not wanted or len(set(wanted)) < len(wanted)):
            raise InputError(f"Expected different names of what is explained together, but got at={at!r}.")
        self._at = tuple(_pointed_at(net, name) for name in wanted)
        self._layer = None if layer is None else Place.of(net, layer)
        if reduction not in REDUCTIONS:
            raise InputError(f"Expected reduction to be one of {', '.join(REDUCTIONS)}, but got {shown(reduction)}.")
        if layer is not None and output is not None:
            raise InputError("Expected either `layer` or `output`, but got both; a layer's output needs no `output`.")
        names = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
        arguments: Any = {name: name for name in given or ()} if names else given or {}
        by_name = [one for one in self._at if isinstance(one, str)]
        check_arguments(net, arguments, by_name, first=at is None)
        if self._several and preprocessing is not None:
            raise InputError("Expected no `preprocessing` of several tensors together; let the network begin with it.")
        self.net, self.at, self.output = net, tuple(wanted) if self._several else at, output
        self.shared = {name: content(value) for name, value in arguments.items() if is_shared(value)}
        self.given = {
            name: plain(value)
            for name, value in arguments.items()
            if isinstance(value, Tensor) and name not in self.shared
        }
        self._packing: Packing | None = None
        self.named = {name: value for name, value in arguments.items() if isinstance(value, str)}
        self.layer, self.reduction, self.preprocessing = layer, reduction, preprocessing
        if layout not in (None, "channels-first", "channels-last"):
            raise InputError(f"Expected layout to be channels-first or channels-last, but got {shown(layout)}.")
        self.layout, self._readings = layout, dict[tuple[int, ...], Any]()
        self._before = 0  # samples of earlier batches, in a copy that goes along with batches
        self.training = net.training and not is_exported(net)

    @property
    def places(self) -> tuple[tuple[Place, ...], Place | None]:
        """Where explained tensors are put (submodules of `at`), and where the output is read (`layer`)."""
        return tuple(one for one in self._at if isinstance(one, Place)), self._layer

    def inputs(self) -> Tensor:
        """What `at` names on the given arguments: the tensor that is explained. Several lie side by side, (N, D)."""
        found = self._found()
        if not self._several:
            (one,) = found.values()
            return one
        self._packing = Packing.of(found)
        return self._packing.pack(found)

    def parts(self, maps: Tensor) -> dict[str, Tensor]:
        """Attributions (N, D) of several tensors by the names of these, each in its own shape (N, …)."""
        return self._packed().unpack(maps)

    def features(self, **chosen: Features) -> Parts:
        """What counts as one feature of several tensors together; of each what its shape suggests, or as `chosen`."""
        packing = self._packed()
        for name in chosen:
            if name not in dict(packing.shapes):
                raise unknown("tensor that is explained", name, dict(packing.shapes))
        return Parts.of(packing, {**dict.fromkeys(self._single(packing), Segments()), **chosen})

    def _single(self, packing: Packing) -> list[str]:
        """The tensors that are what an embedding makes of one integer a sample: one feature each."""
        return [name for name, shape in packing.shapes if len(shape) == 1 and name in self.embeddings]

    @property
    def embeddings(self) -> frozenset[str]:
        """Those of `at` that are an embedding's output, whose last dimension are the components of an integer."""
        places = [one for one in self._at if isinstance(one, Place)]
        return frozenset(one.text for one in places if isinstance(self.net.get_submodule(one.module), _EMBEDDINGS))

    @property
    def several(self) -> bool:
        """Whether several tensors are explained together."""
        return self._several

    def _packed(self) -> Packing:
        if not self._several:
            raise InputError("Expected a Bound of several tensors, at=[…], but this one explains one.")
        if self._packing is None:
            self._packing = Packing.of(self._found())
        return self._packing

    def _found(self) -> dict[str, Tensor]:
        """What `at` names, on the given arguments."""
        if not self._at:
            raise InputError("Expected a Bound with `at`, whose layer's output is the input; this one has none.")
        self._check_filled()
        check_lazy(self.net)  # a pass would draw their values
        arguments, seen = _arguments(self.given), dict[str, Tensor]()
        for one in self._at:
            if isinstance(one, str):
                if one not in arguments:
                    raise InputError(f"Expected given[{one!r}] to be filled in, as it is explained, but it is not.")
                seen[one] = arguments[one]
        places = [one for one in self._at if isinstance(one, Place)]
        if places:
            with torch.no_grad(), _OneWay(), ExitStack() as met:
                for place in places:
                    met.enter_context(place.met(self.net, partial(_keep, seen, place.text)))
                self.net(**self.shared, **arguments)
        return {name: plain(seen[name]) for name in (one if isinstance(one, str) else one.text for one in self._at)}

    def look(self, x: Tensor) -> None:
        """Find out how the output of `layer` is read, which takes a run of its own, before somebody watches runs."""
        if self._layer is not None:
            self._reading(x)

    def follow(self, given: Mapping[str, Tensor], before: int) -> None:
        """Take the side inputs of a next batch; `rows` go on counting, from the `before` samples of earlier ones on.

        For a copy that a fit has of its own.
        """
        filled = with_given(self, given)
        assert isinstance(filled, Bound)  # as this one is
        self.given, self._before = filled.given, before

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """The logits (M, C) of variants `x` (M, …); `rows` (M,) names the sample of each variant."""
        if self._layer is None:
            return _pick(self._run(x, rows), self.output, len(x))
        reduce, reading, seen = REDUCTIONS[self.reduction], self._reading(x), list[Tensor]()
        # Reduced inside the hook: the next module may change the layer's output in place.
        with self._layer.met(self.net, lambda out: seen.append(reduce(out if reading is None else reading(out)))):
            self._run(x, rows)
        return seen[0]

    def _run(self, x: Tensor, rows: Tensor | None) -> Any:
        given = {**self.shared, **self._rows_of_given(_arguments(self.given), x, rows)}
        x = x if self.preprocessing is None else self.preprocessing(x)
        if not self._at:
            return self.net(x, **given)
        tensors = list(self._packed().unpack(x).values()) if self._several else [x]
        with ExitStack() as met:
            for one, tensor in zip(self._at, tensors, strict=True):
                if isinstance(one, str):
                    given[one] = tensor
                else:
                    met.enter_context(one.met(self.net, partial(_instead, tensor)))
            return self.net(**given)

    def _reading(self, x: Tensor) -> Callable[[Tensor], Tensor] | None:
        """How the layer's output becomes (N, K, positions …); None where it is so already, or is taken whole."""
        if self.reduction == "none":
            return None
        if self.layout is not None:
            return None if self.layout == "channels-first" else lambda out: out.movedim(-1, 1)
        from heatproof.layouts.channels import channels_first  # which asks this very class

        key = tuple(x.shape[1:])
        if key not in self._readings:
            assert self._layer is not None
            named = self._layer.run is None and not self._layer.items and self._layer.argument is None
            self._readings[key] = channels_first(self.net, self._layer.module, x, self._run) if named else self._ask
        way: Callable[[Tensor], Tensor] | None = self._readings[key]
        return way

    def _ask(self, output: Tensor) -> Tensor:
        """One run of several, or one result: which dimensions are positions is not told of these."""
        if output.dim() < 3:
            return output
        raise InputError(
            f"Expected to be told which dimensions of {self.layer!r} {tuple(output.shape)} are positions; say it with "
            "layout='channels-first' or layout='channels-last'."
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Bound":
        """What `to`, `float` and their like do to parameters is done to the other arguments as well."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not annotate it
        self.given = {name: fn(value) for name, value in self.given.items()}
        self.shared = {name: fn(v) if isinstance(v, Tensor) else v for name, v in self.shared.items()}
        return self

    def _check_filled(self) -> None:
        open_ones = [name for name in self.named if name not in self.given]
        if open_ones:
            raise InputError(
                f"Expected the rows of {', '.join(map(repr, open_ones))} to be filled in, which `given` has by name "
                "alone; use heatproof.models.with_given(bound, {name: rows}), or give the data to heatproof.audit."
            )

    def _rows_of_given(self, given: dict[str, Tensor], x: Tensor, rows: Tensor | None) -> dict[str, Tensor]:
        """The rows of these of the given tensors."""
        self._check_filled()
        for name, value in self.given.items():
            if rows is None and len(value) != len(x):
                raise InputError(
                    f"Expected as many inputs as given[{name!r}] has rows, one a sample ({len(value)}), but got "
                    f"{len(x)} inputs; give the inputs of all of them, or the network of some of them: "
                    "heatproof.models.select(bound, torch.tensor([0]))."
                )
        if rows is None:
            return given
        return {name: value[rows.to(value.device) - self._before] for name, value in given.items()}


def _pointed_at(net: nn.Module, name: Any) -> Place | str:
    """A place inside the network, or one of its arguments."""
    inside = isinstance(name, str) and dict(net.named_modules()).get(name) is not None
    return name if isinstance(name, str) and not inside and name in parameters_of(net) else Place.of(net, name)


def _keep(seen: dict[str, Tensor], name: str, output: Tensor) -> None:
    seen[name] = output.detach().clone()


def _instead(tensor: Tensor, _output: Tensor) -> Tensor:
    return tensor


def _check_kinds(at: Any, given: Any, output: Any, reduction: Any, layout: Any) -> None:
    """Refuse what is no name where a name is wanted, before it is looked up."""
    names = (("reduction", reduction), ("layout", "" if layout is None else layout))
    for what, value in names:
        if not isinstance(value, str):
            raise InputError(f"Expected {what} to be a name, but got {shown(value)}.")
    for one in at if isinstance(at, list | tuple) else [at]:
        if not isinstance(one, str | nn.Module | None):
            raise InputError(f"Expected `at` to be the name of a submodule, but got {shown(one)}.")
    if given is not None and not isinstance(given, Mapping | list | tuple):
        raise InputError(f"Expected `given` to be arguments by name, {{name: tensor}}, but got {shown(given)}.")
    if output is not None and (isinstance(output, bool) or not (isinstance(output, str | int) or callable(output))):
        raise InputError(f"Expected output to be a name, a place or a callable, but got {shown(output)}.")


def select(model: nn.Module, rows: Tensor) -> nn.Module:
    """The model whose i-th sample is sample `rows[i]` of `model`: for a method that calls another on variants."""
    if not isinstance(model, Bound) or not model.given:
        return model
    selected = copy(model)  # the same network; only the arguments are others
    selected.given = {name: value[rows.to(value.device)] for name, value in model.given.items()}
    vars(selected).setdefault("origin", model)  # the Bound that it is one of; not a submodule
    return selected


def with_given(model: nn.Module, sides: Mapping[str, Tensor]) -> nn.Module:
    """The model of some samples: a `Bound` with their rows of `sides` in place of its side inputs; others as they are.

    Side inputs are found under the names that `given` has for them, or else under the argument's own, and brought to
    the device of the model's parameters, floating-point ones to their dtype. What a target has fixed stays as it is.

    Raises: InputError for one that `sides` lacks.
    """
    settled = {name: value for name, value in sides.items() if name.startswith(SIDE)}
    if not isinstance(model, Bound) or not (model.given or model.named or settled):
        return model
    wanted = {**{name: name for name in _arguments(model.given)}, **model.named}
    for argument, name in wanted.items():
        if name not in sides:
            raise unknown(f"side input of the data, for the network's argument {argument!r}", name, sides)
    like = parameters_like(model)
    bound = copy(model)  # the same network; only the arguments are others
    settled |= {name: value for name, value in model.given.items() if name.startswith(SIDE) and name not in settled}
    bound._packing = None  # texts of another length
    bound.given = {**{argument: _like(plain(sides[name]), like) for argument, name in wanted.items()}, **settled}
    vars(bound).setdefault("origin", model)
    return bound


def _like(rows: Tensor, like: Like | None) -> Tensor:
    if like is None:
        return rows
    return rows.to(like[1], like[0] if rows.is_floating_point() else rows.dtype)


def forward(model: nn.Module, x: Tensor, rows: Tensor | None = None, *, derived: bool = False) -> Tensor:
    """The logits (M, C) of variants `x` (M, …); `rows` (M,) names the sample that each variant belongs to.

    The only place where methods and checks evaluate a model. A copy of `x` is handed over, because a model may change
    its input in place. `derived` says that a graph will begin inside, where none is made of `x`.

    In what is derived, a hook that somebody left and that changes a gradient raises InputError as it does so.
    """
    out = returned(model, x, rows, derived=derived)
    if not isinstance(out, Tensor):
        there, choice = shown_outputs(out, len(x))
        raise InputError(
            f"Expected the model to return a tensor of logits (N, C), but got {type(out).__name__}; wrap the model: "
            f"heatproof.models.Bound(model, {choice}). It holds {there}."
        )
    out = out[:, None] if out.dim() == 1 else out
    if out.dim() != 2 or out.shape[0] != x.shape[0] or not out.is_floating_point():
        raise InputError(
            f"Expected logits (N, C) with N = {len(x)}, but the model returned {tuple(out.shape)} of {out.dtype}; "
            "choose one output a label with heatproof.models.Bound(model, output=…)."
        )
    return out


def returned(model: nn.Module, x: Tensor, rows: Tensor | None = None, *, derived: bool = False) -> Any:
    """Whatever the model returns for variants `x` (M, …), run as `forward` runs it."""
    check_precision(x.device)
    try:
        with nullcontext() if guards() else _OneWay():
            if not (derived or torch.is_grad_enabled()):
                return _run(model, x, rows)
            with hooks_watched(model) if any_backward_hooks(modules_of(model)) else nullcontext():
                return _run(model, x, rows) if _rules_apply() else _derivable(model, x, rows)
    except (AssertionError, RuntimeError) as error:
        sentence = fixed_batch_behind(error, len(x)) or hooks_behind(error, model)
        if sentence is None:
            raise
        raise sentence from None


def _run(model: nn.Module, x: Tensor, rows: Tensor | None) -> Any:
    kept = prefix.kept_for(model, x, rows)
    if kept is not None and not _rules_apply(besides=_HooksHeld):
        return kept.run(x, model)
    x = x.clone()
    return model(x, rows) if isinstance(model, Bound) else model(x)


def _arguments(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `given` that the network takes."""
    return {name: value for name, value in given.items() if not name.startswith(SIDE)}


def _derivable(model: nn.Module, x: Tensor, rows: Tensor | None) -> Any:
    """What is derived is run as it was written, with sound derivatives, and hooks that change none."""
    known, before = habits.of(model), habits.hooks_so_far()
    with uncompiled():
        if not known.to_be_watched:
            out = _run(model, x, rows)
            if habits.hooks_so_far() == before:
                return sound.derived(out)
            known.hooks = True  # hooks that nobody held
            prefix.forget(model)
            # Whatever a method put on is to see one pass: not this one alone is run again, but all of the call.
            raise habits.UnseenError
        with _HooksHeld(model):
            out = _run(model, x, rows)
    known.known, known.hooks = True, habits.hooks_so_far() != before
    if known.hooks:  # which are of one pass
        prefix.forget(model)
    return sound.derived(out)


class _OneWay(Undoing):
    """Without the fused way of torch's transformer encoders, taken where nothing is derived.

    Their layers then hand on nested tensors, which have no rows, and blank what is padded: another function of the
    layers inside than the one that is derived. Left by an error, the function modes are those that were on.
    """

    bounds = True

    def __init__(self) -> None:
        self._fused, self._modes = torch.backends.mha.get_fastpath_enabled(), modes.entered()

    def _change(self) -> None:
        torch.backends.mha.set_fastpath_enabled(False)

    def _undo(self) -> None:
        torch.backends.mha.set_fastpath_enabled(self._fused)
        if self.left_by is not None:
            modes.become(self._modes)


class _HooksHeld(TorchFunctionMode):
    """Holds hooks that a model registers on its tensors to looking."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.register_hook:
            return register_held(args, kwargs or {}, where(self._model))
        return function(*args, **(kwargs or {}))


def _rules_apply(besides: type[TorchFunctionMode] | None = None) -> bool:
    others = (mode for mode in modes.entered() if type(mode) is not besides and not isinstance(mode, modes.Passive))
    return any(type(mode).__module__.startswith("heatproof.") for mode in others)


_AT_MOST: ContextVar[int | None] = ContextVar("rows at most", default=None)


@contextmanager
def rows_at_most(rows: int) -> Iterator[None]:
    """Inside, a pass takes `rows` variants of samples at most: for a model that is larger than `rows_per_pass` expects.

    Maps differ from those made otherwise by rounding alone, as with any other size of batches.

    Raises: InputError for fewer than one.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise InputError(f"Expected a pass to take 1 row or more, but got {rows!r}.")
    token = _AT_MOST.set(rows)
    try:
        yield
    finally:
        _AT_MOST.reset(token)


def within_bound(rows: int) -> int:
    """As many rows, or those that `rows_at_most` allows."""
    return min(rows, _AT_MOST.get() or rows)


def rows_per_pass(x: Tensor) -> int:
    """How many variants of a sample of `x` (N, …) one pass takes: a function of shape and kind of device alone.

    On a CPU the best batch is 1 to 8 for 224² images and grows as the sample shrinks, up to 128: at 256 a CNN for 28²
    digits takes a quarter longer, as its activations leave the caches. A GPU of 80 GB takes 128 images, a smaller one
    as many fewer, whatever else it holds at the time: results must not hang on that.
    """
    eight_images = 8 * 3 * 224 * 224
    budget, most = eight_images, 128
    if x.device.type != "cpu":
        images = min(128, memory(x.device) // (625 * 10**6))
        budget, most = (1 << max(0, images.bit_length() - 1)) * eight_images // 8, 1024  # a power of two of images
    return max(1, within_bound(min(most, budget // max(1, x[0].numel()))))


def memory(device: torch.device) -> int:
    """Bytes that an accelerator has, whether they are free or not; those of a large one where it does not say."""
    if device.type != "cuda":
        return 80 * 10**9
    return int(torch.cuda.get_device_properties(device).total_memory)


def _pick(returned: Any, output: Output | None, samples: int) -> Tensor:
    if output is None:
        return returned  # type: ignore[no-any-return]  # `forward` checks it
    there, choice = ("", "") if isinstance(returned, Tensor) else shown_outputs(returned, samples)
    try:
        if callable(output):
            return output(returned)
        if isinstance(returned, Tensor):  # output 0 of it would be its first sample
            raise TypeError("a tensor is not several outputs")
        by_name = isinstance(output, str) and not isinstance(returned, Mapping)
        picked: Tensor = getattr(returned, str(output)) if by_name else returned[output]
    except HeatproofError:
        raise
    except Exception as error:  # whatever a callable raises, or the lack of what was named
        kind = type(returned).__name__
        if callable(output):
            said = f"the callable raised {type(error).__name__}: {error} on its {kind}"
        else:
            said = f"its {kind} has none"
        hint = f"; it has {there}: {choice}" if there else f" of shape {tuple(returned.shape)}: it needs no `output`"
        what = "output" if callable(output) else shown(output)
        raise InputError(f"Expected {what} in what the model returns, but {said}{hint}.") from error
    return picked
