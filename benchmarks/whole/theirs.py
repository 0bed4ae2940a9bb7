"""What a competent user of Captum, Zennit, SciPy, scikit-image and Quantus writes for the same question.

A loop of one's own over randomized copies, each library's methods on each of them, similarities image by image,
Quantus's RegionPerturbation, RelevanceRankAccuracy and PointingGame a method, and a batched function for
Sensitivity-n, called once a method as metrics of such libraries are. An `expert` evaluates its masks once for all.
"""

import copy
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from whole.jobs import Asked, Job

Array = np.ndarray[Any, Any]
Row = tuple[str, str, str, int, str, float]


def peers(asked: Asked, *, share: bool = False) -> pd.DataFrame:
    """All rows, written to a file; `share` evaluates Sensitivity-n's masks once for all methods."""
    with warnings.catch_warnings(action="ignore"):  # each call of theirs says which hooks it sets
        return _script(asked, share=share)


def _script(asked: Asked, *, share: bool) -> pd.DataFrame:
    job, rows = asked.job, list[Row]()
    model = _split_relus(asked.model) if job.has_blocks else asked.model
    first = {name: pooled(explain()) for name, explain in explainers(asked, model).items()}
    rows += _randomization(asked, model, first)
    masks = Masks(asked, model)
    losses = masks.losses() if share else None
    for name, maps in first.items():
        for n, i, value in masks.scores(maps, losses if losses is not None else masks.losses()):
            rows.append(("sensitivity-n", name, str(n), i, "correlation", value))
    rows += _by_quantus(asked, model, first)
    frame = pd.DataFrame(rows, columns=["check", "method", "setting", "sample", "metric", "value"])
    with tempfile.TemporaryDirectory() as folder:
        frame.to_parquet(Path(folder, "rows.parquet"))
    return frame


def expert(asked: Asked) -> pd.DataFrame:
    """The same by who knows that no method influences Sensitivity-n's masked outputs."""
    return peers(asked, share=True)


def pooled(maps: Tensor) -> Array:
    return maps.detach().sum(1).numpy().astype(np.float32)


