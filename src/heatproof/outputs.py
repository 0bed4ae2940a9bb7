"""What the outputs of a network are: labels, a logit, several, or plain numbers; and so what a probability is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from heatproof.errors import InputError, unknown
from heatproof.models import Bound

KindName = Literal["labels", "logit", "multi-label", "scalars", "score"]
# What a user may say; "score" is what nobody said anything of.
SAID: tuple[KindName, ...] = tuple(name for name in get_args(KindName) if name != "score")


@dataclass(frozen=True)
class Outputs:
    """What the outputs (N, C) of a network are.

    `labels`: C scores of which one label is right, probabilities by softmax. `logit`: one score s of label 1 against
    label 0, explained from both sides (`TwoSided`), probability 1/(1 + e^−s). `multi-label`: C scores of labels that
    do not exclude one another, a sigmoid each. `scalars`: numbers in `unit`, no probability. `score`: one output that
    nobody has said anything of, so nothing is claimed of it.
    """

    kind: KindName = "labels"
    unit: str = ""

    @property
    def probability(self) -> Callable[[Tensor], Tensor] | None:
        """Outputs (M, C) to probabilities (M, C), float64; None where there are none."""
        if self.kind == "labels":
            return _softmax
        return _sigmoid if self.kind in ("logit", "multi-label") else None

    @property
    def exclusive(self) -> bool:
        """Whether one label is right, which the largest output predicts."""
        return self.kind in ("labels", "logit")

    def describe(self) -> dict[str, str]:
        """The fields as plain data."""
        return {"kind": self.kind, "unit": self.unit}


LABELS = Outputs()


def outputs_of(said: str | Outputs | None, count: int, *, two_sided: bool = False) -> Outputs:
    """What the `count` outputs of a network are, by what its user says: several are labels unless they are told apart.

    Those of a `two_sided` network are its logit, from both sides.

    Raises: InputError for a kind that does not exist, or does not fit the number.
    """
    if two_sided:
        count, said = 1, said or "logit"
    if said is None:
        return Outputs("labels" if count > 1 else "score")
    found = said if isinstance(said, Outputs) else Outputs(kind_of(said))
    if two_sided and found.kind != "logit":
        raise InputError(f"Expected outputs='logit' of a TwoSided network, but got {found.kind!r}.")
    if found.kind == "labels" and count == 1:
        raise InputError(
            "Expected at least 2 outputs where each is a label's, but the model has 1; say outputs='logit' where it is "
            "the logit of label 1 against label 0, outputs='scalars' where it is a number."
        )
    if found.kind == "logit" and count != 1:
        raise InputError(
            f"Expected one output where outputs='logit', but the model has {count}; say 'labels' where one of them is "
            "right, 'multi-label' where they do not exclude one another."
        )
    return found


def kind_of(said: str) -> KindName:
    """The kind of outputs that somebody names. Raises: UnknownNameError for one that does not exist."""
    for kind in SAID:
        if kind == said:
            return kind
    raise unknown("kind of outputs", str(said), SAID)


class TwoSided(Bound):
    """A network with one output s as one with two labels, (−s, s): label 1 is the logit, label 0 its complement.

    So both labels can be explained, and the attributions of label 0 are those of −s. The probability of either is the
    sigmoid of its own output; the softmax of both would be that of 2s. Everything else is as in the network or Bound
    that it is made of.
    """

    def __init__(self, model: nn.Module) -> None:
        if isinstance(model, Bound):
            nn.Module.__init__(self)  # its arguments were held to the network's signature already
            self.net = model.net
            vars(self).update({name: value for name, value in vars(model).items() if name != "_modules"})
        else:
            super().__init__(model)

    def forward(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """(M, 2): the complement, and the logit."""
        s = super().forward(x, rows)
        s = s[:, None] if s.dim() == 1 else s
        if s.dim() != 2 or s.shape[1] != 1:
            raise InputError(f"Expected a network with one output to have two sides, but it gives {tuple(s.shape)}.")
        return torch.cat([-s, s], 1)


def for_softmax(model: nn.Module, outputs: Tensor) -> Tensor:
    """Outputs (M, C) whose softmax is the labels' probabilities: the two sides of a logit are halved.

    Raises: InputError for one output, whose softmax is 1 whatever it is.
    """
    if outputs.shape[1] < 2:
        raise InputError(
            "Expected a network with at least 2 outputs, as the label's softmax probability is wanted, but it has 1; "
            "give it one output a label, or explain heatproof.outputs.TwoSided(model) where it is a logit."
        )
    return outputs / 2 if isinstance(model, TwoSided) else outputs


def _softmax(outputs: Tensor) -> Tensor:
    return outputs.double().softmax(1)


def _sigmoid(outputs: Tensor) -> Tensor:
    return outputs.double().sigmoid()


def read(function: Callable[[Tensor], Tensor] | None, outputs: Tensor, targets: Tensor) -> Tensor:
    """What `function` makes of the outputs, for the targets (M,), float64; the outputs themselves for None."""
    values: Any = outputs.double() if function is None else function(outputs)
    return values.gather(1, targets[:, None])[:, 0]  # type: ignore[no-any-return]  # tensors
