"""Seeing where the values of known tensors meet those of the input, in a running network, and what they do there."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.errors import InputError
from heatproof.propagation.operations import identify, key
from heatproof.propagation.schemas import bound
from heatproof.propagation.trees import tensors_in
from heatproof.randomization.memory import Region, region
from heatproof.randomization.norms import Role, norm_arguments

# What these do to the input is a linear map or a norm: a tensor that they receive beside it is a weight.
_LINEAR_MAPS = """
    linear bilinear matmul rmatmul mm bmm mv addmm addmv addbmm baddbmm einsum inner dot vdot tensordot chain_matmul
    multi_dot linalg_multi_dot conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
    _convolution conv_tbc embedding embedding_bag multi_head_attention_forward scaled_dot_product_attention
    lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell _int_mm _scaled_mm _grouped_mm
"""
_NORMS = """
    batch_norm layer_norm group_norm instance_norm rms_norm native_batch_norm native_layer_norm native_group_norm
    _native_batch_norm_legit _native_batch_norm_legit_no_training prelu _prelu_kernel
"""
_WEIGHTED = frozenset((_LINEAR_MAPS + _NORMS).split())
_RIGHT = frozenset(["matmul", "mm", "bmm", "addmm", "addbmm", "baddbmm", "_int_mm"])  # sum over their last one's rows
_PRODUCTS = frozenset(["matmul", "rmatmul", "mm", "mv", "dot", "vdot", "inner", "mul"])

# Functions that look at a tensor's frame, never at its numbers.
_FRAME_FUNCTIONS = """
    __hash__ __len__ __repr__ __format__ size dim ndimension numel nelement stride storage_offset
    element_size get_device is_contiguous is_floating_point is_complex is_shared is_pinned data_ptr untyped_storage
    storage register_hook requires_grad_ retain_grad is_same_size result_type
    new_empty new_zeros new_ones new_full empty_like zeros_like ones_like full_like rand_like randn_like
