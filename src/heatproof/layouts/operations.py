"""What each kind of operation does to what is known of its operands."""

from collections.abc import Callable, Sequence
from string import ascii_letters
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from heatproof.layouts.facts import Fact, Place, joined, known, line, place
from heatproof.layouts.told import Told
from heatproof.propagation.trees import tensors_in

Facts = Callable[[object], Fact | None]

REDUCTIONS = """
    mean sum nansum amax amin prod std var max min median nanmedian nanmean norm vector_norm linalg_norm logsumexp
    std_mean var_mean argmax argmin all any count_nonzero
"""
# Which argument names the dimensions; the second where nothing is said.
DIMENSION = {"norm": 2, "vector_norm": 2, "linalg_norm": 2, "normalize": 2, "dropout": -1}
CASTS = "to type type_as float double half bfloat16 cpu cuda clone contiguous data detach requires_grad_ alias"
CHOOSING = "where masked_fill dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout"
POOLS = """
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d max_pool1d
    max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate upsample
    upsample_bilinear upsample_nearest lp_pool1d lp_pool2d lp_pool3d fractional_max_pool2d fractional_max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices grid_sample
"""


class Step:
    """One call whose operands something is known of, with its result."""

    def __init__(self, name: str, kind: str, function: Any, args: Any, kwargs: Any, result: Any, facts: Facts) -> None:
        self.name, self.kind, self.function, self.args, self.kwargs = name, kind, function, args, kwargs
        self.result, self.facts = result, facts
        leaves = tensors_in((args, kwargs))
        self.tensors: list[Tensor] = leaves
        self.operands: list[Fact] = [fact for leaf in leaves if (fact := facts(leaf)) is not None]
        self.raw = all(fact.raw for fact in self.operands)

    def bind(self, signature: str) -> dict[str, Any]:
        given: dict[str, Any] = {**dict(zip(signature.split(), self.args, strict=False)), **self.kwargs}
        return given

    def dimensions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The dimensions that the call names, all of them where it names none."""
        at = DIMENSION.get(self.name, 1)
        named = self.kwargs.get("dim", self.kwargs.get("axis"))
        if named is None and at < len(self.args) and not isinstance(self.args[at], bool | Tensor):
            named = self.args[at]
        if named is None or named == ():
            return tuple(range(len(shape)))
        listed = named if isinstance(named, tuple | list) else (named,)
        return tuple(sorted(int(one) % len(shape) for one in listed))


def described(step: Step, told: Told) -> list[tuple[Tensor, Fact]]:
    """What is known of the tensors in a call's result."""
    outputs = tensors_in(step.result)
    try:
        facts = _rule(step)(step, told)
    except (RuntimeError, IndexError, TypeError, ValueError, KeyError, AttributeError):
        # A spelling that no rule reads: what is known is that it depends on all of its operands.
        facts = None
    if facts is None or len(facts) > len(outputs):
        facts = [opaque(step.operands, output) for output in outputs]
    # A second result (indices, weights of attention) depends on the same, wherever its elements stand.
    facts += [opaque(step.operands, output) for output in outputs[len(facts) :]]
    return [
        (output, fact if fact.flow.shape == output.shape else opaque(step.operands, output))
        for output, fact in zip(outputs, facts, strict=True)
    ]


def opaque(operands: Sequence[Fact], output: Tensor) -> Fact:
    """The fact of a result whose elements depend on all of their sample's, by an operation that tells nothing."""
    shape, start = output.shape, operands[0]
    rows = len(start.flow) if start.flow.dim() and shape and shape[0] == len(start.flow) else 0
    flow = torch.zeros(shape)
    for fact in operands:
        alike = rows and fact.flow.dim() and len(fact.flow) == rows
        own = fact.flow.reshape(rows, -1).sum(1).view(-1, *[1] * (len(shape) - 1)) if alike else fact.flow.sum()
        flow = flow + own
    if shape == start.flow.shape:
        return known(flow, start.places)
    samples = [line(0, shape, 0)] if rows and any(p.axis == 0 and p.along <= {0} for p in start.places) else []
    return known(flow, samples)


def _rule(step: Step) -> Callable[[Step, Told], list[Fact] | None]:
    if step.name in RULES:
        return RULES[step.name]
    if step.kind in KINDS:
        return KINDS[step.kind]
    if step.kind == "foreign" or step.name.startswith(("fft", "linalg", "_fft", "stft", "istft")):
        return lambda *_: None
    return _elementwise


