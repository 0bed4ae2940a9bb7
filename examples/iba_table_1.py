"""Is the information bottleneck more faithful than its rivals? Table 1 of Schulz et al. (2020) on SqueezeNet 1.0.

    python examples/iba_table_1.py RUNS [PART ...]

Needs HEATPROOF_DATA (images, boxes and the network's weights), and matplotlib for the pictures. Runs for about an hour
on one CPU core into the folder RUNS, resumes where it was stopped, and writes `docs/results/bottleneck/` from the rows.
The parts grid, others, slow and bottleneck (after the grid) may run in processes of their own; results writes what is
there so far. Without a name all run.

Nothing is chosen on the images that are judged. The bottleneck's layer comes from a grid of layers and β, scored by
degradation (their Appendix F), and its statistics from data; both on images of another set than the evaluated ones.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.auditing.manifest import About
from heatproof.auditing.spec import ModelSpec
from heatproof.checks import BottleneckLedger, BoundingBox, Check, Degradation
from heatproof.data import Dataset, ImageFolder
from heatproof.data.base import data_root
from heatproof.methods import (
    LRP,
    Fitted,
    FittedMethod,
    GradCAM,
    Gradient,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradients,
    Method,
    Occlusion,
    PatternAttribution,
    PerSampleBottleneck,
    Random,
    Saliency,
    SmoothGrad,
)
from heatproof.methods.base import Attribution
from heatproof.papers import Measured
from heatproof.papers.paper import positive
from heatproof.reading.intervals import of_means
from heatproof.runs import read_manifest, read_maps, read_rows

MODEL = ModelSpec(name="torchvision:squeezenet1_0", weights="$HEATPROOF_DATA/models/squeezenet1_0_imagenet.safetensors")
LAYERS = ("features.7", "features.8", "features.9", "features.10", "features.12")
BETAS = (1.0, 10.0, 100.0)
TILE, STEPS, LARGEST = 14, 10, 0.33
GRID, STATISTICS, PATTERNS = 16, 512, 128  # images
PARTS = ("grid", "others", "bottleneck", "slow", "results")
BAR = "\\|"  # inside a table of Markdown
OURS = "iba β=10/k"
BEATEN = ("random", "integrated gradients")  # what the claim is about
# Degradation by tiles of 14 and box ratio of VGG-16 in their Table 1.
THEIRS = {
    "random": (0.000, 0.167),
    "occlusion 8×8": (0.258, 0.312),
    "occlusion 14×14": (0.404, 0.358),
    "gradient": (0.005, 0.276),
    "saliency": (0.362, 0.393),
    "guided backprop": (0.493, 0.373),
    "pattern-attribution": (0.457, 0.404),
    "lrp α=1 β=0": (0.486, 0.397),
    "integrated gradients": (0.453, 0.396),
    "smoothgrad": (0.455, 0.399),
    "grad-cam": (0.517, 0.399),
    "guided grad-cam": (0.576, 0.419),
    "iba β=1/k": (0.583, 0.566),
    "iba β=10/k": (0.585, 0.593),
    "iba β=100/k": (0.545, 0.568),
}
MEASURES = {"degradation": ("degradation 14", "degradation"), "box ratio": ("boxes", "box-ratio")}
DOCS = Path(__file__).parent.parent / "docs" / "results" / "bottleneck"


@dataclass(frozen=True, kw_only=True)
class Magnitude:
    """The absolute value of each pixel's attribution, summed over channels first."""

    method: Method

    def __call__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return self.method(model, inputs, targets).sum(1, keepdim=True).abs()


def images(folder: str, index: str, *, boxes: str | None = None, offset: int = 0, limit: int | None = None) -> Dataset:
    """Normalized 224² center crops of a folder under HEATPROOF_DATA; those without boxes in a shuffled order."""
    return ImageFolder(
        root=str(data_root("") / folder),
        index=index,
        boxes=boxes,
        shuffle=None if boxes else 0,
        offset=offset,
        limit=limit,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ).load()


