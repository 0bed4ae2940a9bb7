"""000, Fig. 1 and 2: gradient × input of every label that a network has."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from heatproof.auditing.spec import DTYPES, AuditSpec
from heatproof.checks.base import Maps
from heatproof.checks.similarities import chance_rows
from heatproof.draws import digests
from heatproof.features import Pixels
from heatproof.methods import Competitive, GradientXInput
from heatproof.methods.base import one_hot
from heatproof.models import forward
from heatproof.papers.measure import Results
from heatproof.papers.paper import Answer, Claim, Picture, Table
from heatproof.papers.pictures import Line, chart, map_grid, rows_of, tile_of
from heatproof.papers.survives import stayed
from heatproof.reading.survival import survival
from heatproof.reading.values import Values
from heatproof.similarity import Spearman

SAMPLES = 32
SHOWN = 3  # the paper's digit
ALIKE = Spearman(absolute=True)


def maps(spec: AuditSpec) -> pd.DataFrame:
    """One digit, gradient × input of its ten logits and CGI: the `value` of each pixel that is not 0, by `map`.

    The digit is the first of the audit's that is taken for a 3, or its first.
    """
    model, inputs = _loaded(spec, SAMPLES)
    with torch.no_grad():
        targets = forward(model, inputs).argmax(1)
    chosen = int((targets == SHOWN).double().argmax())
    one, target = inputs[chosen : chosen + 1], targets[chosen : chosen + 1]
    outputs, pull = GradientXInput().linearize(model, one)
    pictures = {"input": one, **{str(k): pull(_label(k, outputs)) for k in range(outputs.shape[1])}}
    pictures[f"CGI of {int(target)}"] = Competitive(GradientXInput())(model, one, target)
    scores = [float("nan"), *outputs[0].tolist(), float("nan")]
    parts = []
    for (name, picture), score in zip(pictures.items(), scores, strict=True):
        parts.append(rows_of(picture.sum(1)[0]).assign(map=name, logit=score))
    return pd.concat(parts, ignore_index=True)


def likeness(spec: AuditSpec) -> pd.DataFrame:
    """Similarity by absolute values of every other label's map to the predicted label's, and by chance.

    `chance` is that of the predicted label's map and itself permuted among the features that are not zero in both.
    """
    model, inputs = _loaded(spec, SAMPLES)
    outputs, pull = GradientXInput().linearize(model, inputs)
    targets = outputs.argmax(1)
    pooled = [_pooled(pull(_label(k, outputs)), inputs) for k in range(outputs.shape[1])]
    own = torch.stack([pooled[target][i] for i, target in enumerate(targets.tolist())])
    rows = []
    for label, other in enumerate(pooled):
        drawn = "chance of another label", label
        (by_chance,) = chance_rows(
            (ALIKE,), Maps(own, {}), Maps(other, {}), *drawn, samples=digests(inputs), setting=""
        )
        values = {"similarity": ALIKE(own, other).tolist(), "chance": by_chance.values.tolist()}
        rows.append(pd.DataFrame({"label": label, "sample": range(len(inputs)), **values})[(targets != label).tolist()])
    return pd.concat(rows, ignore_index=True)


def sums(spec: AuditSpec) -> pd.DataFrame:
    """Of the audit's first sample: the `logit` of every label, and the `sum` of its gradient × input."""
    model, inputs = _loaded(spec, 1)
    outputs, pull = GradientXInput().linearize(model, inputs)
    totals = [float(pull(_label(k, outputs)).double().sum()) for k in range(outputs.shape[1])]
    return pd.DataFrame({"label": range(len(totals)), "logit": outputs[0].tolist(), "sum": totals})


def _loaded(spec: AuditSpec, samples: int) -> tuple[nn.Module, Tensor]:
    """An audit's network, and its first samples."""
    inputs = spec.data.load().inputs[:samples]
    return spec.model.load(spec.folder), inputs.to(spec.model.device, DTYPES[spec.model.dtype])


def _label(label: int, outputs: Tensor) -> Tensor:
    return one_hot(torch.full((len(outputs),), label, device=outputs.device), outputs)


def _pooled(attributions: Tensor, inputs: Tensor) -> Tensor:
    return Pixels().pool(attributions, inputs.shape[1:])


def _all_alike(results: Results) -> Answer:
    """What survives of the predicted label's map in those of others, on the scale of the scorecard."""
    means = results.rows.groupby("sample")[["similarity", "chance"]].mean()
    s, c = (Values(means[name].to_numpy(np.float64)[None], (0,)) for name in ("similarity", "chance"))
    found = survival(s, None, c, metric=ALIKE.metric.name, samples=len(means), missing={})
    told = f"{found.told} of its likeness to itself is left in other labels' maps"
    return Answer(f"{told} (similarity {found.similarity:z.2f}, permuted {found.chance:z.2f})", stayed(found))


def _draw_maps(results: Results, file: Path) -> None:
    tiles = [tile_of(rows) for _, rows in results.rows.groupby("map", sort=False)]
    names = list(dict.fromkeys(results.rows["map"]))
    map_grid(file, [tiles], rows=[""], columns=names)


def _draw_sums(results: Results, file: Path) -> None:
    points = Line("labels", [*results.rows["logit"]], [*results.rows["sum"]], style="points")
    chart(file, {"": [points]}, x="logit", y="sum of gradient × input")


TABLES = (
    Table(name="ten-maps", compute=maps, steps=("mnist",)),
    Table(name="ten-logits", compute=likeness, steps=("mnist",)),
    Table(name="thousand-logits", compute=sums, steps=("imagenet-cgi",)),
)
CLAIMS = (
    Claim(
        where="Fig. 1",
        text="gradient × input shows the digit whichever of the ten logits it explains",
        paper="“the number 3, which is clearly visible in all maps”",
        steps=("ten-logits",),
        answer=_all_alike,
    ),
)
PICTURES = (
    Picture(
        name="ten-maps",
        caption="mnist: gradient × input of all ten logits, and CGI of the predicted one (Fig. 1).",
        steps=("ten-maps",),
        draw=_draw_maps,
    ),
    Picture(
        name="thousand-logits",
        caption="imagenet-cgi: over a thousand labels of one image, the sum of the map against the logit (Fig. 2).",
        steps=("thousand-logits",),
        draw=_draw_sums,
    ),
)
