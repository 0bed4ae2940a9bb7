"""Whether a model is a function of each sample by itself, as every method takes for granted; settled once a model."""

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode

from heatproof import hooks
from heatproof.compiled import uncompiled
from heatproof.complaints import complaint
from heatproof.errors import HeatproofError, ModelError, OperationError
from heatproof.habits import Habits
from heatproof.models import check_model, forward
from heatproof.propagation.proofs import is_quantized, modes_left_above
from heatproof.propagation.watches import Drawing, Mixing, Precision, Watch
from heatproof.refusals import Like, parameters_like, plain
from heatproof.state import RandomState, State, unchanged

# Of the largest output. Batches of one size take the same kernels, with the same last bits; but not where values decide
# how many rows a step takes, nor with a GPU's atomic additions.
ROUNDING = 1e-4
OTHER_KERNELS = 1e-3  # batches of other sizes
EQUAL = 1e-6  # the same batch again, perhaps compiled in between


class Settled(NamedTuple):
    """What is known of a model: how it was built and set when it was looked at, and whether its calls leave traces."""

    structure: tuple[Any, ...]
    leaves_traces: bool
    like: Like | None  # dtype and device of its parameters
    habits: Habits


EVERYWHERE = (*hooks.FORWARD_EVERYWHERE, *hooks.EVERYWHERE)
# By identity, as long as the structure stays; parameters may take other values. torch's weak dictionaries cost as much
# as all else that is looked at in a call.
_known: dict[int, tuple[weakref.ref[nn.Module], Settled]] = {}


def check_independent(model: nn.Module, inputs: Tensor) -> Settled:
    """Refuse a model that is no function of each sample by itself: no map would be that sample's own.

    Two samples of `inputs` (N, …), or one and its mirror image, are run side by side, the first beside itself and the
    second alone. Where the outputs differ, or something was drawn or kept, passes more say why. What the passes changed
    is put back: parameters, buffers and other tensors, random generators; what a module counts or lists only if it is
    refused. A model that does not run on two rows is run on `inputs` as they are, again with every second row replaced,
    and with the others.

    Cost: five rows forward, once a model; again where modules, hooks, modes, dtypes or devices changed. Not judged are
    quantized models, which may round by the range of a batch, and samples that do not differ.

    Raises: InputError for a model in training mode, in half precision or without values, or one that does not run on
    these inputs; OperationError for one that draws random numbers, whose outputs depend on earlier calls or on the
    other samples of the batch, that computes in half precision inside, or keeps tensors made under inference_mode. It
    names the operation and the module that calls it, or the buffer.
    """
    if (before := known(model)) is not None:
        return before
    check_model(model)
    structure, like = structure_of(model), parameters_like(model)
    settled = Settled(structure, False, like, Habits())
    if not any(is_quantized(module) for module in model.modules()):
        pair, rows = _two(inputs)
        if pair is None:
            return settled  # for these inputs; others may tell
        traces = _Trial(model, inputs, pair, rows).judge()
        settled = settled._replace(leaves_traces=traces)
    _keep(vars(model).get("origin", model), settled)
    return settled


def known(model: nn.Module) -> Settled | None:
    """What was settled of the model, if it is as it was then."""
    if not isinstance(model, nn.Module):
        return None
    found = _known.get(id(model.__dict__.get("origin", model)))
    return found[1] if found is not None and found[1].structure == structure_of(model) else None


def vouch(model: nn.Module, settled: Settled) -> None:
    """What was settled of a network holds for `model`, a module around it that treats each sample by itself."""
    _keep(model, settled._replace(structure=structure_of(model), habits=Habits()))


def forget(model: nn.Module) -> None:
    """Settle the model again when it is seen next."""
    _known.pop(id(vars(model).get("origin", model)), None)


def _keep(model: nn.Module, settled: Settled) -> None:
    number = id(model)
    _known[number] = (weakref.ref(model, lambda _: _known.pop(number, None)), settled)