def _elementwise(step: Step, told: Told) -> list[Fact]:
    shape = tensors_in(step.result)[0].shape
    flow = sum((fact.flow.expand(shape) for fact in step.operands), torch.zeros(()))
    places = joined(p for fact in step.operands for p in _expanded(fact.places, shape))
    return [known(flow, places, raw=step.raw)]


def _expanded(places: Sequence[Place], shape: Sequence[int]) -> list[Place]:
    """Places of a tensor that is broadcast to `shape`."""
    more = [(p, len(shape) - p.at.dim()) for p in places]
    return [Place(p.axis, p.at.expand(*shape), frozenset(i + by for i in p.along)) for p, by in more]


def _same(step: Step, told: Told) -> list[Fact]:
    fact = step.facts(step.args[0])
    if fact is None:  # a constant, cast like something that was computed from the input
        return [known(torch.zeros(step.result.shape), ())]
    return [known(fact.flow, fact.places, raw=fact.raw)]


def _rearranged(step: Step, told: Told) -> list[Fact]:
    """The call itself, run on what is known in place of its tensors; what it fills in is 0: no place."""
    leaves, spec = tree_flatten((step.args, step.kwargs))
    target = step.result if step.result is not None else step.args[0]

    def run(of: Callable[[Tensor], Tensor]) -> list[Tensor]:
        stood = [of(leaf) if _carries(leaf, step) else leaf for leaf in leaves]
        args, kwargs = tree_unflatten(stood, spec)
        result = step.function(*args, **kwargs)
        return tensors_in(args[0] if result is None else result)

    def flow(leaf: Tensor) -> Tensor:
        fact = step.facts(leaf)
        return torch.zeros(leaf.shape) if fact is None else fact.flow.clone()

    flows = run(flow)
    found: list[list[Place]] = [[] for _ in flows]
    with torch.no_grad():
        for axis, count in _kinds_of_places(step.operands):
            for which in range(count):
                shifted = run(lambda leaf, a=axis, w=which: _stand_in(leaf, step, a, w))  # type: ignore[misc]
                for where, at in zip(found, shifted, strict=True):
                    if (here := place(axis, at - 1)) is not None:
                        where.append(here)
    assert target is not None
    return [known(one, joined(where), raw=step.raw) for one, where in zip(flows, found, strict=True)]


def _viewed(step: Step, told: Told) -> list[Fact] | None:
    """What is known may lie in memory in other ways than the tensor, so that no view of it is one."""
    fact, shape = step.facts(step.args[0]), step.result.shape
    if fact is None or fact.flow.numel() != step.result.numel():
        return None  # a view as another dtype
    found = [place(p.axis, p.at.reshape(shape)) for p in fact.places]
    return [known(fact.flow.reshape(shape), [p for p in found if p is not None], raw=fact.raw)]


def _carries(leaf: object, step: Step) -> bool:
    """Whether an argument is a tensor whose elements are rearranged: not an index, nor a mask."""
    return isinstance(leaf, Tensor) and (
        leaf.is_floating_point() or leaf.is_complex() or (leaf is step.tensors[0] and step.facts(leaf) is not None)
    )


def _kinds_of_places(operands: Sequence[Fact]) -> list[tuple[int, int]]:
    axes = [p.axis for fact in operands for p in fact.places]
    return [(a, max(sum(p.axis == a for p in fact.places) for fact in operands)) for a in dict.fromkeys(axes)]


def _stand_in(leaf: Tensor, step: Step, axis: int, which: int) -> Tensor:
    fact = step.facts(leaf)
    own = [] if fact is None else [p for p in fact.places if p.axis == axis]
    return own[which].at + 1 if which < len(own) else torch.zeros(leaf.shape)


