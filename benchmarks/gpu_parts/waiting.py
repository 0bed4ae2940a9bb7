"""How often a call makes the host wait for the device, and where: the second call of each, as loops make them."""

from collections.abc import Callable, Iterator

import torch

from gpu_parts.bench import Bench, Row, plain_gradient
from gpu_parts.networks import fitted, recipe, small
from heatproof import checks
from heatproof.auditing.entries import NamedMethod
from heatproof.checks import TRAINED, Block, Degradation, Maps, SensitivityN
from heatproof.features import Pixels
from heatproof.methods import GradientXInput, names
from heatproof.similarity import HOG, MSE, SSIM, Spearman
from heatproof.testing.waits import waits


def waiting(bench: Bench) -> Iterator[Row]:
    x, y = bench.images(4, 32)
    network = small().to(bench.device)
    yield {"what": "plain gradient", **_counted(lambda: plain_gradient(network, x, y))}
    for name in ("gradient", "lrp-epsilon-plus") if bench.tiny else names():
        try:
            model = small(name).to(bench.device)
            method = fitted(recipe(name), model, bench.images(16, 32)[0])
            yield {"what": name, **_counted(lambda method=method, model=model: method(model, x, y))}
        except Exception as error:
            yield {"what": name, "failed": f"{type(error).__name__}: {str(error)[:160]}"}
    yield from _of_checks(bench)
    maps = torch.randn(4, 32, 32, device=bench.device)
    for measure in (Spearman(), SSIM(), HOG(cell=8), MSE()):
        kept = measure.prepare(maps)
        compared = _counted(lambda measure=measure, kept=kept: measure.compare(kept, maps.flip(0)))
        yield {"what": f"similarity {measure.metric.name}", **compared}


def _of_checks(bench: Bench) -> Iterator[Row]:
    x, y = bench.images(4, 32)
    model = small().to(bench.device)
    block = Block(model=model, inputs=x, targets=y, samples=("0", "1", "2", "3"), features=Pixels())
    maps, method = Maps(torch.randn(4, 32, 32, device=bench.device), {}), NamedMethod("g", GradientXInput())
    tried = {
        "sensitivity-n": SensitivityN(sets=10, sizes=4),
        "degradation": Degradation(tile=4),
        "blurred-patch": checks.get("blurred-patch"),
        "completeness": checks.get("completeness"),
    }
    for name, check in tried.items():

        def rows(check: checks.Check = check) -> object:
            shared = check.shared(block, TRAINED)
            return list(check.rows(block, TRAINED, method, maps, {"trained": maps}, shared))

        yield {"what": f"check {name}", **_counted(rows)}


def _counted(call: Callable[[], object]) -> Row:
    call()
    with waits() as seen:
        call()
    return {"waits": sum(seen.values()), "where": ", ".join(f"{place} × {n}" for place, n in seen.most_common(6))}
