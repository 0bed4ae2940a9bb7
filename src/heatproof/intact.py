"""A model and the process around it, as they are left by an error: what an interrupt left changed is put back."""

import hashlib
import warnings

import torch
from torch import Tensor, nn

from heatproof import modes
from heatproof.errors import HeatproofWarning
from heatproof.state import RandomState, State
from heatproof.undo import Undoing, is_open


class process_intact(Undoing):  # noqa: N801  # reads like contextlib's own
    """Left by an error, what torch keeps of a call is what it was: modes, the fused layers, the global generator.

    torch's own contexts are left changed where an interrupt meets the moment in which they are left. Meanwhile no
    transformer encoder takes torch's fused way (as in `models`), so that the passes of a call need not see to it.
    """

    bounds = True

    def __init__(self) -> None:
        self._fused = torch.backends.mha.get_fastpath_enabled()
        self._modes = modes.entered()
        self._drawn = torch.get_rng_state()

    def _change(self) -> None:
        torch.backends.mha.set_fastpath_enabled(False)

    def _undo(self) -> None:
        modes.become(self._modes)
        torch.backends.mha.set_fastpath_enabled(self._fused)
        if self.left_by is not None:
            torch.set_rng_state(self._drawn)


def guards() -> bool:
    """Whether a call is guarded now, in this thread."""
    return is_open(process_intact)


class intact(Undoing):  # noqa: N801  # as above
    """Left by an error, the model is what it was: tensors, modes, hooks, attributes; and so are the global generators.

    What could not be put back is said in a note of the error, and in a HeatproofWarning.
    Cost: a copy of the model's tensors (of more than 256 MiB of parameters a digest, at a GB a second).
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._state = model, State(model)
        self._drawn = RandomState(next((p.device for p in model.parameters()), torch.device("cpu")))
        self._parameters = [(name, p, p.requires_grad, p.grad) for name, p in model.named_parameters()]
        self._digests = {name: _digest(tensor) for name, tensor in self._state.uncopied()}

    def _undo(self) -> None:
        if self.left_by is None:
            return
        self._state.restore(everything=True)
        self._drawn.restore()
        for _, parameter, wanted, gradient in self._parameters:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
            if parameter.grad is not gradient:
                parameter.grad = gradient

    def _left(self, error: BaseException | None) -> None:
        if error is not None and (damage := self.damage()):
            more = f" and {len(damage) - 5} more" if len(damage) > 5 else ""
            said = (
                f"{', '.join(damage[:5])}{more} of the model could not be put back as before the audit; load the model "
                "again."
            )
            error.add_note(said)
            warnings.warn(said, HeatproofWarning, stacklevel=4)

    def damage(self) -> list[str]:
        """Names of what is not as it was."""
        changed = self._state.changes(everything=True)
        return changed + [name for name, tensor in self._state.uncopied() if _digest(tensor) != self._digests[name]]


def _digest(tensor: Tensor) -> bytes:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(memoryview(values.numpy()), digest_size=16).digest()  # type: ignore[arg-type]  # a buffer
