"""Do the two bottlenecks of 004 point at the same places? Writes docs/results/bottlenecks-agree/agreement.csv.

    python examples/bottlenecks_agree.py            # needs MNIST in $HEATPROOF_DATA; some minutes on one core

On 001's MNIST network: the readout, trained on other images, against the per-sample bottleneck at the same layer, by
the rank correlation of their maps of the same image, of different images, and of different images of the same digit.
The intervals are 95 % intervals over images. The training rate is not 004's: it takes 1e-5 for 10 epochs of
ImageNet, 800,000 updates; here there are 5,000, at 1e-3.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

import heatproof as hp
from heatproof.auditing.fits import Lessons
from heatproof.data import TorchvisionDataset
from heatproof.fingerprint import model_fingerprint
from heatproof.methods import PerSampleBottleneck, ReadoutBottleneck
from heatproof.reading.intervals import of_means

OUT = Path(__file__).parent.parent / "docs" / "results" / "bottlenecks-agree"
LAYER, READOUTS = "features.4", ("features.1", "features.4", "features", "classifier")


def main(
    images: Annotated[int, typer.Option(help="Test images that are explained.")] = 128,
    training: Annotated[int, typer.Option(help="Training images that the readout is trained on.")] = 4000,
    epochs: int = 10,
    rate: float = 1e-3,
    out: Path = OUT,
) -> None:
    """Fit both, explain, correlate, write."""
    torch.set_num_threads(1)
    model = hp.zoo.mnist_cnn()
    data = TorchvisionDataset(limit=images, shuffle=0).load()
    lessons = Lessons(
        fingerprint=model_fingerprint(model),
        data=TorchvisionDataset(train=True, limit=training, shuffle=0).load(),
        like=data.inputs,
    )
    sample = PerSampleBottleneck(layer=LAYER)
    readout = ReadoutBottleneck(layer=LAYER, readouts=READOUTS, epochs=epochs, rate=rate)
    maps = {}
    for name, recipe in (("per-sample", sample), ("readout", readout)):
        print(f"fitting {name} …", flush=True)
        method = type(recipe)(**{**vars(recipe), "fitted": lessons.fit(recipe, model)})
        print(f"explaining by {name} …", flush=True)
        parts = [
            method.explain(model, x, y) for x, y in zip(data.inputs.split(32), data.targets.split(32), strict=True)
        ]
        maps[name] = torch.cat([part.maps[:, 0] for part in parts])
        for diagnostic in ("bits", "probability-before", "probability-after"):
            print(f"  {diagnostic}: {torch.cat([p.diagnostics[diagnostic] for p in parts]).mean():.4g}")
    table = figures(maps["readout"], maps["per-sample"], data.targets)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "agreement.csv", index=False)
    print(table.to_string(index=False))


def figures(readout: torch.Tensor, sample: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """Mean rank correlations with 95 % intervals over the readout's images."""
    spearman = hp.similarity.get("spearman")
    shifted = [spearman(readout, sample.roll(-step, 0)).numpy() for step in range(len(readout))]
    own = np.array([[shifted[(j - i) % len(labels)][i] for j in range(len(labels))] for i in range(len(labels))])
    other = ~np.eye(len(labels), dtype=bool)
    alike = (labels[:, None] == labels[None]).numpy() & other
    means = {
        "same image": np.diag(own),
        "different images": _mean_where(other, own),
        "different images of the same digit": _mean_where(alike, own),
    }
    means["same image − different images"] = means["same image"] - means["different images"]
    means["same image − same digit"] = means["same image"] - means["different images of the same digit"]
    rows = []
    for what, values in means.items():
        (low,), (high,) = of_means(values[None, :, None])
        known = values[np.isfinite(values)]
        mean, low, high = (round(float(value), 4) for value in (known.mean(), low, high))
        entry = {"spearman of readout and per-sample": what, "mean": mean, "low": low, "high": high}
        rows.append({**entry, "images": len(known)})
    return pd.DataFrame(rows)


def _mean_where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean of each row's values under the mask; NaN where there is none."""
    counts = mask.sum(1)
    return np.where(counts > 0, (mask * values).sum(1) / counts.clip(min=1), np.nan)


if __name__ == "__main__":
    typer.run(main)
