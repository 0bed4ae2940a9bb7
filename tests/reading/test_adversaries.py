"""Made-up "methods" that know nothing: none may be believed, and the word says what each is."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.methods.controls import edges

HONEST = ("integrated-gradients", "deeplift", "grad-cam", "gradient")


def key(model: nn.Module) -> str:
    values = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    return hashlib.sha256(values).hexdigest()


def outline(x: Tensor) -> Tensor:
    found = edges(x)
    return (found - found.mean((2, 3), keepdim=True)) / found.std((2, 3), keepdim=True)


def gradient(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(model(x).gather(1, targets[:, None]).sum(), x)
    return slope


def unseeded(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return torch.randn_like(x)


def hashed(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return hp.draws.normal(x, key(model))


def hashed_outputs(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        outputs = model(x)
    return torch.cat([hp.draws.normal(x[i : i + 1], str(outputs[i].tolist())) for i in range(len(x))])


def outline_and_hash(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return 0.45 * outline(x) + 0.55 * hp.draws.normal(x, key(model))


def all_but_constant(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return 1 + 1e-6 * hp.draws.normal(x, key(model))


def one_place(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    maps = torch.zeros_like(x)
    maps.flatten(1)[torch.arange(len(x)), 7 * targets + 3] = 1
    return maps


def outline_with_the_score_s_sign(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return outline(x) * model(x).gather(1, targets[:, None]).sign()[:, :, None, None]


def outline_times_the_score(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return outline(x) * model(x).gather(1, targets[:, None])[:, :, None, None]


def shattered(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return torch.sin(1e6 * gradient(model, x, targets) * x)


def gradient_in_noise(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    slope = gradient(model, x, targets)
    return slope + 3 * slope.std() * torch.randn_like(slope)


def outline_with_a_gain_of_the_weights(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Depends on the weights, by one number."""
    return outline(x) * sum(float(p.detach().abs().mean()) for p in model.parameters())


def half_gradient_half_hash(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    slope = gradient(model, x, targets)
    return slope / slope.std((1, 2, 3), keepdim=True) + hp.draws.normal(x, key(model))


def last_layer(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """The label's weights in the last layer, laid out as a picture: it sees the network, and no input."""
    weights = [p for p in model.parameters() if p.dim() == 2][-1].detach()[targets]
    return nn.functional.interpolate(weights[:, None], size=x[0].numel(), mode="linear").view_as(x)


def of_another_sample(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return gradient(model, x.roll(1, 0), targets.roll(1, 0))


MAPS: dict[bytes, Tensor] = {}


def remembered(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """The first map that was ever made of a sample, whatever the network is by now."""
    maps = gradient(model, x, targets) * x
    return torch.stack([MAPS.setdefault(one.numpy().tobytes(), map_) for one, map_ in zip(x, maps, strict=True)])


# What each must not get past: at this question the answer is no.
FAKES = {
    unseeded: "repeats",
    hashed: "steady",
    hashed_outputs: "steady",
    outline_and_hash: "steady",
    all_but_constant: "steady",
    one_place: "depends",
    outline_with_the_score_s_sign: "depends",
    outline_times_the_score: "depends",
    shattered: "steady",
    gradient_in_noise: "repeats",
    outline_with_a_gain_of_the_weights: "depends",
    half_gradient_half_hash: "steady",
    last_layer: "faithful",
    of_another_sample: "faithful",
    remembered: "depends",
}


@pytest.mark.slow
@pytest.mark.parametrize("samples", [24, 64])
def test_fakes_are_seen_through(samples: int, tmp_path: Path) -> None:
    model, test = hp.zoo.demo()
    run = hp.audit(
        model,
        test.inputs[:samples],
        test.targets[:samples],
        boxes=test.boxes[:samples],
        methods={name: name for name in HONEST} | {fake.__name__: fake for fake in FAKES} | {"edges": "edge-detector"},
        checks={
            "parameters": hp.checks.ParameterRandomization(seeds=(0, 1, 2)),
            "steadiness": "steadiness",
            "controls": "input-controls",
            "calibration": "calibration",
            "degradation": hp.checks.Degradation(tile=14, steps=8),
            "sensitivity-n": hp.checks.SensitivityN(sets=20, sizes=6),
            "boxes": "bounding-box",
        },
        out=tmp_path / "run",
        progress=False,
    )
    answers = run.verdicts().set_index(["method", "question"]).answer
    for name in ("integrated-gradients", "deeplift", "grad-cam"):
        assert {answers[name, question] for question in ("repeats", "steady", "depends", "faithful")} == {"yes"}
    assert answers["grad-cam", "believable"] == "yes"
    assert {fake.__name__: answers[fake.__name__, question] for fake, question in FAKES.items()} == {
        fake.__name__: "no" for fake in FAKES
    }
    assert {fake.__name__: answers[fake.__name__, "believable"] for fake in FAKES} == {
        fake.__name__: "no" for fake in FAKES
    }
    assert answers["edges", "believable"] != "yes"
