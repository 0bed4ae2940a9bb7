"""One call of `heatproof.audit`: rows on disk, with what they came from."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from unittest.mock import patch

import pandas as pd

import heatproof as hp
from heatproof.checks import BoundingBox, Degradation, ParameterRandomization, SensitivityN
from heatproof.methods import IntegratedGradients, Occlusion, SmoothGrad
from heatproof.randomization import Cascading
from heatproof.similarity import HOG
from whole.jobs import METHODS, Asked


def ours(asked: Asked, fast: Sequence[str] = ()) -> pd.DataFrame:
    """The audit's rows. It asks for more than the others: another random network as a floor, and another noise."""
    job = asked.job
    changed = {
        "integrated-gradients": IntegratedGradients(steps=job.steps),
        "smoothgrad": SmoothGrad(samples=job.steps),
        "occlusion": Occlusion(window=job.window, stride=job.window),
    }
    blocks = ("layer1", "layer2", "layer3", "layer4") if job.has_blocks else ()
    checks = {
        "parameter-randomization": ParameterRandomization(
            randomization=Cascading(blocks=blocks, only=job.stages),
            similarities=("spearman", "spearman-absolute", "ssim", HOG(cell=job.cell)),
            complete_seeds=1,
        ),
        "sensitivity-n": SensitivityN(sets=job.sets, sizes=job.sizes, tile=job.set_tile),
        "degradation": Degradation(tile=job.tile, steps=job.degradations),
        "bounding-box": BoundingBox(),
    }
    with tempfile.TemporaryDirectory() as folder:
        run = hp.audit(
            asked.model, asked.images, asked.labels, boxes=asked.boxes, checks=checks, out=folder, progress=False,
            methods={name: changed.get(name, name) for name in METHODS}, threads=1, fast=fast,
        )  # fmt: skip
        if run.manifest["failures"]:
            raise SystemExit(f"Expected an audit without failures, but: {run.manifest['failures'][0]}")
        return run.rows()


def without_sharing(asked: Asked) -> pd.DataFrame:
    """The same, each method computed by itself."""
    with patch("heatproof.sharing.shared", lambda *_: nullcontext()):
        return ours(asked)