"""
_FRAME = frozenset(_FRAME_FUNCTIONS.split())


@dataclass
class Seen:
    """What a run did with one of the known tensors.

    `first` and `last` are the times at which its value met the input's, or where it never did (`met` is false), at
    which an operation received it; `call` numbers the operation of the first meeting. `weight` says that it was, or
    went into, a weight of a linear map or a norm; `plain`, that it was that weight itself, not one factor of it;
    `bias`, that it was added to what a linear map or a norm gave, one number a channel. `fan_in` is how many numbers a
    product of matrices sums, where it tells. `beside` are the other known tensors that went into the same weights.
    """

    first: int
    last: int
    met: bool = False
    call: int = 0
    weight: bool = False
    plain: bool = False
    bias: bool = False
    fan_in: int | None = None
    beside: set[int] = field(default_factory=set)


class Carried(NamedTuple):
    """The known tensors that a tensor was computed from alone; `plain` if it is one of them, rearranged at most."""

    indices: tuple[int, ...]
    plain: bool


class Singular(NamedTuple):
    """Two vectors, by index, with a matrix of parameters between them, u·(W v): a spectral norm's estimate of W's."""

    left: int
    right: int


class _Half(NamedTuple):
    """A matrix of parameters times a known vector, which stood on its right, or on its left."""

    vector: int
    on_the_right: bool
    matrix: Tensor


class Watch(TorchFunctionMode):
    """Follows each of `tensors` through a run of a network on `inputs`, and notes what becomes of it (`seen`).

    A tensor is recognized by its memory, so that a view, a transpose or `.data` of it counts as the tensor itself. What
    is computed from known tensors alone carries them: a weight made by arithmetic (weight norm, a hypernetwork, a mask,
    integers times their scale) is used where it meets the input. Looking at a shape, a dtype or a device is no use.
    `strangers` are weights that are none of `tensors` and were not made in the run from those or from nothing: their
    operations and shapes.
    """

    def __init__(self, tensors: Sequence[Tensor], inputs: Tensor, known: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.seen: dict[int, Seen] = {}
        self.roles: dict[int, Role] = {}
        self.singular: dict[Singular, Tensor] = {}
        self.strangers: list[str] = []
        self.paused = False
        self._clock = self._calls = 0
        self._carried: MutableMapping[Tensor, Carried] = WeakIdKeyDictionary()
        self._halves: MutableMapping[Tensor, _Half] = WeakIdKeyDictionary()
        self._dependent, self._made, self._weighted = (WeakIdKeyDictionary() for _ in range(3))
        self._dependent[inputs] = True
        for tensor in known:
            self._made[tensor] = True
        self._places: dict[int, list[tuple[Region, int]]] = {}
        for index, tensor in enumerate(tensors):
            if (place := region(tensor)) is not None:
                self._places.setdefault(place.storage, []).append((place, index))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        operation = identify(key(func))
        self._note_roles(func, operation.name, args, kwargs)
        # In the order of the arguments: attention takes its output projection last.
        given = tensors_in((tuple(args), dict(kwargs)))
        on_input = [self._depends(tensor) for tensor in given]
        carried = [None if on else self._carries(tensor) for tensor, on in zip(given, on_input, strict=True)]
        result = func(*args, **kwargs)
        made = tensors_in(args[0] if result is None and args else result)
        if _looks_at_frame(func, result):
            for tensor in made:
                self._made[tensor] = True
            return result
        self._touch(carried)
        if any(on_input):
            self._meet(func, operation.name, args, kwargs, given, on_input, carried)
        structural = operation.kind in ("structural", "leak")
        held = [one for one in carried if one is not None]
        whole = Carried(
            tuple(dict.fromkeys(index for one in held for index in one.indices)),
            structural and len(held) == 1 and held[0].plain,
        )
        weighted = operation.name in _WEIGHTED or (structural and any(tensor in self._weighted for tensor in given))
        strange = not any(on_input) and any(
            one is None and tensor not in self._made for tensor, one in zip(given, carried, strict=True)
        )
        for tensor in made:
            if not strange:
                self._made[tensor] = True
            if any(on_input):
                self._dependent[tensor] = True
                if tensor._base is not None and any(tensor is one for one in given):
                    self._dependent[tensor._base] = True  # what was written to a view, its base holds
                if weighted:
                    self._weighted[tensor] = True
            elif whole.indices:
                self._carried[tensor] = whole
                self._note_half(operation.name, tensor, given, carried)
        return result

    def _depends(self, tensor: Tensor) -> bool:
        return tensor in self._dependent or (tensor._base is not None and tensor._base in self._dependent)

    def _carries(self, tensor: Tensor) -> Carried | None:
        own = tuple(self._find(tensor))
        known = self._carried.get(tensor)
        if known is None:
            return Carried(own, plain=True) if own else None
        return Carried(tuple(dict.fromkeys((*known.indices, *own))), known.plain)

    def _find(self, tensor: Tensor) -> Iterator[int]:
        place = region(tensor)
        if place is not None:
            for known, index in self._places.get(place.storage, ()):
                if place.overlaps(known):
                    yield index

    def _touch(self, carried: Sequence[Carried | None]) -> None:
        """An operation received known values."""
        for index in _indices(carried):
            self._clock += 1
            seen = self.seen.setdefault(index, Seen(self._clock, self._clock))
            if not seen.met:
                seen.last = self._clock

    def _meet(
        self,
        func: Callable[..., Any],
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        given: Sequence[Tensor],
        on_input: Sequence[bool],
        carried: Sequence[Carried | None],
    ) -> None:
        """An operation brought the input's values together with others, known ones maybe."""
        self._calls += 1
        for index in _indices(carried):
            self._clock += 1
            seen = self.seen[index]
            if not seen.met:
                seen.first, seen.met, seen.call = self._clock, True, self._calls
            seen.last = self._clock
        if any(isinstance(leaf, torch.ScriptObject) for leaf in tree_leaves((tuple(args), dict(kwargs)))):
            self.strangers.append(f"packed weights, in {name}")
        weighted = name in _WEIGHTED or "::" in name
        named = bound(func, name, args, kwargs) if weighted else {}
        masks = [value for argument, value in named.items() if "mask" in argument]
        last = max(place for place, tensor in enumerate(given) if tensor.dim()) if any(t.dim() for t in given) else 0
        for place, (tensor, on, one) in enumerate(zip(given, on_input, carried, strict=True)):
            if on or any(tensor is mask for mask in masks):
                continue
            bias = _argument_is_bias(name, tensor, named) if weighted else self._is_bias(name, tensor, given)
            if one is None:
                if weighted and tensor.dim() > 1 and tensor not in self._made:
                    self.strangers.append(f"a tensor {tuple(tensor.shape)} that no module holds, in {name}")
                continue
            for index in one.indices:
                seen = self.seen[index]
                if bias:
                    seen.bias = seen.bias or one.plain
                elif weighted:
                    seen.weight, seen.plain = True, seen.plain or one.plain
                    seen.beside.update(set(one.indices) - {index})
                    if name in _RIGHT and place == last and tensor.dim() > 1:
                        seen.fan_in = tensor.shape[-2]

    def _is_bias(self, name: str, tensor: Tensor, given: Sequence[Tensor]) -> bool:
        """Whether this is added to what a linear map or a norm gave, one number a channel."""
        one_a_channel = 1 < tensor.numel() == max(tensor.shape, default=0)
        return name in ("add", "sub", "rsub") and one_a_channel and any(other in self._weighted for other in given)

    def _note_half(self, name: str, made: Tensor, given: Sequence[Tensor], carried: Sequence[Carried | None]) -> None:
        """Notes W v and uᵀW, and of those u·(W v): what a spectral norm divides by."""
        if name not in _PRODUCTS or len(given) != 2:
            return
        for place, (vector, one) in enumerate(zip(given, carried, strict=True)):
            other, beside = given[1 - place], carried[1 - place]
            if one is None or beside is None or not one.plain or len(one.indices) != 1 or not _is_vector(vector):
                continue
            half = self._halves.get(other)
            if half is not None and half.vector != one.indices[0]:
                left, right = (one.indices[0], half.vector) if half.on_the_right else (half.vector, one.indices[0])
                self.singular[Singular(left, right)] = half.matrix
            elif name != "mul" and other.dim() == 2 and not _is_vector(other):
                self._halves[made] = _Half(one.indices[0], place == 1, other.detach())

    def _note_roles(self, func: Callable[..., Any], name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        for tensor, role in norm_arguments(func, name, args, kwargs):
            for index in self._find(tensor):
                if self.roles.setdefault(index, role) != role:
                    raise InputError(
                        f"Expected a tensor with one role in a batch norm, but one of shape {tuple(tensor.shape)} is "
                        f"both {self.roles[index]} and {role}; keep the two in tensors of their own."
                    )


def _indices(carried: Sequence[Carried | None]) -> Iterator[int]:
    for one in carried:
        yield from one.indices if one is not None else ()


def _is_vector(tensor: Tensor) -> bool:
    return 1 < tensor.numel() == max(tensor.shape, default=0)


def _argument_is_bias(name: str, tensor: Tensor, named: Mapping[str, Any]) -> bool:
    """Whether an operation takes `tensor`, one number a channel, as its bias; the first operand of `addmm` is one."""
    if tensor.dim() > 1:
        return False
    biases = [value for argument, value in named.items() if "bias" in argument]
    if name.startswith("add"):
        biases.append(named.get("input"))
    return any(tensor is bias for bias in biases)


def _looks_at_frame(func: Callable[..., Any], result: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name in _FRAME or (name == "__get__" and not isinstance(result, Tensor))