def _concatenated(step: Step, told: Told) -> list[Fact]:
    arguments = step.bind("tensors dim")
    tensors = list(arguments["tensors"])
    stacked = step.name == "stack"
    sizes = max(tensor.dim() for tensor in tensors)
    tensors = [tensor for tensor in tensors if tensor.dim() == sizes]  # torch lets an empty (0,) stand beside others
    dim = int(arguments.get("dim", arguments.get("axis", 0))) % (sizes + stacked)
    join = torch.stack if stacked else torch.cat
    facts = [step.facts(tensor) for tensor in tensors]
    flow = join([torch.zeros(t.shape) if f is None else f.flow for t, f in zip(tensors, facts, strict=True)], dim)
    places = []
    for axis, count in _kinds_of_places(step.operands):
        for which in range(count):
            own = [[p for p in fact.places if p.axis == axis][which : which + 1] if fact else [] for fact in facts]
            having = next(p[0] for p in own if p)
            # Beside places that run along `dim`, what has none is no place (a class token); elsewhere it is at all.
            fills = stacked or axis == 0 or not any(dim in p[0].along for p in own if p)
            parts = []
            for tensor, given in zip(tensors, own, strict=True):
                like = having.at if stacked else having.at.narrow(dim, 0, 1)
                blank = like.expand(tensor.shape) if fills else torch.full(tensor.shape, -1.0)
                parts.append(given[0].at if given else blank)
            if (found := place(axis, join(parts, dim))) is not None:
                places.append(found)
    return [known(flow, joined(places), raw=step.raw)]


def _reduced(places: Sequence[Place], over: frozenset[int]) -> list[Place]:
    """Places after elements along `over` became one, kept with size 1: an axis that is gone is no place any more."""
    kept = []
    for p in places:
        if not p.along <= over or not p.along:
            at = p.at
            for axis in sorted(over):
                at = at.amin(axis, keepdim=True) if axis in p.along else at.narrow(axis, 0, 1)
            kept.append(Place(p.axis, at, p.along - over))
    return kept


def _pooled_away(step: Step, told: Told) -> list[Fact] | None:
    tensors = [t for t in step.tensors if step.facts(t) is not None]
    if len(step.tensors) > 1 and step.name in ("max", "min"):
        return _elementwise(step, told)
    (fact,) = step.operands
    shape = tensors[0].shape
    over = step.dimensions(shape)
    told.pooled(fact, frozenset(over))
    flow, places = fact.flow.mean(over, keepdim=True), _reduced(fact.places, frozenset(over))
    output = tensors_in(step.result)[0]
    if output.dim() == len(shape):
        return [known(flow, places, raw=fact.raw)]
    left = [i for i in range(len(shape)) if i not in over]
    places = [p for p in places if p.along <= set(left)]
    squeezed = [Place(p.axis, p.at.squeeze(over), frozenset(left.index(i) for i in p.along)) for p in places]
    return [known(flow.squeeze(over), squeezed, raw=fact.raw)]


def _mixed_along(step: Step, told: Told) -> list[Fact]:
    """Elementwise, and each element depends on all along the dimensions that the call names."""
    (fact,) = step.operands
    return [
        known(fact.flow + fact.flow.mean(step.dimensions(fact.flow.shape), keepdim=True), fact.places, raw=fact.raw)
    ]


def _softmax(step: Step, told: Told) -> list[Fact]:
    """Along positions it mixes them; along channels it changes no position, and a class map stays one."""
    (fact,) = step.operands
    dims = set(step.dimensions(fact.flow.shape))
    if any(p.along & dims for p in fact.places if p.axis):
        return _mixed_along(step, told)
    return [known(fact.flow, fact.places, raw=fact.raw)]


def _normalized(step: Step, told: Told) -> list[Fact]:
    fact = step.operands[0]
    dims = fact.flow.dim()
    if step.name == "layer_norm" or step.name in ("native_layer_norm", "rms_norm"):
        shape = step.bind("input normalized_shape")["normalized_shape"]
        over = tuple(range(dims - (len(shape) if isinstance(shape, tuple | list | torch.Size) else 1), dims))
        if len(over) == 1:
            told.mixed(fact, frozenset(over), weak=True)
    else:
        over = tuple(range(2 if step.name == "instance_norm" else 1, dims))
        told.mixed(fact, frozenset((1,)), weak=True)
    flow = sum((one.flow for one in step.operands[1:] if one.flow.shape == fact.flow.shape), fact.flow)
    return [known(flow + fact.flow.mean(over, keepdim=True) if over else flow, fact.places, raw=fact.raw)]


def _batch_norm(step: Step, told: Told) -> list[Fact]:
    told.mixed(step.operands[0], frozenset((1,)), weak=True)
    return [known(step.operands[0].flow, step.operands[0].places, raw=step.raw)]


