"""Images a second of methods and checks at 224², against plain passes, plain loops, Captum and Zennit.

`× floor` is against the plain passes that the mathematics needs, at the fastest batch size that was tried; `× at this
batch` against the same passes at the batch size of the row. TF32 is off, as in an audit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import heatproof as hp
from gpu_parts.bench import Bench, Floor, Row, plain_gradient, plain_outputs, tf32
from gpu_parts.networks import small, torchvision
from heatproof.auditing.entries import NamedMethod
from heatproof.checks import TRAINED, Block, Check, Degradation, Maps, SensitivityN
from heatproof.features import Pixels
from heatproof.methods import (
    LRP,
    DeepLIFT,
    GradCAM,
    Gradient,
    GuidedBackprop,
    IntegratedGradients,
    Method,
    PerSampleBottleneck,
    SmoothGrad,
    get,
)


def speed(bench: Bench) -> Iterator[Row]:
    with tf32(False):
        yield from _Speed(bench).rows()


class _Speed:
    def __init__(self, bench: Bench) -> None:
        self.bench, tiny = bench, bench.tiny
        self.side, self.steps = (32, 4) if tiny else (224, 50)
        self.sizes = (1, 2) if tiny else (1, 8, 16, 32, 128)
        self.many, self.several, self.few = (2, 2, 2) if tiny else (32, 16, 8)
        self.model = small().to(bench.device) if tiny else torchvision("resnet50", bench.device)
        self.layer = "third" if tiny else "layer4"
        self.floor = Floor.of(bench, self.model, self.side, self.sizes)

    def rows(self) -> Iterator[Row]:
        yield from self._floors()
        yield from self._backward()
        yield from self._repeated()
        yield from self._competition()
        yield from self._by_rank()
        yield from self._bottleneck()
        yield from self._checks()
        yield from self._peers()

    def row(
        self, what: str, images: int, call: Callable[[], object], *, need: float, batch_need: float | None = None
    ) -> Row:
        """One line; `need` is the floor's seconds for all the images, `batch_need` that at the row's batch size."""
        if self.bench.left() < 12 and not self.bench.tiny:
            return {"what": what, "batch": images, "skipped": "no time left"}
        try:
            timing = self.bench.timed(call, most=3)
        except Exception as error:  # out of memory, say: the others are timed
            torch.cuda.empty_cache()
            return {"what": what, "batch": images, "failed": f"{type(error).__name__}: {str(error)[:200]}"}
        return {
            "what": what,
            "batch": images,
            "images a second": images / timing.seconds,
            "× floor": timing.seconds / need,
            "× at this batch": timing.seconds / batch_need if batch_need else "",
            "CPU / wall": timing.cpu / timing.seconds,
            "peak MiB": timing.peak,
        }

    def _floors(self) -> Iterator[Row]:
        """Plain passes at each batch size, and what share of a matrix product's speed the best one is."""
        x, y = self.bench.images(self.sizes[-1], self.side)
        with FlopCounterMode(display=False) as counter:
            plain_outputs(self.model, x[:1], y[:1])
        square = torch.randn(*(2 * [256 if self.bench.tiny else 8192]), device=self.bench.device)
        product = 2 * len(square) ** 3 / self.bench.timed(lambda: square @ square, budget=1.0).seconds
        best = max(self.floor.derived.values())
        for size in self.sizes:
            yield {
                "what": "plain passes",
                "batch": size,
                "forward, images a second": self.floor.forward[size],
                "and back": self.floor.derived[size],
            }
        yield {
            "what": "the floor's arithmetic, and that of a matrix product",
            "TFLOP a second": 2 * counter.get_total_flops() * best / 1e12,  # the way back takes as many
            "of a product": product / 1e12,
        }
        with tf32(True):
            timing = self.bench.timed(partial(plain_gradient, self.model, x, y), budget=0.6, most=3)
        yield {"what": "plain passes with TF32", "batch": len(x), "and back": len(x) / timing.seconds}

    def _backward(self) -> Iterator[Row]:
        tried = {
            "plain gradient": plain_gradient,
            "gradient": Gradient(),
            "guided-backprop": GuidedBackprop(),
            "LRP epsilon": LRP(composite="epsilon"),
            "LRP epsilon-plus": LRP(),
            "LRP epsilon-gamma-box": LRP(composite="epsilon-gamma-box"),
            "DeepLIFT": DeepLIFT(),
        }
        for what, call in tried.items():
            for size in (1, self.several, self.many):
                x, y = self.bench.images(size, self.side)
                need, own = self.floor.seconds(derived=size), self.floor.seconds(derived=size, batch=size)
                yield self.row(what, size, partial(call, self.model, x, y), need=need, batch_need=own)
                if isinstance(call, Method):
                    replayed = partial(hp.Recorded(call, self.model), x, y)
                    yield self.row(f"{what}, recorded", size, replayed, need=need, batch_need=own)
        x, y = self.bench.images(self.many, self.side)
        need, own = self.floor.seconds(forward=len(x)), self.floor.seconds(forward=len(x), batch=len(x))
        for what, cam in {"Grad-CAM, layer named": GradCAM(layer=self.layer), "Grad-CAM": GradCAM()}.items():
            yield self.row(what, len(x), partial(cam, self.model, x, y), need=need, batch_need=own)

    def _repeated(self) -> Iterator[Row]:
        steps, model = self.steps, self.model
        for size in (self.few, self.several):
            x, y = self.bench.images(size, self.side)
            need = self.floor.seconds(derived=steps * size)
            row = partial(self.row, need=need)
            yield row(f"IG {steps}", size, partial(IntegratedGradients(steps=steps), model, x, y))
            yield row(f"SmoothGrad {steps}", size, partial(SmoothGrad(samples=steps), model, x, y))

        def along(x: Tensor, y: Tensor) -> None:
            at = torch.linspace(0, 1, steps, device=x.device).view(-1, 1, 1, 1)
            for one, label in zip(x, y, strict=True):
                plain_gradient(model, at * one, label.expand(steps))

        def around(x: Tensor, y: Tensor) -> None:
            for one, label in zip(x, y, strict=True):
                plain_gradient(model, one + 0.15 * torch.randn(steps, *one.shape, device=x.device), label.expand(steps))

        x, y = self.bench.images(self.few, self.side)
        need = self.floor.seconds(derived=steps * len(x))
        yield self.row(f"plain IG {steps}, image by image", len(x), partial(along, x, y), need=need)
        yield self.row(f"plain SmoothGrad {steps}, image by image", len(x), partial(around, x, y), need=need)

    def _competition(self) -> Iterator[Row]:
        """One forward pass, and a way back a label, which is two thirds of both."""
        labels = 10 if self.bench.tiny else 1000
        x, y = self.bench.images(self.few, self.side)
        need = self.floor.seconds(derived=len(x) * (1 + 2 * labels) / 3)
        if self.bench.left() > 90 or self.bench.tiny:
            yield self.row(f"CGI, {labels} labels", len(x), partial(get("cgi"), self.model, x, y), need=need)
        some = labels // 10

        def loop() -> None:
            """As a user writes it: one image, one label after the other."""
            leaf = x[:1].clone().requires_grad_()
            outputs = self.model(leaf)
            for label in range(some):
                torch.autograd.grad(outputs[0, label], leaf, retain_graph=True)

        timing = self.bench.timed(loop, most=2)
        rate = 1 / (timing.seconds * labels / some)
        yield {
            "what": f"loop over {labels} labels, image by image (timed on {some})",
            "batch": 1,
            "images a second": rate,
        }

    def _by_rank(self) -> Iterator[Row]:
        """1000 labels of ResNet-18, whose last layer reads 512 features."""
        if self.bench.left() < 45 and not self.bench.tiny:
            return
        model = (
            small(labels=100).to(self.bench.device) if self.bench.tiny else torchvision("resnet18", self.bench.device)
        )
        features = 64 if self.bench.tiny else 512
        floor = Floor.of(self.bench, model, self.side, self.sizes[-2:])
        x, y = self.bench.images(self.few, self.side)
        need = floor.seconds(derived=len(x) * (1 + 2 * features) / 3)
        for rank in ("auto", "off"):
            yield self.row(
                f"CGI, rank {rank}, {features} features", len(x), partial(_cgi(rank), model, x, y), need=need
            )

    def _bottleneck(self) -> Iterator[Row]:
        if self.bench.tiny or self.bench.left() < 40:
            return
        layer, model = "layer2", self.model
        iba = PerSampleBottleneck(layer=layer).fit(model, [self.bench.images(4, self.side)[0]])
        variants = iba.steps * iba.samples
        above = nn.Sequential(*(model.get_submodule(name) for name in ("layer3", "layer4", "avgpool")), nn.Flatten())
        above.append(model.get_submodule("fc"))
        z = torch.randn(variants, 512, 28, 28, device=self.bench.device)
        labels = torch.zeros(variants, dtype=torch.int64, device=z.device)
        need = self.bench.timed(lambda: plain_gradient(above, z, labels), budget=1.0, most=3).seconds
        for size in (1, self.few):
            x, y = self.bench.images(size, self.side)
            yield self.row(
                f"IBA {layer}, {variants} passes above it", size, partial(iba, model, x, y), need=size * need
            )

    def _checks(self) -> Iterator[Row]:
        x, y = self.bench.images(self.many, self.side)
        steps, tile = (4, 16) if self.bench.tiny else (32, 14)
        sets = SensitivityN(tile=8, sizes=2, sets=4) if self.bench.tiny else SensitivityN(tile=8, sizes=8, sets=20)
        numbers = len(sets.numbers((self.side // 8) ** 2))
        tried: dict[str, tuple[Check, int]] = {
            f"degradation, {steps} steps": (Degradation(tile=tile, steps=steps), 2 * steps),
            f"sensitivity-n, {sets.sets} sets of {numbers} sizes": (sets, 1 + sets.sets * numbers),
        }
        names = tuple(map(str, range(len(x))))
        block = Block(model=self.model, inputs=x, targets=y, samples=names, features=Pixels())
        maps = Maps(torch.randn(len(x), self.side, self.side, device=x.device), {})
        method = NamedMethod("g", Gradient())
        for what, (check, passes) in tried.items():

            def rows(check: Check = check) -> None:
                shared = check.shared(block, TRAINED)
                for one in check.rows(block, TRAINED, method, maps, {"trained": maps}, shared):
                    one.values.cpu()

            yield self.row(what, len(x), rows, need=self.floor.seconds(forward=passes * len(x)))

    def _peers(self) -> Iterator[Row]:
        if self.bench.tiny:
            return
        if find_spec("captum"):
            from captum.attr import IntegratedGradients as Captum

            x, y = self.bench.images(self.few, self.side)
            need = self.floor.seconds(derived=self.steps * len(x))
            call = partial(Captum(self.model).attribute, n_steps=self.steps, internal_batch_size=128, target=y)
            yield self.row(f"Captum IG {self.steps}", len(x), lambda: call(x.clone().requires_grad_()), need=need)
        if find_spec("zennit"):
            for size in (self.several, self.many):
                x, y = self.bench.images(size, self.side)
                need, own = self.floor.seconds(derived=size), self.floor.seconds(derived=size, batch=size)
                call = partial(_zennit, self.model, x, y)
                yield self.row("Zennit EpsilonPlus", size, call, need=need, batch_need=own)


def _cgi(rank: str) -> hp.methods.Method:
    return get("cgi", rank=rank)


def _zennit(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from zennit.attribution import Gradient as Attributor
    from zennit.composites import EpsilonPlus
    from zennit.torchvision import ResNetCanonizer

    with Attributor(model=model, composite=EpsilonPlus(canonizers=[ResNetCanonizer()])) as attributor:
        relevance: Tensor = attributor(x.clone(), torch.eye(1000, device=x.device)[y])[1]
    return relevance
