"""Writes docs/steadiness.md: what honest methods keep of their maps where nothing happened, and what made-up ones do.

The zoo's demo network, and SqueezeNet on photographs, both in HEATPROOF_DATA or not at all. Some minutes of one core.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.methods import IntegratedGradients, SmoothGrad
from heatproof.reading.steady import BALL, INPUTS, MOST, PARAMETERS

PAGE = Path(__file__).resolve().parent / "steadiness.md"
HONEST = (
    "gradient", "saliency", "gradient-x-input", "guided-backprop", "grad-cam", "lrp-epsilon",
    "lrp-epsilon-plus", "lrp-alpha1-beta0", "deeplift",
)  # fmt: skip
HEAD = """# Steady: what stays where nothing happened

Written by `python docs/steadiness.py`. Mean over samples of what is left of a map, on the scale between its own chance
and itself, by the measure under which least is left (reading `steady`): *parameters*, multiplied by 1 + ε z until the
outputs move by about 1 % of their spread over labels; *inputs*, multiplied by 1 + ε z until they move by 1 %, with the
method's own draws as they were; three seeds each. *Max-sensitivity*: how far a map moves at most, of its length, within
0.02 of an input, by so many draws.

Both changes part honest methods from those keyed by a hash of something, by far: so both are judged, at one half. That
the input's change is relative matters: noise that is added to a flat ground makes a picture of it, and breaks the ties
of every product with the input; and so do the draws, which a method that keys its noise by the sample would draw anew.
Noise of a fixed seed is steady, which is true: `depends` and `faithful` see through it.

Max-sensitivity has no margin and judges nothing: for maps that see no network it is 0, its optimum is a map that says
nothing (Yeh et al. 2019), and honest gradients of both networks have 0.4 to 0.6.

A blank map has no similarity, and no value here. Deconvnet on SqueezeNet has one for 11 of the first 12 photographs: on
its way down nothing positive arrives at the ReLU `features.9.squeeze_activation`, the rule keeps what is positive, and
all pixels get 0. Such samples are counted as missing, and where fewer than half are left nothing is told.
"""


def hashed_weights(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Noise keyed by the weights."""
    values = b"".join(parameter.detach().cpu().numpy().tobytes() for parameter in model.parameters())
    return hp.draws.normal(x[:, :1], hashlib.sha256(values).hexdigest())


def hashed_outputs(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Noise keyed by the outputs."""
    with torch.no_grad():
        outputs = model(x)
    return torch.cat([hp.draws.normal(x[i : i + 1, :1], str(outputs[i].tolist())) for i in range(len(x))])


def shattered(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """sin(10⁶ gradient ⊙ input)."""
    return torch.sin(1e6 * hp.methods.GradientXInput()(model, x, targets))


def demo() -> tuple[nn.Module, Tensor, Tensor]:
    """The zoo's demo network on its digits in clutter."""
    model, test = hp.zoo.demo()
    return model, test.inputs[:24], test.targets[:24]


def squeezenet() -> tuple[nn.Module, Tensor, Tensor]:
    """SqueezeNet as torchvision trained it, on photographs."""
    import torchvision
    from PIL import Image
    from safetensors.torch import load_file

    data = Path(os.environ["HEATPROOF_DATA"])
    net = torchvision.models.squeezenet1_0()
    net.load_state_dict(load_file(data / "models" / "squeezenet1_0_imagenet.safetensors"))
    prepare = torchvision.models.SqueezeNet1_0_Weights.DEFAULT.transforms()
    files = sorted((data / "imagenet-val-boxes" / "images").iterdir())[:6]
    images = torch.stack([prepare(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        return net.eval(), images, net(images).argmax(1)


NETWORKS: dict[str, Callable[[], tuple[nn.Module, Tensor, Tensor]]] = {
    "demo network, 24 samples, 10 draws": demo,
    "SqueezeNet, 6 photographs, 2 draws": squeezenet,
}


def lines(name: str) -> list[str]:
    """The table of a network."""
    model, inputs, targets = NETWORKS[name]()
    methods: dict[str, object] = {one: one for one in HONEST}
    methods |= {"integrated-gradients": IntegratedGradients(steps=10), "smoothgrad": SmoothGrad(samples=10)}
    fakes = (hashed_weights, hashed_outputs, shattered)
    methods |= {str(fake.__doc__).rstrip("."): fake for fake in fakes}
    draws = int(name.split()[-2])
    check = hp.checks.Steadiness(similarities=("spearman", "spearman-absolute"), draws=draws)
    with TemporaryDirectory() as folder:
        run = hp.audit(
            model, inputs, targets, methods=methods, checks={"steadiness": check}, out=folder, progress=False
        )  # type: ignore[arg-type]  # methods of every kind
        found = run.findings().set_index(["method", "setting"])
    table = [f"## {name}", "", "| method | parameters | inputs | max-sensitivity |", "| --- | --- | --- | --- |"]
    for method in methods:
        cells = [f"{found.loc[(method, setting), 'mean']:.2f}" for setting in (PARAMETERS, INPUTS)]
        most = found.loc[(method, BALL)]
        assert most["metric"] == MOST
        table.append(f"| {method} | {' | '.join(cells)} | {most['mean']:.2f} |")
    return [*table, ""]


def main() -> None:
    """Measure, and write the page."""
    chosen = [name for name in NETWORKS if not sys.argv[1:] or any(part in name for part in sys.argv[1:])]
    text = "\n".join([HEAD, *(line for name in chosen for line in lines(name))])
    print(text)
    if len(chosen) == len(NETWORKS):
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