def _linear(step: Step, told: Told) -> list[Fact]:
    fact = step.facts(step.bind("input weight")["input"])
    output = step.result
    if fact is None:
        return [opaque(step.operands, output)]  # the weight was computed from the input
    last = frozenset((fact.flow.dim() - 1,))
    told.mixed(fact, last)
    return [known(fact.flow.sum(-1, keepdim=True).expand(output.shape), _widened(_reduced(fact.places, last), output))]


def _widened(places: Sequence[Place], output: Tensor) -> list[Place]:
    return [Place(p.axis, p.at.expand(output.shape), p.along) for p in places]


def _convolved(step: Step, told: Told) -> list[Fact]:
    if step.name in ("convolution", "_convolution"):
        given = step.bind("input weight bias stride padding dilation transposed output_padding groups")
    elif "transpose" in step.name:
        given = step.bind("input weight bias stride padding output_padding groups dilation") | {"transposed": True}
    else:
        given = step.bind("input weight bias stride padding dilation groups")
    fact, output = step.facts(given["input"]), step.result
    if fact is None:
        return [opaque(step.operands, output)]
    kernel = given["weight"].shape[2:]
    channel = fact.flow.dim() - len(kernel) - 1
    spatial = range(channel + 1, fact.flow.dim())
    # A kernel that takes in a whole axis and leaves one place of it reads it as a linear layer reads its features.
    whole = {i for i, size in zip(spatial, kernel, strict=True) if size == fact.flow.shape[i] and output.shape[i] == 1}
    told.mixed(fact, frozenset({channel} | whole))
    ones = torch.ones(1, 1, *kernel)
    settings: dict[str, Any] = {name: given[name] for name in ("stride", "padding", "dilation") if name in given}
    flow = fact.flow.sum(channel, keepdim=True)
    if given.get("transposed"):
        settings["output_padding"] = given.get("output_padding", 0)
        run: Any = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(kernel) - 1]
    else:
        run = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    flow = run(flow, ones, **settings).expand(output.shape)
    places = _made_anew(_reduced(fact.places, frozenset((channel,))), output, list(spatial), told)
    return [known(flow, places)]


def _pooled(step: Step, told: Told) -> list[Fact]:
    fact = step.operands[0]
    output = tensors_in(step.result)[0]
    given = step.bind("input kernel_size stride padding dilation ceil_mode")
    if "adaptive" in step.name or step.name.startswith("fractional"):
        dims = fact.flow.dim() - (2 if fact.flow.dim() > 2 else 1)
        pool: Any = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1]
        flow = pool(fact.flow, output.shape[-dims:])
    elif "pool" in step.name and "avg" not in step.name:
        dims = int(step.name.split("d")[0][-1])
        flow = _windows(fact.flow, output, dims, given)
    elif step.name == "grid_sample":
        return [opaque(step.operands, output)]
    else:
        flow = step.function(fact.flow, *step.args[1:], **{k: v for k, v in step.kwargs.items() if k != "input"})
    told.mixed(fact, frozenset((1,)), weak=True)
    return [known(flow, _made_anew(fact.places, output, list(range(2, output.dim())), told), raw=fact.raw)]


def _windows(flow: Tensor, output: Tensor, dims: int, given: dict[str, Any]) -> Tensor:
    """The mean over windows of a maximum's size."""
    if given.get("dilation", 1) in (1, [1] * dims, (1,) * dims):
        pool: Any = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[dims - 1]
        names = ("kernel_size", "stride", "padding", "ceil_mode")
        settings = {name: given[name] for name in names if given.get(name) not in (None, [])}
        return pool(flow, **settings)  # type: ignore[no-any-return]
    settings = {name: given[name] for name in ("stride", "padding", "dilation") if name in given}
    settings.setdefault("stride", given["kernel_size"])
    size = given["kernel_size"]
    ones = torch.ones(flow.shape[1], 1, *(size if isinstance(size, tuple | list) else (size,) * dims))
    run: Any = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return run(flow, ones, groups=flow.shape[1], **settings)  # type: ignore[no-any-return]


