"""The door of every method: what is settled once a model, what is refused of a call, and whose error an error is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from torch import Tensor, nn

from heatproof import deferred, habits
from heatproof.errors import MapsError
from heatproof.habits import Habits
from heatproof.hooks import left_on, with_backward_hooks
from heatproof.intact import guards, process_intact
from heatproof.models import check_model
from heatproof.propagation.independence import Settled, blame, check_independent, known, plain_outputs, vouch
from heatproof.refusals import as_labels, check_form, check_labels, look, looked, parameters_like, plain
from heatproof.state import unchanged
from heatproof.undo import interrupt_behind

__all__ = [
    "Settled",
    "as_labels",
    "check_maps",
    "enter",
    "entered",
    "guarded",
    "looked",
    "plain",
    "plain_outputs",
    "vouch",
]

T = TypeVar("T")
UNRUN = Settled((), False, None, Habits())


def enter(model: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, runs: bool = True) -> Settled:
    """Refuse what no method can work with, before the model is run for it.

    What is settled of the model is kept as long as it stays as it is (`check_independent`: five rows forward); a call
    pays for a look at its modules, inputs and targets. A method that does not run it has nothing to settle.

    Raises: InputError; OperationError for a model that is no function of each sample by itself.
    """
    return _enter(model, inputs, targets, runs)[0]


@contextmanager
def entered(
    model: nn.Module, inputs: Tensor, targets: Tensor | None = None, *, runs: bool = True
) -> Iterator[tuple[Settled, Tensor, Tensor | None]]:
    """The same, with the inputs and labels to work on: what is called inside with these looks at no value again."""
    settled, high = _enter(model, inputs, targets, runs)
    x = plain(inputs)
    labels = None if targets is None else plain(targets).to(inputs.device, non_blocking=True)
    with looked(x, labels, high):
        yield settled, x, labels


def _enter(model: nn.Module, inputs: Tensor, targets: Tensor | None, runs: bool) -> tuple[Settled, int | None]:
    settled = known(model) if runs else None
    if settled is None:
        check_model(model)
        if runs and (hooks := with_backward_hooks(model)):  # whatever they do: one rule for every method
            raise left_on(hooks)
    check_form(inputs, parameters_like(model) if settled is None else settled.like)
    if targets is not None:
        check_labels(inputs, targets)
    high = look(inputs, targets)
    if not runs:
        return UNRUN, high
    return settled or check_independent(model, inputs), high


def guarded(call: Callable[[], T], model: nn.Module, inputs: Tensor, settled: Settled) -> T:
    """What `call` returns; the model is afterwards as it was.

    Where hooks were put on in a pass that was not watched for them, it is called again, from its beginning.

    Raises: InputError, in a sentence, for an error that the model itself raises on these inputs; any other as it is.
    """
    try:
        return _guarded(call, model, inputs, settled)
    except habits.UnseenError:
        pass  # which is no context of an error that the second call raises
    return _guarded(call, model, inputs, settled._replace(habits=Habits(always=True)))


def _guarded(call: Callable[[], T], model: nn.Module, inputs: Tensor, settled: Settled) -> T:
    try:
        with (
            deferred.together(),
            nullcontext() if guards() else process_intact(),
            habits.settled(model, settled.habits),
        ):
            if not settled.leaves_traces:
                return call()
            with unchanged(model, inputs.device):
                return call()
    except Exception as error:  # the model's, or a method's own
        if (interrupt := interrupt_behind(error)) is not None:
            raise interrupt from None
        if settled is not UNRUN:
            blame(model, inputs, error)
        raise


def check_maps(maps: Any, inputs: Tensor, who: str) -> None:
    """Refuse attributions that are no floating tensor (N, …) that broadcasts to `inputs` (N, …); `who` made them.

    Raises: MapsError.
    """
    fits = isinstance(maps, Tensor) and maps.is_floating_point() and maps.dim() == inputs.dim()
    every = fits and maps.shape[0] == inputs.shape[0]
    if every and (
        maps.shape == inputs.shape
        or all(ours in (1, full) for ours, full in zip(maps.shape, inputs.shape, strict=True))
    ):
        return
    got = f"{maps.dtype} {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
    advice = ""
    if not isinstance(maps, Tensor) and hasattr(maps, "__array__"):
        advice = "; return torch.from_numpy(maps)"
    elif isinstance(maps, Tensor) and maps.dim() < inputs.dim():
        advice = "; a dimension that is not resolved has size 1, as with maps.unsqueeze(1)"
    elif fits and not every:
        advice = "; return a map of each sample"
    raise MapsError(
        f"Expected floating attributions that broadcast to {tuple(inputs.shape)}, but got {got}. "
        f"{who} gave them{advice}."
    )
