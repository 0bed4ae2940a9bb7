"""Maps of the demo's network, one picture a method: samples, their maps, and those of a network with random weights."""

from pathlib import Path

import matplotlib as mpl
import torch

import heatproof as hp
from heatproof.methods.base import METHODS

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(folder: Path, count: int) -> None:
    """A PNG for each registered method that applies to the demo's network; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in METHODS.names() if not (folder / f"{name}.png").exists()]
    if not wanted:
        return
    model, test = hp.zoo.demo()
    inputs, targets = test.inputs[:count], test.targets[:count]
    for name in wanted:
        method = METHODS.get(name)
        if hasattr(method, "fit"):
            batches = [(test.inputs[count:], test.targets[count:])]
            method = method.fit(model, batches)
        trained = method(model, inputs, targets).detach()
        everything = list(hp.randomization.Cascading(seed=0).stages(model, inputs[:1]))[-1]
        with everything:
            again = method if not hasattr(method, "fit") else METHODS.get(name).fit(model, batches)
            random = again(model, inputs, targets).detach()
        _picture(folder / f"{name}.png", inputs, trained, random)


def _picture(path: Path, inputs: torch.Tensor, *maps: torch.Tensor) -> None:
    figure, axes = plt.subplots(len(inputs), 1 + len(maps), figsize=(1.3 * (1 + len(maps)), 1.3 * len(inputs)))
    for row, axis in enumerate(axes):
        axis[0].imshow(inputs[row].mean(0), cmap="gray")
        for column, batch in enumerate(maps, 1):
            values = batch[row].sum(0)
            most = float(values.abs().max()) or 1.0
            axis[column].imshow(values, cmap="RdBu_r", vmin=-most, vmax=most)
        for one in axis:
            one.set_axis_off()
    for axis, title in zip(axes[0], ("input", "trained", "random"), strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
