"""What each tensor is at the baseline."""

import torch
from torch import Tensor

from heatproof.by_tensor import ByTensor
from heatproof.errors import OperationError
from heatproof.propagation.unsupported import UnsupportedCallError


class References:
    """The value at the baseline of every tensor that depends on the input, held weakly and by identity."""

    def __init__(self) -> None:
        self._of: ByTensor[tuple[Tensor, int]] = ByTensor()  # and by how many writes it is ahead of its reference

    def __contains__(self, tensor: Tensor) -> bool:
        return tensor in self._of

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor's value at the baseline; a tensor that does not depend on the input is its own reference."""
        found = self._of.get(tensor)
        if found is None:
            return self._of_base(tensor) if tensor._base in self._of else tensor.detach()
        reference, ahead = found
        if tensor._version - reference._version != ahead:
            raise OperationError(
                "Expected every write into a tensor to be seen, but one changed behind DeepLIFT's back; "
                "look for writes through .data or NumPy inside the model."
            )
        return reference

    def adopt(self, view: Tensor) -> None:
        """Called before a write into `view`: a constant that it shows depends on the input from now on."""
        base = view._base
        if base is None or view in self._of:
            return
        if base not in self._of:
            self.remember(base, torch.empty_strided(base.size(), base.stride()).to(base).copy_(base.detach()))
        self.remember(view, self._of_base(view))

    def _of_base(self, view: Tensor) -> Tensor:
        """The reference of a view, as the same view of its base's reference."""
        base = view._base
        assert base is not None
        reference = self(base)
        if reference.stride() != base.stride():
            raise UnsupportedCallError("it reads a view of a tensor that was written into in another place")
        offset = view.storage_offset() - base.storage_offset() + reference.storage_offset()
        return reference.as_strided(view.size(), view.stride(), offset)

    def stored(self, tensor: Tensor) -> Tensor:
        """The reference as it was remembered, where the tensor may have been written into since."""
        return self._of[tensor][0]

    def remember(self, tensor: Tensor, reference: Tensor) -> None:
        """The tensor's value at the baseline, as both are now: they have to be written into together."""
        self._of[tensor] = (reference, tensor._version - reference._version)
