"""A small audit: its wall clock against the passes that it makes at their best speed, and where the time goes.

From Python 3.12 on a profile counts calls of every thread, and mixes up the seconds of those that overlap.
"""

import cProfile
import pstats
from collections import Counter
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import heatproof as hp
from gpu_parts.bench import Bench, Floor, Row, tf32
from gpu_parts.networks import small, torchvision
from heatproof.checks import Degradation, ParameterRandomization
from heatproof.methods import SmoothGrad
from heatproof.randomization import Cascading
from heatproof.testing.waits import waits

METHODS = ("gradient", "saliency", "gradient-x-input", "guided-backprop", "grad-cam", "lrp-epsilon-plus")


def auditing(bench: Bench) -> Iterator[Row]:
    side, count = (32, 2) if bench.tiny else (224, 64)
    model = small().to(bench.device) if bench.tiny else torchvision("resnet50", bench.device)
    x, _ = bench.images(count, side)
    stages = Cascading()
    if not bench.tiny:
        stages = Cascading(blocks=("layer1", "layer2", "layer3", "layer4"), only=("fc", "layer4", "layer1", "conv1"))
    checks = {
        "parameter-randomization": ParameterRandomization(randomization=stages),
        "degradation": Degradation(tile=16, steps=4) if bench.tiny else Degradation(tile=28, steps=8),
    }
    methods: dict[str, Any] = {name: name for name in METHODS[: 2 if bench.tiny else None]}
    methods["smoothgrad"] = SmoothGrad(samples=2 if bench.tiny else 10)
    rows: Counter[str] = Counter()
    derived = lambda x: "derived" if torch.is_grad_enabled() and x.requires_grad else "forward"  # noqa: E731

    def run(x: Tensor = x) -> None:
        with TemporaryDirectory() as folder:
            settings: dict[str, Any] = {"methods": methods, "checks": checks, "progress": False, "out": folder}
            done = hp.audit(model, x, **settings)
            found.update(rows=len(done.rows()), failures=len(done.manifest["failures"]))

    found: dict[str, int] = {}
    handle = model.register_forward_pre_hook(lambda _, given: rows.update({derived(given[0]): len(given[0])}))
    wall, cpu = bench.once(run)
    handle.remove()
    profile = cProfile.Profile()  # of another run: it costs time of its own
    profile.runcall(run)
    with tf32(False):  # the audit's own arithmetic: torch's is another one by default
        floor = Floor.of(bench, model, side, (32, count) if count > 32 else (count,))
    need = floor.seconds(derived=rows["derived"], forward=rows["forward"])
    yield {
        "images": count,
        "rows": found["rows"],
        "seconds": wall,
        "CPU / wall": cpu / wall,
        "rows forward": rows["forward"],
        "and back": rows["derived"],
        "× its passes": wall / need,
        "failures": found["failures"],
    }
    stats: Any = pstats.Stats(profile)
    by_own = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])
    for (file, line, function), (_, calls, own, cumulative, _) in by_own[:12]:
        place = f"{file.rsplit('/', 1)[-1]}:{line} {function}" if line else function
        yield {"profile": place, "calls": calls, "own seconds": own, "with what it calls": cumulative}
    few = max(2, count // 8)
    with waits() as seen:
        run(x[:few])
    for place, times in seen.most_common(12):
        yield {"where an audit of few images waits": place, "images": few, "waits": times}
