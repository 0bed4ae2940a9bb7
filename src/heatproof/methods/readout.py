"""The readout bottleneck: a small network, trained once, that predicts any sample's mask (Schulz et al. 2020, 3.3)."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from heatproof import draws
from heatproof.errors import InputError
from heatproof.methods.above import Above, spread_copies
from heatproof.methods.base import METHODS, Explanation, scores
from heatproof.methods.fitted import Batch, CheckedBatches, FittedMethod, following, peeked
from heatproof.methods.known_layers import found_readouts, readout_layers_of
from heatproof.methods.readout_network import WEIGHTS, collected, predicted
from heatproof.methods.readout_training import Progress, Trainer
from heatproof.methods.restriction import Mask, Noise, check_settings, enlarged, pixels_of, statistics_of
from heatproof.methods.split import Split
from heatproof.models import check_model, check_targets
from heatproof.outputs import for_softmax
from heatproof.state import unchanged


@METHODS.register("iba-readout")
@dataclass(frozen=True, kw_only=True)
class ReadoutBottleneck(FittedMethod):
    """The bits of each place that a bottleneck lets through whose mask is predicted, not searched for.

    As the per-sample bottleneck, Z = λR + (1−λ)ε at a layer, λ = blur(sigmoid(α)); but α comes from feature maps of
    several depths, resized bilinearly to the layer's and joined, by three 1×1 convolutions with ReLU between them.
    These are trained on data with labels, once, to minimize cross-entropy + β · L_I / k. The map does not depend on the
    label: it shows what the network needs to tell labels apart.

    Maps (N, 1, H, W) as those of PerSampleBottleneck: non-negative bits per input pixel that sum to L_I. Diagnostics:
    `bits` L_I, `information` L_I / k in nats, `probability-before` and `probability-after` the bottleneck of the label,
    `top-1-after` and `top-5-after`, the last three means over `samples` draws of ε.

    Cost: one forward pass, and `samples` forward passes of the part above the layer for `probability-after`. Training:
    one pass for the statistics, then each epoch a forward pass of the network and a forward and backward pass of the
    part above the layer; at last a forward pass of both for `floor`.

    Args:
        layer: of the bottleneck. None takes Schulz et al.'s for torchvision's ResNet (conv2_3) and VGG (conv3_1); in
            another network the deepest that is no coarser than a quarter of the image, found in training.
        readouts: names of layers whose outputs (N, C, h, w) or (N, C) are read. Empty takes Schulz et al.'s for these
            networks; in another the deepest map of each size from the layer on, and the outputs, see
            `heatproof.methods.known_layers.found_readouts`.
        beta: β, in units of 1/k.
        epochs, rate: of Adam. The batch is the loader's; Schulz et al. take 16.
        smoothing, min_std, active, noise: as in PerSampleBottleneck.
        start: the bias of the last convolution, whose weights start at 1e-3 of their usual size: λ = 0.993 at first.
        samples: draws of ε for `probability-after`; training takes one a sample and epoch.
        floor: of the probability that the network gives the labels of the training data beyond guessing, the share
            that they must keep behind the trained bottleneck. With less training has failed: the bottleneck let through
            nothing that counts, and its map is of nothing. 0 takes any. A network that does no better than guessing
            has nothing to lose, and is not judged.
        seed: of the first weights and of ε.

    Raises: InputError without training, for a network that it was not trained on, or a layer without feature maps;
        TrainingError where less than `floor` is left after training.

    Source: Schulz et al. 2020, §3.3, Table 3, where §4.1 says 20 epochs; widths in/2 and 2·out between the
    convolutions and first weights from the authors' code. Deviation: that code clamps α to [−5, 5], the paper does not.

    >>> recipe = hp.methods.ReadoutBottleneck(layer="0", readouts=("0",), epochs=1, floor=0.0)
    >>> recipe.fit(net, [(images, labels)])(net, images, labels).shape
    torch.Size([4, 1, 8, 8])
    """

    layer: str | None = None
    readouts: tuple[str, ...] = ()
    beta: float = 10.0
    epochs: int = 10
    rate: float = 1e-5
    smoothing: float = 1.0
    start: float = 5.0
    min_std: float = 0.01
    active: float = 0.01
    noise: Noise = "paper"
    samples: int = 10
    floor: float = 0.1
    seed: int = 0
    version: ClassVar[int] = 2
    reads_labels: ClassVar[bool] = True
    on_changed_model: ClassVar[Literal["refit", "reuse", "exclude"]] = "reuse"
    on_changed_because: ClassVar[str] = "it is trained once, on the trained network, as in 004"
    fit_batch: ClassVar[int] = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "readouts", tuple(self.readouts))  # a specification file gives lists
        check_settings(self, whole=("epochs", "samples"))
        if not 0 <= self.floor <= 1:
            raise InputError(f"Expected floor to be a share within 0 and 1, but got {self.floor}.")

    def cost(self, outputs: int, shape: Sequence[int]) -> float:
        return float(1 + self.samples)

    def train(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        *,
        checkpoint: str | Path | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Self:
        """This recipe, trained on batches (inputs (N, …), labels (N,)), read `fit_reads` times.

        `fit` does the same without its options. `checkpoint` is a file that holds the state after each epoch; where it
        is there, training goes on from it, to the same bits if the batches come in the same order. `progress` hears of
        every update.

        Raises: InputError for batches that can be read only once or have no labels, or for a checkpoint of another
        training.
        """
        check_model(model)
        path = None if checkpoint is None else Path(checkpoint)
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        own = following(model)
        with unchanged(model, device):
            tensors, facts = self._trained(own, CheckedBatches(own, batches), path, progress)
        return replace(self, fitted=self._sealed(model, tensors, facts))

    @property
    def fit_reads(self) -> int:
        return 1 + self.epochs + (self.floor > 0)

    @property
    def fit_cost(self) -> float:
        return 1 / 3 + self.epochs * 4 / 3 + 2 / 3 * (self.floor > 0)

    def _fit(
        self, model: nn.Module, batches: Iterable[Batch], checkpoint: Path | None
    ) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        return self._trained(model, batches, checkpoint, None)

    def _trained(
        self,
        model: nn.Module,
        batches: Iterable[Batch],
        checkpoint: Path | None,
        progress: Callable[[Progress], None] | None,
    ) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        layer, readouts = readout_layers_of(self.layer, self.readouts, model)
        if layer is None or not readouts:
            layer, found = found_readouts(model, peeked(batches)[0], layer)
            readouts = readouts or found
        places = _places(layer, readouts)
        about = {**self._wanted(model), **places, "seed": str(self.seed)}
        del about["floor"]  # it decides nothing of training, so a checkpoint may be judged by another one
        trainer = Trainer(
            model=model,
            split=Split(model, layer),
            readouts=readouts,
            recipe=self,
            about=about,
            progress=progress,
        )
        tensors, facts = trainer.run(batches, checkpoint)
        return tensors, {**facts, **places}

    def _fit_facts(self, model: nn.Module) -> Mapping[str, str]:
        names = ("beta", "epochs", "rate", "smoothing", "start", "min_std", "active", "floor")
        numbers = {name: str(float(getattr(self, name))) for name in names}  # 10 and 10.0 are one recipe
        places = _places(*readout_layers_of(self.layer, self.readouts, model))
        return {**places, "noise": self.noise, **numbers}

    def _explain(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Explanation:
        fitted = self._fitted_for(model)
        layer, readouts = fitted.facts["layer"], json.loads(fitted.facts["readouts"])
        split, marks, parts = Split(model, layer), draws.marks(inputs), []
        for block, copies in spread_copies(inputs, self.samples):
            rows = torch.arange(block.start, block.stop, device=inputs.device)
            x, y = inputs[block], targets[block]
            logits, signal, features = collected(model, layer, readouts, x, rows)
            check_targets(x, y, logits.shape[1])
            mask = Mask(signal, statistics_of(fitted, signal, self.min_std, self.active), self.smoothing, self.noise)
            weights = [fitted.on(name, signal) for name in WEIGHTS]
            alpha = predicted(weights, features, signal)
            center, spread, _ = mask(alpha)
            split.below(x, rows)
            above = Above(split, x, rows, y, marks[block], copies, self.seed)
            behind = above.behind(center, spread, 0)
            nats = mask.double()(alpha.double()).nats
            bits = nats.sum(1, keepdim=True) / math.log(2)
            values = {
                "bits": bits.flatten(1).sum(1).to(alpha.dtype),
                "information": nats.flatten(1).mean(1).to(alpha.dtype),
                "probability-before": scores(for_softmax(model, logits).softmax(1), y),
                **behind,
            }
            parts.append((enlarged(bits, *pixels_of(model, inputs)).to(alpha.dtype), values))
        maps, diagnostics = zip(*parts, strict=True)
        joined = {name: torch.cat([part[name] for part in diagnostics]) for name in diagnostics[0]}
        return Explanation(torch.cat(maps), joined)


def _places(layer: str | None, readouts: tuple[str, ...]) -> dict[str, str]:
    """The facts about where a readout stands, as far as they are known."""
    facts = {} if layer is None else {"layer": layer}
    return facts | ({"readouts": json.dumps(readouts)} if readouts else {})
