"""The same numbers on the device as on the CPU: methods, similarities, and the rows of an audit.

`float32` and `float64` are the largest difference between the devices over the map's largest magnitude, without TF32,
in the model's dtype; `tf32` with it, as torch has it for convolutions by default. What float32 misses and float64 does
not is a kink (a ReLU, a maximum) that rounding decides, and no fault of the device. `support` is the share of scalars
that are 0 on both or on neither. `recorded` is the difference on the device, in float32, between the method and its
`Recorded` that was made on other inputs.
"""

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import heatproof as hp
from gpu_parts.bench import Bench, Row, tf32
from gpu_parts.networks import fitted, recipe, small
from heatproof import draws
from heatproof.checks import Degradation, ParameterRandomization, SensitivityN
from heatproof.errors import OperationError
from heatproof.methods import Method, names
from heatproof.similarity import HOG, MSE, SSIM, Spearman

KEYS = ["check", "method", "setting", "position", "seed", "metric", "sample"]


def agree(bench: Bench) -> Iterator[Row]:
    yield from _draws(bench)
    few = ("gradient", "lrp-epsilon-plus", "smoothgrad", "iba")
    for name in few if bench.tiny else names():
        try:
            yield {"method": name, **_method(bench, name)}
        except Exception as error:  # one that fails is a row, and the others are compared
            yield {"method": name, "failed": f"{type(error).__name__}: {str(error)[:200]}"}
    yield from _similarities(bench)
    yield from _audit(bench)


def _images(count: int, seed: int) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _draws(bench: Bench) -> Iterator[Row]:
    here = _images(4, 1)
    there = here.to(bench.device)
    for kind in (draws.normal, draws.uniform):
        equal = torch.equal(kind(here, 0, "agree"), kind(there, 0, "agree").cpu())
        yield {"draws": kind.__name__, "bits equal": equal}


def _method(bench: Bench, name: str) -> Row:
    here, there = small(name), small(name).to(bench.device)
    x, learn = _images(4, 1), _images(16, 2)
    with torch.no_grad():
        y = here(x).argmax(1)
    method = recipe(name)

    def maps(model: torch.nn.Module, x: Tensor, learn: Tensor) -> Tensor:
        return fitted(method, model, learn)(model, x, y.to(x.device)).double().cpu()

    row: dict[str, Any] = {}
    for dtype in (torch.float32, torch.float64):
        ours = maps(here.to(dtype), x.to(dtype), learn.to(dtype))
        for fast in (False, True) if bench.cuda and dtype == torch.float32 else (False,):
            with tf32(fast):
                theirs = maps(there.to(dtype), x.to(bench.device, dtype), learn.to(bench.device, dtype))
            column = "tf32" if fast else str(dtype).removeprefix("torch.")
            row[column] = float((theirs - ours).abs().max() / ours.abs().max().clamp_min(1e-300))
            if column == "float32":
                row["support"] = float(((ours != 0) == (theirs != 0)).double().mean())
    row["recorded"] = _recorded(fitted(method, there.float(), learn.to(bench.device)), there, x.to(bench.device))
    return row


def _recorded(method: Method, model: torch.nn.Module, x: Tensor) -> float | str:
    y = torch.arange(len(x), device=x.device)
    with tf32(False):
        replayed = hp.Recorded(method, model)
        try:
            replayed(x.flip(0), y)
        except OperationError as why:
            return str(why)[:200]
        expected = method(model, x, y)
        return float((replayed(x, y) - expected).abs().max() / expected.abs().max())


def _similarities(bench: Bench) -> Iterator[Row]:
    stream = torch.Generator().manual_seed(3)
    one, two = (torch.randn(4, 64, 64, generator=stream) for _ in range(2))
    two = one + 0.3 * two
    one[0], two[0] = one[0].relu(), two[0].relu()  # ties
    for measure in (Spearman(), Spearman(absolute=True), SSIM(), SSIM(window=11, weights="gaussian"), HOG(), MSE()):
        there = measure(one.to(bench.device), two.to(bench.device)).cpu()
        yield {"similarity": measure.metric.name, "difference": float((measure(one, two) - there).abs().max())}


def _audit(bench: Bench) -> Iterator[Row]:
    """The rows of one audit, beside each other."""
    several = ["gradient", "saliency", "smoothgrad", "cgi", "lrp-epsilon-plus", "deeplift", "grad-cam", "occlusion"]
    like = ParameterRandomization(similarities=("spearman", "ssim", HOG(cell=8), "mse"))
    checks = {
        "parameter-randomization": like,
        "sensitivity-n": SensitivityN(sets=8, sizes=4),
        "degradation": Degradation(tile=8),
        "completeness": "completeness",
    }
    if bench.tiny:
        several, checks = several[:2], {"degradation": Degradation(tile=16)}
    x, frames = _images(4, 1), {}
    for place, device in (("here", torch.device("cpu")), ("there", bench.device)):
        model, images = small().to(device), x.to(device)
        with TemporaryDirectory() as folder:
            settings: dict[str, Any] = {"methods": several, "checks": checks, "progress": False, "out": folder}
            run = hp.audit(model, images, model(images).argmax(1), **settings)
            frames[place] = run.rows().set_index(KEYS)["value"]
            yield {"audit": str(device), "rows": len(frames[place]), "failures": len(run.manifest["failures"])}
    both = frames["here"].to_frame("here").join(frames["there"].to_frame("there"), how="outer")
    missing = int((both["here"].isna() != both["there"].isna()).sum())
    both = both.dropna()
    apart = (both["here"] - both["there"]).abs()
    over = apart > 1e-3 * both["here"].abs().clip(lower=1)
    worst = apart.groupby(level=["check", "metric"]).max().sort_values(ascending=False).head(5)
    said = ", ".join(f"{check}/{metric} {value:.1g}" for (check, metric), value in worst.items())
    yield {"audit": "both", "rows": len(both), "undefined on one": missing, "over 1e-3": int(over.sum()), "worst": said}