def explainers(asked: Asked, model: nn.Module) -> Mapping[str, Callable[[], Tensor]]:
    """Twelve functions that give attributions, as the libraries' documentation has them."""
    import captum.attr as ca
    from zennit import composites
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.torchvision import ResNetCanonizer

    job, x, y = asked.job, asked.images, asked.labels
    outputs, module, size = _outputs(model), model.get_submodule(job.layer), tuple(x.shape[2:])
    sigma = 0.15 * float(x.max() - x.min())
    together = max(1, job.chunk // len(x))
    window = (x.shape[1], job.window, job.window)

    def leaf() -> Tensor:
        return x.clone().requires_grad_()

    def lrp(name: str, **fields: float) -> Callable[[], Tensor]:
        def explain() -> Tensor:
            canonizer = ResNetCanonizer() if job.has_blocks else SequentialMergeBatchNorm()
            composite = getattr(composites, name)(canonizers=[canonizer], **fields)
            with Gradient(model=model, composite=composite) as attributor:
                return attributor(x.clone(), torch.eye(outputs)[y])[1]

        return explain

    def cam() -> Tensor:
        maps = ca.LayerGradCam(model, module).attribute(leaf(), target=y, relu_attributions=True)
        return ca.LayerAttribution.interpolate(maps, size, "bilinear")

    return {
        "gradient": lambda: ca.Saliency(model).attribute(leaf(), target=y, abs=False),
        "saliency": lambda: ca.Saliency(model).attribute(leaf(), target=y),
        "gradient-x-input": lambda: ca.InputXGradient(model).attribute(leaf(), target=y),
        "integrated-gradients": lambda: ca.IntegratedGradients(model).attribute(
            leaf(), target=y, n_steps=job.steps, internal_batch_size=job.chunk
        ),
        "smoothgrad": lambda: ca.NoiseTunnel(ca.Saliency(model)).attribute(
            leaf(), nt_type="smoothgrad", nt_samples=job.steps, nt_samples_batch_size=together, stdevs=sigma,
            target=y, abs=False,
        ),
        "guided-backprop": lambda: ca.GuidedBackprop(model).attribute(leaf(), target=y),
        "grad-cam": cam,
        "guided-grad-cam": lambda: ca.GuidedGradCam(model, module).attribute(
            leaf(), target=y, interpolate_mode="bilinear"
        ),
        "deeplift": lambda: ca.DeepLift(model).attribute(leaf(), target=y),
        "lrp-epsilon-plus": lrp("EpsilonPlus"),
        "lrp-epsilon-gamma-box": lrp("EpsilonGammaBox", low=-3.0, high=3.0),
        "occlusion": lambda: ca.Occlusion(model).attribute(
            x, target=y, sliding_window_shapes=window, strides=window, perturbations_per_eval=job.together
        ),
    }  # fmt: skip


def _outputs(model: nn.Module) -> int:
    return [module for module in model.modules() if isinstance(module, nn.Linear)][-1].out_features


def _split_relus(model: nn.Module) -> nn.Module:
    """A copy with a ReLU module a call, and none in place: Captum's DeepLift and GuidedBackprop need it."""
    from torchvision.models.resnet import BasicBlock

    class Block(BasicBlock):
        def forward(self, x: Tensor) -> Tensor:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu2(out + (x if self.downsample is None else self.downsample(x)))

    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
        if type(module) is BasicBlock:
            module.__class__ = Block
            module.relu2 = nn.ReLU()
    return twin


def _randomization(asked: Asked, model: nn.Module, first: Mapping[str, Array]) -> list[Row]:
    rows, caches = list[Row](), {name: dict[int, Array]() for name in first}
    stages = asked.job.stages
    for k, stage in enumerate(stages):
        random = copy.deepcopy(model)
        everything = [name for name, _ in random.named_children()]
        for name in everything if k == len(stages) - 1 else stages[: k + 1]:
            for module in random.get_submodule(name).modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        for name, explain in explainers(asked, random).items():
            for i, values in enumerate(_similarities(first[name], pooled(explain()), asked.job.cell, caches[name])):
                rows += [("randomization", name, stage, i, metric, value) for metric, value in values.items()]
    return rows


def _similarities(trained: Array, random: Array, cell: int, cache: dict[int, Array]) -> list[dict[str, float]]:
    """Image by image, as SciPy and scikit-image are used; the trained maps' descriptors are kept."""
    from scipy.stats import spearmanr
    from skimage.feature import hog
    from skimage.metrics import structural_similarity

    rows = []
    for i, (one, other) in enumerate(zip(trained, random, strict=True)):
        ours, theirs = (values / max(np.abs(values).max(), 1e-30) for values in (one, other))
        if i not in cache:
            cache[i] = hog(ours, pixels_per_cell=(cell, cell))
        rows.append(
            {
                "spearman": spearmanr(one.ravel(), other.ravel())[0],
                "spearman-absolute": spearmanr(np.abs(one).ravel(), np.abs(other).ravel())[0],
                "ssim": structural_similarity(ours, theirs, win_size=5, data_range=2.0),
                "hog": np.corrcoef(cache[i], hog(theirs, pixels_per_cell=(cell, cell)))[0, 1],
            }
        )
    return rows


class Masks:
    """Sensitivity-n: outputs of the batch with random sets removed, and the correlations for one method's maps."""

    def __init__(self, asked: Asked, model: nn.Module) -> None:
        self.model, self.x, self.y, self.job = model, asked.images, asked.labels, asked.job
        self.side = self.x.shape[2] // self.job.set_tile
        draws, self.sets = np.random.default_rng(0), dict[int, list[Array]]()
        for n in sizes_of(self.job, self.side**2):
            self.sets[n] = [draws.choice(self.side**2, n, replace=False) for _ in range(self.job.sets)]

    def losses(self) -> dict[int, Array]:
        """How much is lost by each set (N, sets), by size: one set for the whole batch of images at a time."""
        found, tile = {}, self.job.set_tile
        with torch.no_grad():
            whole = self.model(self.x).gather(1, self.y[:, None])[:, 0]
            for n, sets in self.sets.items():
                lost = []
                for chosen in sets:
                    mask = torch.ones(self.side**2)
                    mask[chosen] = 0
                    mask = mask.view(1, 1, self.side, self.side)
                    mask = mask.repeat_interleave(tile, 2).repeat_interleave(tile, 3) if tile > 1 else mask
                    lost.append(whole - self.model(self.x * mask).gather(1, self.y[:, None])[:, 0])
                found[n] = torch.stack(lost, 1).numpy()
        return found

    def scores(self, maps: Array, losses: Mapping[int, Array]) -> list[tuple[int, int, float]]:
        tile = self.job.set_tile
        values = maps.reshape(len(maps), self.side, tile, self.side, tile).sum((2, 4)).reshape(len(maps), -1)
        rows = []
        for n, sets in self.sets.items():
            sums = np.stack([values[:, chosen].sum(1) for chosen in sets], 1)
            rows += [(n, i, float(np.corrcoef(sums[i], losses[n][i])[0, 1])) for i in range(len(maps))]
        return rows


def sizes_of(job: Job, features: int) -> list[int]:
    """Sizes of sets, equally far apart in the logarithm, up to 80 % of the features."""
    most = int(0.8 * features)
    return sorted({round(most ** (k / max(1, job.sizes - 1))) for k in range(job.sizes)})


def _by_quantus(asked: Asked, model: nn.Module, first: Mapping[str, Array]) -> list[Row]:
    import quantus

    job, x, y = asked.job, asked.images.numpy(), asked.labels.numpy()
    inside = np.zeros((len(x), 1, *x.shape[2:]), bool)
    for i, ((left, top, right, bottom),) in enumerate(asked.boxes):
        inside[i, 0, int(top) : int(bottom), int(left) : int(right)] = True
    steps = job.degradations or math.prod(x.shape[2:]) // job.tile**2
    plain = {"normalise": False, "disable_warnings": True}
    rows = list[Row]()
    for name, pooled_maps in first.items():
        given = {"model": model, "x_batch": x, "y_batch": y, "a_batch": pooled_maps[:, None], "device": "cpu"}
        for order in ("morf", "lerf"):
            metric = quantus.RegionPerturbation(patch_size=job.tile, order=order, regions_evaluation=steps, **plain)
            curves = metric(**given, softmax=True, batch_size=len(x))
            for i, curve in enumerate(curves):
                rows += [("degradation", name, order, i, str(k), float(value)) for k, value in enumerate(curve)]
        for kind in (quantus.RelevanceRankAccuracy, quantus.PointingGame):
            found = kind(**plain)(**given, s_batch=inside, batch_size=len(x))
            rows += [("bounding-box", name, "", i, kind.__name__, float(value)) for i, value in enumerate(found)]
    return rows