def structure_of(model: nn.Module) -> tuple[Any, ...]:
    """What decides what a model computes, but for the values of its tensors.

    Modules, a `forward` put on one, modes, hooks, dtypes, devices, and which buffers there are. Modules are held
    weakly, as the number of one that is gone may be another's.
    """
    parts: list[Any] = [tuple(getattr(nn.modules.module, kind)) for kind in EVERYWHERE]
    seen: set[int] = set()
    todo, device = [model], None
    while todo:
        module = todo.pop()
        own = module.__dict__
        if module is not model:  # a selection of a Bound's rows is another module around the same network
            parts.append(weakref.ref(module))
        parts.append(own.get("training", module.training))
        if (put_on := own.get("forward")) is not None:
            parts.append(id(put_on))
        if buffers := own.get("_buffers"):  # a batch norm without statistics takes those of the batch
            parts.append([buffer is None for buffer in buffers.values()])
        for kind in (*hooks.FORWARD_OF_MODULES, *hooks.OF_MODULES):
            if registered := own.get(kind):
                parts.append(tuple(registered))
        if parameters := own.get("_parameters"):
            for parameter in parameters.values():
                if parameter is not None:
                    parts.append(parameter.dtype)
                    device = device or parameter.device
        if (modules := own.get("_modules")) and id(module) not in seen:
            seen.add(id(module))
            todo += [child for child in modules.values() if child is not None]
    return (device, *parts)