def _made_anew(places: Sequence[Place], output: Tensor, spatial: list[int], told: Told) -> list[Place]:
    """Places after an operation that moves windows along the axes `spatial`, whose sizes it may change.

    Where the network's path was lost from sight, the axes are taken for the input's own, in their order: that they are
    positions is what such an operation says.
    """
    kept = []
    for p in places:
        moved = p.along & set(spatial)
        if all(p.at.shape[i] == output.shape[i] for i in spatial):
            kept.append(Place(p.axis, p.at.expand(output.shape), p.along))
        elif not moved:
            at = p.at
            for i in spatial:
                at = at.narrow(i, 0, 1)
            kept.append(Place(p.axis, at.expand(output.shape), p.along))
        elif len(p.along) == 1:
            kept.append(line(p.axis, output.shape, *moved))
    if not any(p.axis for p in kept) and not any(p.axis for p in places):
        kept += [line(axis, output.shape, i) for axis, i in zip(told.axes(len(spatial)), spatial, strict=False)]
    return kept


def _product(step: Step, told: Told) -> list[Fact] | None:
    if step.name in ("mul", "div", "rdiv", "true_divide"):
        return _elementwise(step, told)
    if step.name == "einsum":
        return _einsum(step, told)
    if step.name in ("addmm", "baddbmm"):
        left, right = step.bind("input left right")["left"], step.bind("input left right")["right"]
    else:
        left, right = step.args[0], step.args[1] if len(step.args) > 1 else next(iter(step.kwargs.values()))
        if step.name == "rmatmul":
            left, right = right, left
    a, b = max(left.dim(), 1), max(right.dim(), 1)
    letters = "abcdefghijklmnopqrstuvw"
    first_ = "z" if a == 1 else letters[20 - a + 2 : 20] + "xz"
    second = "z" if b == 1 else letters[20 - b + 2 : 20] + "zy"
    longest = max((one[:-2] for one in (first_, second)), key=len)
    out = longest + ("x" if a > 1 else "") + ("y" if b > 1 else "")
    facts = [_contracted([(left, first_), (right, second)], out, step, told)]
    bias = step.facts(step.args[0]) if step.name in ("addmm", "baddbmm") else None
    if bias is not None:
        flow = facts[0].flow + bias.flow.expand(step.result.shape)
        return [known(flow, joined((*facts[0].places, *_expanded(bias.places, step.result.shape))))]
    return facts


def _einsum(step: Step, told: Told) -> list[Fact] | None:
    equation, *operands = step.args
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = list(operands[0])
    if not isinstance(equation, str):
        return None
    terms, out = _letters(equation.replace(" ", ""), [operand.dim() for operand in operands])
    return [_contracted(list(zip(operands, terms, strict=True)), out, step, told)]


