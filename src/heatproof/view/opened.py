"""A sample that meets the network: what is explained of it, and what the network makes of it, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heatproof.data import Dataset
from heatproof.data.binding import met
from heatproof.door import plain_outputs
from heatproof.models import check_inputs, select
from heatproof.outputs import Outputs, TwoSided, outputs_of
from heatproof.report import texts
from heatproof.targets import Label
from heatproof.view.drawn import picture_of
from heatproof.view.subject import Subject

NAMED = 10  # labels that the network thinks of most


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A sample.

    Attributes:
        id: what a page calls it.
        data: the one sample.
        model: the network of it, with its side inputs.
        inputs: the tensor (1, …) that is explained.
        outputs: (1, C), of the trained network.
        label: what is explained by default.
        meaning: of the outputs.
        fixed: what is explained, where that is no label to choose; else empty.
        classes: the labels' names.
    """

    id: str
    data: Dataset
    model: nn.Module
    inputs: Tensor
    outputs: Tensor
    label: int
    meaning: Outputs
    fixed: str = ""
    classes: Sequence[str] | None = None

    def describe(self) -> dict[str, Any]:
        """What the page shows of it."""
        best = self.outputs[0].argsort(descending=True).tolist()[:NAMED]
        words = self.data.tokens[0] if self.data.tokens else ()
        labels = sorted({*best, self.label}, key=lambda label: -float(self.outputs[0, label]))
        return {
            "sample": self.id,
            "name": self.data.ids[0],
            "picture": picture_of(self.data),
            "text": str(texts.colored(words, np.zeros(len(words), np.float32), signed=False)) if words else "",
            "labels": [[label, f"{self.name(label)}, {self.share(self.outputs, label)}"] for label in labels],
            "label": self.label,
            "fixed": self.fixed,
        }

    def name(self, label: int) -> str:
        """A label by its name; one output is none."""
        if self.outputs.shape[1] == 1:
            return "the one output"
        named = self.classes is not None and label < len(self.classes)
        return str(self.classes[label]) if self.classes is not None and named else f"label {label}"

    def share(self, outputs: Tensor, label: int) -> str:
        """A label's probability, where there is one; else its score."""
        probability = self.meaning.probability
        if probability is None or outputs.shape[1] == 1:
            return f"{float(outputs[0, label]):.4g} {self.meaning.unit}".strip()
        share = float(probability(outputs)[0, label])
        return "below 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"

    def said(self, outputs: Tensor, label: int) -> str:
        """What the network makes of the sample, in a sentence."""
        if self.fixed:
            return f"{self.fixed}: {self.share(outputs, label)}"
        if outputs.shape[1] == 1:
            return f"The network’s output: {self.share(outputs, 0)}"
        best = int(outputs.argmax())
        said = f"The network says {self.name(best)}, {self.share(outputs, best)}"
        return said if best == label else f"{said}; of {self.name(label)}, {self.share(outputs, label)}"


def opened(id_: str, data: Dataset, model: nn.Module, subject: Subject) -> Opened:
    """The sample with the model of it. One output that is a logit is explained from both sides, as in an audit.

    Raises: InputError for what the network does not take.
    """
    bound, inputs = met(model, data)
    check_inputs(bound, inputs)
    target, classes = subject.target, subject.classes
    if not isinstance(target, Label):
        aim = target.aim(bound, inputs, data.targets if data.labelled else None)
        bound, inputs = aim.of(inputs)
        if aim.rows is not None:  # of a sample that is explained several times, the first
            bound, inputs = select(bound, torch.tensor([0])), inputs[:1]
        outputs = answer(bound, inputs)
        return Opened(
            id=id_, data=data, model=bound, inputs=inputs, outputs=outputs, label=int(aim.labels[0]), classes=classes,
            meaning=aim.outputs or outputs_of(subject.outputs, outputs.shape[1]), fixed=target.name,
        )  # fmt: skip
    outputs = answer(bound, inputs)
    meaning = outputs_of(subject.outputs, outputs.shape[1], two_sided=isinstance(bound, TwoSided))
    if meaning.kind == "logit" and not isinstance(bound, TwoSided):
        return opened(id_, data, TwoSided(model), subject)
    known = target == Label("given") and data.labelled and int(data.targets[0]) < outputs.shape[1]
    label = int(data.targets[0]) if known else int(outputs.argmax())
    return Opened(
        id=id_, data=data, model=bound, inputs=inputs, outputs=outputs, label=label, meaning=meaning, classes=classes
    )


def answer(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs (1, C) as the network is now."""
    with torch.no_grad():
        return plain_outputs(model, inputs)