def plain_outputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs (N, C) of `model` on `inputs` (N, …), without a graph.

    Raises: InputError, in a sentence, for whatever the model does not like about them.
    """
    try:
        return _run(model, inputs, torch.arange(len(inputs), device=inputs.device))
    except (HeatproofError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a model raises
        raise complaint(model, inputs, error) from error


def blame(model: nn.Module, inputs: Tensor, error: Exception) -> None:
    """Raise the sentence for `error` where the plain model raises on these inputs as well.

    A refusal may be one of what a model does with inputs that it does not run on. No variable of a frame that the
    sentence passes keeps it: in a circle of references, what the model was amid (torch's hooks of activation
    checkpointing, files) would stay so until the garbage is collected.
    """
    if isinstance(error, OperationError | ModelError | torch.OutOfMemoryError | MemoryError):
        return
    try:
        with unchanged(model, inputs.device):
            plain_outputs(model, inputs)
    except HeatproofError as sentence:
        if not isinstance(error, HeatproofError) or isinstance(sentence, ModelError):
            raise sentence from error
    except Exception:  # another one than the model's own: memory, or a bug of ours
        return


class _Trial:
    """The passes that settle it, from one state of the model and one of the generators."""

    def __init__(self, model: nn.Module, inputs: Tensor, pair: Tensor, rows: Tensor) -> None:
        self.model, self.inputs, self.x, self.x_rows = model, inputs, pair, rows
        self.state, self.drawn = State(model), RandomState(inputs.device)
        self.grad = False  # whether the model runs with a graph alone, as it derives inside

    def judge(self) -> bool:
        """Whether calls leave traces that no output shows. Afterwards everything is as it was.

        Raises: as `check_independent` does.
        """
        try:
            traces = self._judge()
        except BaseException:
            self.state.restore(everything=True)
            raise
        finally:
            self.state.restore()
            self.drawn.restore()
        return traces

    def _judge(self) -> bool:
        for self.grad in (False, True):
            try:
                self.first = self._watched()
                break
            except (OperationError, torch.OutOfMemoryError):
                raise
            except Exception:  # whatever it does not like about two rows, or about having no graph
                self.state.restore(everything=True)
        else:
            return self._as_given()
        single, beside = self._single(), {0: self._beside_itself(0)}
        if single is None or not _close(self.first[1], single):
            beside[1] = self._beside_itself(1)
        traces = self._traces(any(not _close(self.first[i], pair) for i, pair in beside.items()))
        # Row by row: what a network does to a place of a batch is not another sample.
        if any(not _close(self.first[i], pair[i]) for i, pair in beside.items()):
            raise self._mixes([1], [0])
        if any(not _close(pair[0], pair[1]) for pair in beside.values()):
            raise self._counts("the place of its row in the batch")
        if single is not None and 1 in beside and not _close(beside[1][1], single, OTHER_KERNELS):
            raise self._counts("the size of its batch")
        return traces

    def _beside_itself(self, i: int) -> Tensor:
        return self._run(self.x[[i, i]], self.x_rows[[i, i]])

    def _single(self) -> Tensor | None:
        """The second sample's outputs (C,) where it is run by itself; None for a model that does not run on one row."""
        try:
            return self._run(self.x[1:], self.x_rows[1:])[0]
        except (OperationError, torch.OutOfMemoryError):
            raise
        except Exception:  # whatever it does not like about one row
            self.state.restore(everything=True)
            return None

    def _as_given(self) -> bool:
        """For a model that does not run on two rows of a sample."""
        size = len(self.inputs)
        self.x, self.x_rows = self.inputs, torch.arange(size, device=self.inputs.device)
        problem: Exception | None = None
        for self.grad in (False, True):
            try:
                self.first = self._watched()
                break
            except (HeatproofError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # whatever it does not like about its inputs
                self.state.restore(everything=True)
                problem = problem or error
        else:
            assert problem is not None
            raise complaint(self.model, self.inputs, problem) from problem
        halves = [torch.arange(start, size, 2, device=self.x.device) for start in (0, 1)] if size > 1 else []
        for replaced, kept in zip(halves, reversed(halves), strict=True):
            x = self.x.clone()
            x[replaced] = x[replaced].flatten(1).flip(1).view_as(x[replaced])
            x[replaced] = torch.where(x[replaced] == self.x[replaced], x[replaced] / 2 + 1, x[replaced])
            outputs = self._run(x, self.x_rows)
            if not _close(self.first[kept], outputs[kept]):
                self._traces(True)
                raise self._mixes(replaced.tolist())
        return self._traces(size == 1)

    def _watched(self) -> Tensor:
        watch = Precision(self.model)
        with uncompiled():
            outputs = self._run(self.x, self.x_rows, watch)
        if watch.found:
            raise OperationError(watch.found)
        return outputs

    def _run(self, x: Tensor, rows: Tensor, watch: Watch | None = None) -> Tensor:
        return _run(self.model, x, rows, watch, grad=self.grad)

    def _traces(self, suspect: bool) -> bool:
        """Whether something was drawn or kept, without effect on the outputs."""
        tensors, drew = self.state.changes(), self.drawn.moved()
        if not (suspect or tensors or drew):
            return False
        if suspect and drew:
            raise self._not_a_function(drew)
        changes = self.state.changes(everything=True)
        if not self._same_again(after_other_calls=True):
            if changes and self._same_again():
                raise OperationError(
                    f"Expected outputs that depend on the inputs alone, but {type(self.model).__name__} keeps state "
                    f"between calls: {_listed(changes)} changed, and its outputs with it; let forward begin from one "
                    "state each time, or give the state as an argument (heatproof.models.Bound(net, given={…}))."
                )
            raise self._not_a_function(drew)
        # With other random numbers; a few may be alike by chance.
        if drew and not all(self._same_again(other_numbers=True) for _ in range(3)):
            raise self._not_a_function(drew)
        return bool(drew or tensors)

    def _same_again(self, *, after_other_calls: bool = False, other_numbers: bool = False) -> bool:
        """Whether the first pass comes out again: from the same state and random numbers, or from others."""
        if not after_other_calls:
            self.state.restore(everything=True)
        if not other_numbers:
            self.drawn.restore()
        return _close(self._run(self.x, self.x_rows), self.first, EQUAL)

    def _not_a_function(self, drew: bool) -> OperationError:
        watch = Drawing(self.model, self.x.device)
        self._named(watch, self.x)
        if not (watch.found or drew):
            return OperationError(
                f"Expected the same outputs for the same inputs, but {type(self.model).__name__} gives others when it "
                "is run again, though no random number that it draws and no tensor that it keeps tells why; look for "
                "state outside its modules (globals, closures) that forward changes."
            )
        name, _, place = watch.found.partition(" in ")
        place = f" It is called in {place}" if place else " It is NumPy's or Python's, or hidden from torch's modes"
        name = name or "a random generator"
        advice = (
            "functional dropout? F.dropout(x) is active in eval mode, F.dropout(x, training=self.training) is not"
            if "dropout" in name or "attention" in name
            else "leave the noise out in eval mode, or draw it once and give it as an argument "
            "(heatproof.models.Bound(net, given={…}))"
        )
        return OperationError(
            f"Expected a deterministic model, but {name} is active: it draws random numbers, and a map would be "
            f"that of one draw.{place}; {advice}."
        )

    def _mixes(self, *spoiled: list[int]) -> OperationError:
        watch = Mixing(self.model)
        for rows in spoiled:
            x = self.x.clone()
            x[rows] = torch.nan
            self._named(watch, x)
        return OperationError(
            "Expected outputs of a sample that do not depend on the other samples of its batch, but "
            f"{watch.found or 'one of its operations'} mixes them, and no map would be the sample's own; give it other "
            "dimensions than that of the samples, and a batch norm its running statistics. Where rows are the nodes of "
            "a graph, the graph is the sample: wrap the network so that it takes graphs (N, nodes, features), "
            "torch.stack([net(x, edges)[node] for x in graphs])."
        )

    def _counts(self, what: str) -> OperationError:
        return OperationError(
            f"Expected outputs of a sample that depend on it alone, but {type(self.model).__name__} gives others by "
            f"{what}, and no map would be the sample's own: look for positions, masks or arguments that are indexed by "
            "the dimension of the samples (batch_first?), and give what belongs to a sample as an argument "
            "(heatproof.models.Bound(net, given={…}))."
        )

    def _named(self, watch: Watch, x: Tensor) -> None:
        try:
            with uncompiled():
                self._run(x, self.x_rows, watch)
        except Exception:  # what was seen before NaN was too much for the model stands
            return


def _two(inputs: Tensor) -> tuple[Tensor | None, Tensor]:
    """Two samples that differ, of `inputs` or one and its mirror image, and which they are; None where none differ."""
    others = (inputs != inputs[:1]).flatten(1).any(1).nonzero()
    rows = torch.tensor([0, int(others[0]) if len(others) else 0], device=inputs.device)
    pair = inputs[rows]
    if not len(others):
        pair[1] = pair[1].flatten().flip(0).view_as(pair[1])
        if torch.equal(pair[0], pair[1]):
            return None, rows
    return pair, rows


def _run(model: nn.Module, x: Tensor, rows: Tensor, watch: Watch | None = None, *, grad: bool = False) -> Tensor:
    guard = watch or BaseTorchFunctionMode()
    x = plain(x).requires_grad_(grad)
    if watch is not None:
        watch.begin(x)
    with torch.set_grad_enabled(grad), guard:
        try:
            return forward(model, x, rows).detach()
        finally:
            modes_left_above(guard)  # its method will say that the model leaves some


def _close(one: Tensor, other: Tensor, tolerance: float = ROUNDING) -> bool:
    size = float(one.nan_to_num(0, 0, 0).abs().max())
    shape = torch.broadcast_shapes(one.shape, other.shape)  # type: ignore[no-untyped-call]  # torch does not annotate it
    one, other = one.expand(shape), other.expand(shape)  # CUDA's isclose writes into the smaller one
    return torch.allclose(one, other, rtol=0, atol=tolerance * size, equal_nan=True)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
