"""001 Fig. 27: maps of inputs of which nothing is left but the edges."""

from pathlib import Path

import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from heatproof.auditing.passes import predict
from heatproof.auditing.spec import AuditSpec
from heatproof.data import Dataset
from heatproof.features import default_features
from heatproof.methods.controls import edges
from heatproof.models import rows_per_pass
from heatproof.papers.measure import Results
from heatproof.papers.pictures import map_grid, rows_of, tile_of
from heatproof.similarity import SIMILARITIES

METHODS = ("gradient", "gradient-x-input", "integrated-gradients", "guided-backprop", "guided-grad-cam")
MEASURES = ("spearman-absolute", "ssim")
OF = ("image", "its edges")
TILE = 4


def only_edges(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with everything 0 but pixels whose Sobel magnitude is above the image's mean one.

    001 names neither detector nor threshold.
    """
    found = edges(images)
    return images * (found > found.mean((1, 2, 3), keepdim=True))


def similarities(spec: AuditSpec) -> pd.DataFrame:
    """Rows, as an audit's, of the similarity of each method's map of an image to that of its edges alone."""
    data, inputs, found = _maps(spec, None)
    rows = []
    for method, (maps, of_edges) in found.items():
        for metric in MEASURES:
            values = SIMILARITIES.get(metric)(maps, of_edges).tolist()
            rows += [
                {"check": "edges", "method": method, "setting": "", "position": 0.0, "metric": metric, "seed": 0}
                | {"sample": sample, "value": value}
                for sample, value in zip(data.ids[: len(inputs)], values, strict=True)
            ]
    return pd.DataFrame(rows)


def pictures(spec: AuditSpec) -> pd.DataFrame:
    """One image, its edges, and each method's map of both, in tiles of 4 × 4 pixels, as `rows_of`.

    Values of a picture are shares of its greatest absolute one, to two digits.
    """
    _, inputs, found = _maps(spec, 1)
    pairs = {"input": (inputs.mean(1), only_edges(inputs).mean(1)), **found}
    parts = []
    for name, pair in pairs.items():
        for of, picture in zip(OF, pair, strict=True):
            tiles = F.avg_pool2d(picture, TILE)[0]
            shares = (tiles / tiles.abs().max()).round(decimals=2)
            parts.append(rows_of(shares).assign(of=of, map=name))
    return pd.concat(parts, ignore_index=True)


def draw(results: Results, file: Path) -> None:
    """The image and its maps above, its edges and theirs below."""
    names = list(dict.fromkeys(results.rows["map"]))
    pairs = results.rows.groupby(["of", "map"])
    map_grid(file, [[tile_of(pairs.get_group((of, name))) for name in names] for of in OF], rows=OF, columns=names)


def _maps(spec: AuditSpec, limit: int | None) -> tuple[Dataset, Tensor, dict[str, tuple[Tensor, Tensor]]]:
    """An audit's first images, and each method's maps of them and of their edges."""
    data, model = spec.data.load(), spec.model.load(spec.folder)
    inputs = data.inputs[:limit]
    features = default_features(inputs.shape[1:])
    targets = predict(model, inputs, rows_per_pass(inputs))[0]
    found = {}
    for method in METHODS:
        one, two = (
            features.pool(spec.methods[method](model, x, targets), inputs.shape[1:])
            for x in (inputs, only_edges(inputs))
        )
        found[method] = one, two
    return data, inputs, found
