"""What each tensor is at the baseline."""

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from heatproof.errors import OperationError


class References:
    """The value at the baseline of every tensor that depends on the input, held weakly and by identity."""

    def __init__(self) -> None:
        self._of = WeakIdKeyDictionary()

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._of

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor's value at the baseline; a tensor that does not depend on the input is its own reference."""
        if tensor not in self._of:
            return tensor.detach()
        reference, ahead = self._of[tensor]
        if tensor._version - reference._version != ahead:
            raise OperationError(
                "Expected every write into a tensor to be seen, but one changed behind DeepLIFT's back; "
                "look for writes through .data or NumPy inside the model."
            )
        return reference  # type: ignore[no-any-return]

    def stored(self, tensor: Tensor) -> Tensor:
        """The reference as it was remembered, where the tensor may have been written into since."""
        reference: Tensor = self._of[tensor][0]
        return reference

    def remember(self, tensor: Tensor, reference: Tensor) -> None:
        """The tensor's value at the baseline, as both are now: they have to be written into together."""
        self._of[tensor] = (reference, tensor._version - reference._version)