@cache
def network() -> nn.Module:
    """The network as it was trained; its passes take two thirds of the time with channels last."""
    return MODEL.load().to(memory_format=torch.channels_last)


@cache
def statistics() -> Dataset:
    """What the fitted methods learn from: images that are neither in the grid nor evaluated."""
    return images("imagenet-samples", "index.csv", offset=GRID, limit=STATISTICS)


def evaluated() -> Dataset:
    """The validation images whose boxes cover some of them, but less than LARGEST."""
    every = images("imagenet-val-boxes/images", "../boxes.csv", boxes="../boxes.csv")
    assert every.boxes is not None
    rows = torch.tensor([i for i, boxes in enumerate(every.boxes) if 0 < covered(boxes) < LARGEST])
    return Dataset(
        name="imagenet-val-boxes",
        inputs=every.inputs[rows],
        targets=every.targets[rows],
        ids=tuple(every.ids[i] for i in rows),
        classes=every.classes,
        boxes=tuple(every.boxes[i] for i in rows),
    )


def covered(boxes: tuple[tuple[float, float, float, float], ...]) -> float:
    """The share of the crop that the union of boxes covers."""
    at, inside = torch.arange(224), torch.zeros(224, 224, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        inside |= ((at >= top) & (at < bottom))[:, None] & ((at >= left) & (at < right))
    return float(inside.double().mean())


def fitted(recipe: FittedMethod, runs: Path, name: str, limit: int = STATISTICS) -> Fitted:
    """What a recipe learns from `statistics`, kept in a file."""
    path = runs / f"{name}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = recipe.fit(network(), statistics().inputs[:limit].split(8)).fitted
        assert value is not None
        value.save(path)
    return Fitted.load(path)


def bottleneck(layer: str, beta: float, runs: Path) -> PerSampleBottleneck:
    """The method at one layer, with the statistics of that layer."""
    recipe = PerSampleBottleneck(layer=layer, beta=beta)
    return replace(recipe, fitted=fitted(recipe, runs, layer))


def grid(runs: Path) -> None:
    """Each layer with each β on the grid's images."""
    data = images("imagenet-samples", "index.csv", limit=GRID)
    for beta in BETAS:
        methods = {layer: bottleneck(layer, beta, runs) for layer in LAYERS}
        audit(runs / f"grid {beta:g}", data, methods, {"degradation 14": Degradation(tile=TILE, steps=STEPS)})


def grid_scores(runs: Path) -> pd.DataFrame:
    """The mean degradation score of each layer and β on the grid's images, best first."""
    parts = []
    for beta in BETAS:
        rows = read_rows(runs / f"grid {beta:g}")
        scores = rows[rows["metric"] == "degradation"].groupby("method")["value"].agg(["mean", "sem"]).reset_index()
        parts.append(scores.set_axis(["layer", "degradation", "standard error"], axis=1).assign(beta=beta))
    return pd.concat(parts).sort_values("degradation", ascending=False, ignore_index=True)


def audit(out: Path, data: Dataset, methods: Mapping[str, Attribution], checks: Mapping[str, Check]) -> None:
    """The labels' maps of all methods through all checks, into the folder `out`."""
    about = About(model="SqueezeNet 1.0", data=data.name, title="SqueezeNet 1.0", classes=data.classes)
    hp.audit(
        network(),
        data.inputs,
        data.targets,
        methods=methods,
        checks=checks,
        out=out,
        ids=data.ids,
        boxes=data.boxes,
        about=about,
        threads=1,
        gallery=8,
    )


def checks() -> dict[str, Check]:
    """The two measures of the table."""
    return {"degradation 14": Degradation(tile=TILE, steps=STEPS), "boxes": BoundingBox(largest=LARGEST)}


def rivals(runs: Path) -> dict[str, Attribution]:
    """The other methods of the table, with its settings. (On this network LRP ε-plus is LRP α=1 β=0.)"""
    patterns = PatternAttribution(fitted=fitted(PatternAttribution(), runs, "patterns", PATTERNS))
    return {
        "random": Random(),
        "gradient": Gradient(),
        "saliency": Saliency(),
        "guided backprop": GuidedBackprop(),
        "pattern-attribution": patterns,
        "lrp α=1 β=0": LRP(composite="alpha1-beta0"),
        "integrated gradients": IntegratedGradients(steps=50),
        "grad-cam": GradCAM(),
        "guided grad-cam": GuidedGradCAM(),
    }


def slow_rivals() -> dict[str, Attribution]:
    """Those of the table that take most of the time, in an audit of their own."""
    return {
        "|integrated gradients|": Magnitude(method=IntegratedGradients(steps=50)),
        "|guided backprop|": Magnitude(method=GuidedBackprop()),
        "|guided grad-cam|": Magnitude(method=GuidedGradCAM()),
        "smoothgrad": SmoothGrad(Gradient(), samples=50),
        "smoothgrad of saliency": SmoothGrad(Saliency(), samples=50),
        "occlusion 14×14": Occlusion(window=14),
        "occlusion 8×8": Occlusion(window=8),
    }


def run(part: str, runs: Path) -> None:
    """One part of the work, or what is missing of it."""
    if part == "grid":
        grid(runs)
        return
    if part == "bottleneck":
        layer = str(grid_scores(runs)["layer"][0])
        methods: dict[str, Attribution] = {f"iba β={beta:g}/k": bottleneck(layer, beta, runs) for beta in BETAS}
    else:
        methods = rivals(runs) if part == "others" else slow_rivals()
    ledger = {"ledger": BottleneckLedger()} if part == "bottleneck" else {}
    audit(runs / part, evaluated(), methods, {**checks(), **ledger})


def values(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each measure its values, samples × methods; NaN where a map ranks nothing."""
    found = {}
    for measure, (check, metric) in MEASURES.items():
        ours = rows[(rows["check"] == check) & (rows["metric"] == metric) & (rows["setting"] == "")]
        found[measure] = ours[ours["method"] != ""].pivot(index="sample", columns="method", values="value")
    return found


def interval(numbers: pd.DataFrame) -> pd.DataFrame:
    """Mean of each column with its 95 % interval."""
    low, high = of_means(numbers.to_numpy(np.float64)[None])
    return pd.DataFrame({"mean": numbers.mean(), "low": low, "high": high, "n": numbers.notna().sum()})


def tables(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every method's scores, best first, and how far ours is ahead of each, sample by sample."""
    scores, ahead = [], []
    for measure, found in values(rows).items():
        theirs = [THEIRS.get(str(method), (np.nan, np.nan))[measure == "box ratio"] for method in found]
        scores.append(interval(found).assign(measure=measure, VGG16=theirs))
        rest = found.drop(columns=OURS)
        ahead.append(interval(-rest.sub(found[OURS], axis=0)).assign(measure=measure))
    columns = ["measure", "method", "mean", "low", "high", "n"]
    joined = [pd.concat(parts).rename_axis("method").reset_index() for parts in (scores, ahead)]
    order = [table.sort_values(["measure", "mean"], ascending=[False, False]) for table in joined]
    return order[0][[*columns, "VGG16"]], order[1][columns]


def curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean s(x) of each method along both paths: method, setting, position, value."""
    ours = rows[rows["check"] == MEASURES["degradation"][0]]
    of_network = ours[ours["method"] == ""]
    t1 = of_network.loc[of_network["metric"] == "top-probability", "value"].mean()
    b = of_network.loc[of_network["setting"] == "degraded", "value"].mean()
    paths = ours[ours["setting"].isin(["morf", "lerf"]) & (ours["metric"] == "probability")]
    means = paths.groupby(["method", "setting", "position"])["value"].mean().reset_index()
    return means.assign(value=(means["value"] - b) / (t1 - b))


def ledger(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over images of what each bottleneck lets through, and of what the network knows behind it."""
    ours = rows[rows["check"] == "ledger"]
    return ours.pivot_table(index="method", columns="metric", values="value", aggfunc="mean")


def draw(runs: Sequence[Path], rows: pd.DataFrame, scores: pd.DataFrame) -> None:
    """`curves.png`, and `maps.png` with the boxes: maps alone, as the photographs may not be passed on."""
    import matplotlib.pyplot as plt

    found = curves(rows)
    shown = [m for m in (OURS, "grad-cam", "saliency", "integrated gradients", "random") if m in set(found["method"])]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for color, method in zip(plt.cm.tab10.colors, shown, strict=False):
        for setting, style in (("lerf", "-"), ("morf", "--")):
            path = found[(found["method"] == method) & (found["setting"] == setting)]
            axes.plot(path["position"], path["value"], style, color=color, label=method if style == "-" else None)
    axes.set(xlabel="share of tiles replaced", ylabel="s(x)", title="least (—) and most (- -) relevant tiles first")
    axes.legend(frameon=False)
    figure.savefig(DOCS / "curves.png", dpi=110)

    maps: dict[tuple[str, str, str], np.ndarray] = {}
    for run in runs:
        maps |= read_maps(run)[0]
    methods = [m for m in scores.loc[scores["measure"] == "degradation", "method"] if any(k[1] == m for k in maps)]
    data, samples = evaluated(), sorted({key[2] for key in maps})[:6]
    assert data.boxes is not None
    figure, grid_of_axes = plt.subplots(
        len(samples), len(methods), figsize=(1.1 * len(methods), 1.15 * len(samples)), layout="constrained"
    )
    for sample, line in zip(samples, grid_of_axes, strict=True):
        for method, axes in zip(methods, line, strict=True):
            values = maps[("trained", method, sample)]
            top = np.percentile(np.abs(values), 99.5) or 1.0
            signed = bool((values < 0).any())
            axes.imshow(values, cmap="RdBu_r" if signed else "gray_r", vmin=-top if signed else 0, vmax=top)
            for left, low, right, high in data.boxes[data.ids.index(sample)]:
                frame = plt.Rectangle((left, low), right - left, high - low, fill=False, edgecolor="limegreen")
                axes.add_patch(frame)
            axes.set(xticks=[], yticks=[])
            if sample == samples[0]:
                axes.set_title(method.replace(" ", "\n", 1), fontsize=7)
    figure.savefig(DOCS / "maps.png", dpi=70)


def claim(measure: str, ahead: pd.DataFrame) -> str:
    """A sentence for each rival that the claim is about."""
    said = []
    for rival in BEATEN:
        row = ahead[(ahead["measure"] == measure) & (ahead["method"] == rival)].iloc[0]
        holds = positive(Measured(row["mean"], row["low"], row["high"], int(row["n"])))
        said.append(
            f"- {measure}, IBA > {rival}: {holds}, by {row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f}, "
            f"{row['n']:.0f} images)"
        )
    return "\n".join(said)


def page(found: pd.DataFrame, scores: pd.DataFrame, ahead: pd.DataFrame, kept: pd.DataFrame) -> str:
    """The page of results, every figure from the rows."""
    wide = scores.pivot(index="method", columns="measure", values=["mean", "low", "high", "VGG16"])
    wide = wide.sort_values(("mean", "degradation"), ascending=False)
    lines = [
        f"| {str(method).replace('|', BAR)} | "
        + " | ".join(
            f"{wide['mean'][m][method]:.3f} ({wide['low'][m][method]:.3f} to {wide['high'][m][method]:.3f})"
            for m in MEASURES
        )
        + " | "
        + " | ".join("" if np.isnan(v := wide["VGG16"][m][method]) else f"{v:.3f}" for m in MEASURES)
        + " |"
        for method in wide.index
    ]
    best_row = found.iloc[0]
    cells = found.pivot(index="layer", columns="beta", values="degradation").loc[list(LAYERS)]
    places = [
        f"| {layer} | " + " | ".join(f"{cells[beta][layer]:.3f}" for beta in BETAS) + " |" for layer in cells.index
    ]
    columns = ["information", "bits", "probability", "top-1", "top-5"]
    through = [
        f"| {method or 'the network as it is'} | "
        + " | ".join("" if np.isnan(v := kept[c][method]) else f"{v:.4g}" for c in columns)
        + " |"
        for method in sorted(kept.index, key=lambda method: (len(method), method))
    ]
    known = wide[wide["VGG16"]["degradation"].notna()]
    missing = ", ".join(method for method in THEIRS if method not in wide.index)
    order = {m: known["mean"][m].corr(known["VGG16"][m], method="spearman") for m in MEASURES}
    n = int(scores["n"].max())
    return f"""# Table 1 of Schulz et al. (2020) on SqueezeNet 1.0

Written by `examples/iba_table_1.py`; settings are there, images in `images.csv`, all figures in the CSV files.
The network is explained as it was trained; each image's own label is explained. Intervals are 95 % intervals
over images, differences are paired by image.

## The layer

IBA stands at `{best_row["layer"]}`, the layer of the highest degradation score on {GRID} other images ({TILE}² tiles,
{STEPS} steps), reached at β = {best_row["beta"]:g}/k. Its statistics come from {STATISTICS} further images.

| degradation | {" | ".join(f"β={beta:g}/k" for beta in BETAS)} |
| --- | {" | ".join("---" for _ in BETAS)} |
{chr(10).join(places)}

## The claim, on {n} validation images whose boxes cover less than {LARGEST:.0%}

{chr(10).join(claim(measure, ahead) for measure in MEASURES)}

## What the bottlenecks let through (their Table 4)

| | L_I / k, nats | bits | probability of the label | top-1 | top-5 |
| --- | --- | --- | --- | --- | --- |
{chr(10).join(through)}

## The table

| method | degradation, {TILE}² tiles | box ratio | VGG-16 in the paper: degradation | box ratio |
| --- | --- | --- | --- | --- |
{chr(10).join(lines)}

Rank correlation of our order with the paper's for VGG-16: {order["degradation"]:.2f} for degradation,
{order["box ratio"]:.2f} for the boxes. All maps keep their sign and are summed over channels, those of guided
backpropagation, integrated gradients and SmoothGrad too; the paper's code takes absolute values of some.
Of names between bars the absolute value of each pixel's sum counts.
{f"In the paper's table, but not run here: {missing}." if missing else ""}

![Degradation curves](curves.png)

![Maps, with the boxes](maps.png)
"""


def write(runs: Path) -> None:
    """Everything in `docs/results/bottleneck/`, from the rows."""
    folders = [runs / part for part in PARTS[1:-1] if (runs / part / "run.json").exists()]
    rows = pd.concat([read_rows(folder) for folder in folders], ignore_index=True)
    rows = rows.drop_duplicates(["check", "method", "setting", "position", "metric", "sample"])
    found, (scores, ahead) = grid_scores(runs), tables(rows)
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, table in {"grid": found, "scores": scores, "differences": ahead}.items():
        table.to_csv(DOCS / f"{name}.csv", index=False, float_format="%.4g")
    roles = {
        "grid": images("imagenet-samples", "index.csv", limit=GRID).ids,
        "statistics": statistics().ids,
        "evaluated": evaluated().ids,
    }
    chosen = [(role, file) for role, files in roles.items() for file in files]
    pd.DataFrame(chosen, columns=["role", "file"]).to_csv(DOCS / "images.csv", index=False)
    manifests = [read_manifest(folder) for folder in folders]
    settings = {"methods": [m for one in manifests for m in one["methods"]], "checks": manifests[0]["checks"]}
    machine = {key: manifests[0]["environment"][key] for key in ("python", "torch", "device", "threads")}
    (DOCS / "settings.json").write_text(json.dumps({**settings, "machine": machine}, indent=1, ensure_ascii=False))
    draw(folders, rows, scores)
    (DOCS / "README.md").write_text(page(found, scores, ahead, ledger(rows)))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("runs", type=Path, help="folder for the runs, which resume")
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], help="of the work; all, and the results, by default")
    asked = options.parse_args()
    torch.set_num_threads(1)
    for part in asked.parts or PARTS:
        write(asked.runs) if part == "results" else run(part, asked.runs)