def _letters(equation: str, dims: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result: those behind `...`, and of a result that is not given."""
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    counts = [dim - len(term.replace("...", "")) for term, dim in zip(terms, dims, strict=True) if "..." in term]
    unused = [letter for letter in ascii_letters if letter not in equation]
    behind = "".join(unused[: max(counts, default=0)])
    spelled = [
        term.replace("...", behind[len(behind) - (dim - len(term.replace("...", ""))) :])
        for term, dim in zip(terms, dims, strict=True)
    ]
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        out = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return spelled, out.replace("...", behind)


def _contracted(operands: list[tuple[Tensor, str]], out: str, step: Step, told: Told) -> Fact:
    """A sum of products, each axis under a letter: those that are missing in `out` are summed over."""
    shape = step.result.shape
    flow, places = torch.zeros(shape), []
    dependent = [(step.facts(tensor), letters) for tensor, letters in operands]
    weighed = any(fact is None for fact, _ in dependent)
    for fact, letters in dependent:
        if fact is None:
            continue
        gone = [i for i, letter in enumerate(letters) if letter not in out]
        if gone and weighed:
            told.mixed(fact, frozenset(gone))
        own = fact.flow.sum(gone, keepdim=True) if gone else fact.flow
        order = [letters.index(letter) if letter in letters else None for letter in out]
        flow = flow + _ordered(own, order).expand(shape)
        for p in _reduced(fact.places, frozenset(gone)):
            at = _ordered(p.at, order).expand(shape)
            places.append(Place(p.axis, at, frozenset(order.index(i) for i in p.along if i in order)))
    return known(flow, joined(places))


def _ordered(tensor: Tensor, order: Sequence[int | None]) -> Tensor:
    """The axes of a tensor in another order, with an axis of size 1 where None stands; the rest have size 1."""
    kept = [i for i in order if i is not None]
    gone = [i for i in range(tensor.dim()) if i not in kept]
    moved = tensor.permute(*kept, *gone).reshape([tensor.shape[i] for i in kept])
    for position, i in enumerate(order):
        if i is None:
            moved = moved.unsqueeze(position)
    return moved


def _attention(step: Step, told: Told) -> list[Fact]:
    """Each query depends on itself and on every key and value; it stays at its place."""
    tensors = step.bind("query key value")
    query, *others = [step.facts(tensors[name]) for name in ("query", "key", "value")]
    shape = step.result.shape
    flow = torch.zeros(shape)
    for other in filter(None, others):
        every = other.flow.sum((-2, -1), keepdim=True)
        flow = flow + (every if every.shape[:-2] == shape[:-2] else every.sum()).expand(shape)
    if query is None:
        return [known(flow, [])]
    last = frozenset((query.flow.dim() - 1,))
    flow = flow + query.flow.sum(-1, keepdim=True).expand(shape)
    return [known(flow, _widened(_reduced(query.places, last), step.result))]


def _tokens(step: Step, told: Told) -> list[Fact]:
    """A recurrent layer, or multi-head attention: every token of a sample depends on all, and features stand last."""
    facts = [step.facts(tensor) for tensor in step.tensors]
    fact = next(one for one in facts if one is not None)
    output = tensors_in(step.result)[0]
    last = frozenset((fact.flow.dim() - 1,))
    for one in step.operands:
        told.mixed(one, frozenset((one.flow.dim() - 1,)))
    along = tuple(i for i in range(fact.flow.dim()) if not any(i in p.along for p in fact.places if p.axis == 0))
    apart = [size for i, size in enumerate(fact.flow.shape) if i not in along]
    flow = torch.zeros(())
    for one in step.operands:
        own = [size for i, size in enumerate(one.flow.shape) if i not in along]
        alike = one.flow.dim() == fact.flow.dim() and own == apart
        flow = flow + (one.flow.sum(along, keepdim=True) if alike else one.flow.sum())
    places = _widened(_reduced(fact.places, last), output)
    return [known(flow.expand(output.shape), places)]


def _cell(step: Step, told: Told) -> list[Fact]:
    for fact in step.operands:
        told.mixed(fact, frozenset((fact.flow.dim() - 1,)))
    return [opaque(step.operands, output) for output in tensors_in(step.result)]


def _gated(step: Step, told: Told) -> list[Fact]:
    """The first half of a dimension times a function of the second."""
    (fact,) = step.operands
    dim = step.dimensions(fact.flow.shape)[-1]
    first_, second = fact.flow.chunk(2, dim)
    half = [place(p.axis, p.at.chunk(2, dim)[0]) for p in fact.places]
    return [known(first_ + second, [p for p in half if p is not None], raw=fact.raw)]


def _no_rule(step: Step, told: Told) -> list[Fact] | None:
    return None


RULES: dict[str, Callable[[Step, Told], list[Fact] | None]] = {
    **dict.fromkeys(REDUCTIONS.split(), _pooled_away),
    **dict.fromkeys(CASTS.split(), _same),
    **dict.fromkeys(CHOOSING.split(), _elementwise),
    **dict.fromkeys(POOLS.split(), _pooled),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack"), _concatenated),
    **dict.fromkeys(("hstack", "vstack", "dstack", "column_stack", "row_stack", "pad", "constant_pad_nd"), _rearranged),
    **dict.fromkeys(("cumsum", "cumprod", "normalize", "logcumsumexp", "cummax", "cummin"), _mixed_along),
    **dict.fromkeys(("sort", "topk", "diff", "trapz", "rot90"), _no_rule),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    **dict.fromkeys(("_native_multi_head_attention", "multi_head_attention_forward"), _tokens),
    **dict.fromkeys(("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "_unsafe_view"), _viewed),
    "glu": _gated,
    "conv_tbc": _no_rule,
}
KINDS: dict[str, Callable[[Step, Told], list[Fact] | None]] = {
    "structural": _rearranged,
    "write": _rearranged,
    "linear": _linear,
    "convolution": _convolved,
    "product": _product,
    "normalization": _normalized,
    "batch-norm": _batch_norm,
    "softmax": _softmax,
    "attention": _attention,
    "recurrent": _tokens,
}
