"""001 Fig. 27: maps of inputs of which nothing is left but the edges."""

import pandas as pd
from torch import Tensor

from heatproof.auditing.passes import predict
from heatproof.auditing.spec import AuditSpec
from heatproof.features import default_features
from heatproof.methods.controls import edges
from heatproof.models import rows_per_pass
from heatproof.similarity import SIMILARITIES

METHODS = ("gradient", "gradient-x-input", "integrated-gradients", "guided-backprop", "guided-grad-cam")
MEASURES = ("spearman-absolute", "ssim")


def only_edges(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with everything 0 but pixels whose Sobel magnitude is above the image's mean one.

    001 names neither detector nor threshold.
    """
    found = edges(images)
    return images * (found > found.mean((1, 2, 3), keepdim=True))


def similarities(spec: AuditSpec) -> pd.DataFrame:
    """Rows, as an audit's, of the similarity of each method's map of an image to that of its edges alone."""
    data, model = spec.data.load(), spec.model.load(spec.folder)
    inputs, features = data.inputs, default_features(data.inputs.shape[1:])
    targets = predict(model, inputs, rows_per_pass(inputs), show=False)[0]
    rows = []
    for method in METHODS:
        maps, of_edges = (
            features.pool(spec.methods[method](model, x, targets), inputs.shape[1:])
            for x in (inputs, only_edges(inputs))
        )
        for metric in MEASURES:
            values = SIMILARITIES.get(metric)(maps, of_edges).tolist()
            rows += [
                {"check": "edges", "method": method, "setting": "", "position": 0.0, "metric": metric, "seed": 0}
                | {"sample": sample, "value": value}
                for sample, value in zip(data.ids, values, strict=True)
            ]
    return pd.DataFrame(rows)
