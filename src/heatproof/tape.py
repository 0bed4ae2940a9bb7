"""A call as the torch operations that it came to: to be run again, without anything that led to them."""

import operator
import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from heatproof.errors import OperationError
from heatproof.modes import Passive

Key = tuple[Any, ...]
Played = Callable[..., tuple[Tensor, ...]]

# What hands a tensor's values to Python, beside the operations that torch tags so.
_CLONE = torch.ops.aten.clone.default
_READERS = frozenset(
    (Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr, Tensor.storage, Tensor.__repr__)
)
# What reads whole numbers, the places and lengths of parts, where no operation shows it.
_CUTTERS = frozenset(("tensor_split", "ctc_loss", "_pack_padded_sequence", "_pad_packed_sequence",
                      "lstm", "gru", "rnn_tanh", "rnn_relu"))  # fmt: skip


def recorded(call: Callable[..., Sequence[Tensor]], *inputs: Tensor) -> Played:
    """A function of tensors like `inputs` that does what `call(*inputs)` did, operation by operation.

    Each operation is torch's own, below autograd, on the same shapes in the same order: the same bits. Tensors that
    `call` had from elsewhere (parameters, what was prepared of them) are read where they lie, at each run anew.
    Nothing that Python decided is decided again.

    Raises: OperationError where a decision may have depended on the values of `inputs` (one was read in Python, or they
    decide a shape), where random numbers were drawn, and where something was written into that the call did not make.
    """
    tape = _Tape()
    own = [tape.given(tensor) for tensor in inputs]
    with tape, _Watched(tape):
        found = call(*inputs)
    return tape.played(found, own)


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Writes down what is called. A tensor is known by its place in memory, as autograd makes new ones around it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self._graph = fx.Graph()
        self._nodes: dict[Key, fx.Node] = {}  # the step that made what lies there
        self._made: dict[int, bool] = {}  # memory that this call took, and whether its values move with the inputs
        self._given: set[int] = set()
        self._held: dict[fx.Node, Tensor] = {}  # what it had from elsewhere
        self._elsewhere: set[int] = set()  # where that lies
        self._derives: bool | None = None  # whether derivatives were on at the last step
        self._alive: list[Tensor] = []  # so that no place in memory is taken twice

    def given(self, tensor: Tensor) -> fx.Node:
        """One more argument of what is recorded."""
        node = self._graph.placeholder(f"given_{len(self._given)}")
        self._nodes[_key(tensor)] = node
        self._given.add(_memory(tensor))
        self._alive.append(tensor)
        return node

    def moves(self, tensor: Tensor) -> bool:
        """Whether the arguments decide its values."""
        memory = _memory(tensor)
        return memory in self._given or self._made.get(memory, False)

    def __torch_dispatch__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        moving, written = any(map(self.moves, taken)), _written(function, args, kwargs)
        _check(function, taken, kwargs, self.moves)
        for tensor in written:
            if _memory(tensor) not in self._made and tensor.numel():
                raise _unable(f"{function} writes into a tensor that the call did not make")
        keys = [_key(tensor) for tensor in written]
        steps = tree_map_only(Tensor, self._node, (args, kwargs))
        if torch.is_grad_enabled() is not self._derives:  # some, such as oneDNN's of an LSTM, do otherwise by it
            self._derives = torch.is_grad_enabled()
            self._graph.call_function(torch._C._set_grad_enabled, (self._derives,))
        returned = function(*args, **kwargs)
        if [_key(tensor) for tensor in written] != keys:  # what else knows the tensor keeps the shape that it had
            function = _view(function)
        made = [leaf for leaf in tree_leaves(returned) if isinstance(leaf, Tensor)]
        if function.is_view and all(_key(leaf) in self._nodes or self._is_held(leaf) for leaf in made):
            return returned  # the same by another name, or a part of what stays
        arrived = {leaf.device for leaf in made} - {leaf.device for leaf in taken} if taken else ()
        if arrived and moving:
            raise _unable(f"{function} brings what is other in each call to another device")
        # Drawn with a seed that nothing moves (it would have been read), or brought over: the same in each call.
        if kwargs.get("generator") is not None or (arrived and isinstance(returned, Tensor)):
            node = self._graph.call_function(_CLONE, (self._hold(returned.clone()),))
        else:
            node = self._graph.call_function(function, *steps)
        for tensor in written:
            self._made[_memory(tensor)] = moving or self._made.get(_memory(tensor), False)
        if isinstance(returned, Tensor):
            self._keep(returned, node, moving)
        else:
            for place, leaf in enumerate(returned if isinstance(returned, tuple | list) else ()):
                if isinstance(leaf, Tensor):
                    self._keep(leaf, self._graph.call_function(operator.getitem, (node, place)), moving)
        return returned

    def played(self, found: Sequence[Tensor], own: Sequence[fx.Node]) -> Played:
        """The function, without steps that nothing of what was found came from."""
        nodes = []
        for tensor in found:
            node = self._node(tensor)
            # What is handed out is nobody else's: no parameter, and no argument.
            nodes.append(node if _memory(tensor) in self._made else self._graph.call_function(_CLONE, (node,)))
        self._graph.output(tuple(nodes))
        self._graph.eliminate_dead_code()
        held = [self._held[node] for node in self._graph.nodes if node in self._held]
        function = _function(self._graph)

        def played(*inputs: Tensor) -> tuple[Tensor, ...]:
            with torch.no_grad():  # and afterwards as it was
                run: tuple[Tensor, ...] = function(None, *held, *inputs)
                return run

        return played

    def _is_held(self, tensor: Tensor) -> bool:
        """Whether it lies in memory from elsewhere."""
        memory = _memory(tensor)
        return memory != 0 and memory not in self._made and memory not in self._given

    def _keep(self, tensor: Tensor, node: fx.Node, moving: bool) -> None:
        self._alive.append(tensor)
        self._nodes[_key(tensor)] = node
        memory = _memory(tensor)
        if memory not in self._given and memory not in self._elsewhere:
            self._made[memory] = moving or self._made.get(memory, False)

    def _node(self, tensor: Tensor) -> fx.Node:
        found = self._nodes.get(_key(tensor))
        if found is not None:
            return found
        if not self._is_held(tensor) and tensor.numel():
            raise _unable("a part of a tensor was taken where no operation showed it")
        self._nodes[_key(tensor)] = self._hold(tensor)
        return self._nodes[_key(tensor)]

    def _hold(self, tensor: Tensor) -> fx.Node:
        first = next(iter(self._graph.nodes))
        with self._graph.inserting_before(first):
            node = self._graph.placeholder(f"held_{len(self._held)}")
        self._held[node] = tensor.detach()
        self._elsewhere.add(_memory(tensor))
        self._alive.append(tensor)
        return node


class _Watched(Passive):
    """Refuses what hands values of the call to Python without an operation."""

    def __init__(self, tape: _Tape) -> None:
        super().__init__()
        self._tape = tape

    def __torch_function__(
        self, function: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _READERS and self._tape.moves(args[0]):
            raise _unable(f"{function.__name__} reads values that are others in each call")
        if getattr(function, "__name__", None) in _CUTTERS:
            leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            if any(not leaf.is_floating_point() and self._tape.moves(leaf) for leaf in leaves):
                raise _unable(f"{function.__name__} cuts by values that are others in each call")
        return function(*args, **(kwargs or {}))


def _function(graph: fx.Graph) -> Callable[..., Any]:
    """The graph as Python, where each operation is looked up once.

    fx writes `torch.ops.aten.mul.Tensor(…)`, at every step four looks and a call in Python besides: on small networks a
    quarter of the time.
    """
    code = graph.python_code("self")
    scope: dict[str, Any] = {**code.globals, "torch": torch}

    def once(found: re.Match[str]) -> str:
        name = found[0].replace(".", "_")
        function = reduce(getattr, found[0].split(".")[1:], torch)
        scope[name] = getattr(function, "_op", function)
        return name

    exec(re.sub(r"\btorch\.ops(?:\.\w+)+", once, code.src), scope)
    function: Callable[..., Any] = scope["forward"]
    return function


def _key(tensor: Tensor) -> Key:
    return (
        _memory(tensor), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype,
        tensor.is_conj(), tensor.is_neg(),
    )  # fmt: skip


def _memory(tensor: Tensor) -> int:
    """Where its memory begins; 0 for a tensor of no elements, of which one is as good as another."""
    if tensor.layout != torch.strided or tensor.is_nested:
        raise _unable(f"a tensor of layout {tensor.layout} has no memory of its own")
    return tensor.untyped_storage().data_ptr()


def _check(function: Any, taken: Sequence[Tensor], kwargs: dict[str, Any], moves: Callable[[Tensor], bool]) -> None:
    """Refuse what another call would do otherwise, for its values or for its random numbers."""
    if not isinstance(function, OpOverload):
        raise _unable(f"{function} runs functions of its own")
    # Of attention torch says so for its dropout; that of a model in eval mode is none.
    name = str(function._schema.name)
    drawn = torch.Tag.nondeterministic_seeded in function.tags and "attention" not in name
    if drawn and (kwargs.get("generator") is None or function._schema.is_mutable):
        raise _unable(f"{function} draws random numbers")
    if drawn and not name.endswith("_like") and any(map(moves, taken)):
        raise _unable(f"{function} draws by values that are others in each call")
    # Which rows are picked depends on where the picking comes from: of an index, on its masks alone.
    if torch.Tag.dynamic_output_shape in function.tags and function is torch.ops.aten.index.Tensor:
        taken = [one for one in taken[1:] if one.dtype in (torch.bool, torch.uint8)]
    elif not {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & {*function.tags}:
        return
    if any(map(moves, taken)):
        raise _unable(f"what {function} gives depends on values that are others in each call")


def _written(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes into."""
    if not function._schema.is_mutable:
        return []
    found = []
    for place, argument in enumerate(function._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
    return found


def _view(function: Any) -> Any:
    """The operation that gives what another one, such as `squeeze_`, makes of a tensor in place."""
    namespace, name = str(function._schema.name).split("::")
    views = getattr(getattr(torch.ops, namespace), name.rstrip("_"), None)
    if torch.Tag.inplace_view in function.tags and views is not None:
        for view in (getattr(views, overload) for overload in views.overloads()):
            if view.is_view and _kinds(view) == _kinds(function):
                return view
    raise _unable(f"{function} gives a tensor another shape in place")


def _kinds(function: Any) -> list[str]:
    return [str(argument.real_type) for argument in function._schema.arguments]


def _unable(why: str) -> OperationError:
    return OperationError(
        f"Expected a call that is the same operations for all values, but {why}; call the method itself."
    )
