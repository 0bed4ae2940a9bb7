"""Every door × every kind of bad input: one sentence that says what was expected, what came and what to do."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from heatproof import cli, door
from heatproof.auditing.run import audit
from heatproof.errors import InputError, MapsError, ModelError
from heatproof.methods import METHODS, Explanation, Gradient, Linearizable, Method
from heatproof.models import Bound, check_inputs, check_model, check_targets, forward

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([0, 1])


def cnn():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).eval()


def averaging():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()


class Text(nn.Module):
    """Token ids and a mask to logits."""

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(10, 4), nn.Linear(4, 3)
        self.eval()

    def forward(self, ids, mask):
        return self.head((self.words(ids) * mask[..., None]).sum(1))


BAD_IMAGES = {
    "channels last": (cnn, IMAGES.movedim(1, -1), r"Channels stand before .* here last: inputs\.permute\(0, 3, 1, 2\)"),
    "gray": (
        cnn,
        IMAGES[:, :1],
        r"It takes 3 channels, but these inputs \(N, C, …\) have 1: repeat a gray one, inputs\.exp",
    ),
    "four channels": (cnn, torch.rand(2, 4, 8, 8), r"It takes 3 channels, but these inputs \(N, C, …\) have 4\."),
    "another size": (
        cnn,
        torch.rand(2, 3, 12, 12),
        r"layer takes 64 features, but these inputs make 144: give inputs of",
    ),
    "too small": (cnn, torch.rand(2, 3, 1, 1), r"in module '2' \(MaxPool2d\): .*too small\. Give inputs"),
    "one image alone": (cnn, IMAGES[0], r"Its layer takes 64 features, .* One sample alone is inputs\[None\]"),
    "one averaged image": (averaging, IMAGES[0], r"One sample alone is inputs\[None\]|dimension of samples"),
    "one image of one channel": (cnn, torch.rand(8, 8), r"with 2 dimensions of positions"),
    "a table": (cnn, torch.rand(2, 192), r"\(N, 3, …\) with 2 dimensions of positions"),
}
METHOD_NAMES = [name for name in METHODS.names() if METHODS.get(name).uses_model and name not in ("iba-readout",)]
FITTED = ("iba", "iba-readout", "pattern-net", "pattern-attribution")


@pytest.mark.parametrize("kind", BAD_IMAGES)
@pytest.mark.parametrize("name", [name for name in METHOD_NAMES if name not in FITTED])
def test_what_a_model_raises_on_its_inputs_is_a_sentence(name, kind):
    make, inputs, said = BAD_IMAGES[kind]
    method, targets = METHODS.get(name), torch.zeros(len(inputs), dtype=torch.int64)
    expected = (
        rf"Expected inputs that the model runs on, but on \({len(inputs)}, .* of torch\.float32 it raised .*{said}"
    )
    with pytest.raises(ModelError, match=expected):
        method(make(), inputs, targets)
    if isinstance(method, Linearizable) and method.linearizable:
        with pytest.raises(ModelError, match=expected):
            method.linearize(make(), inputs)


@pytest.mark.parametrize("name", ["gradient", "occlusion", "smoothgrad", "lrp-epsilon", "deeplift", "grad-cam", "cgi"])
def test_a_model_that_was_settled_says_it_too(name):
    model, method = cnn(), METHODS.get(name)
    method(model, IMAGES, TARGETS)
    for kind in ("channels last", "another size", "four channels"):
        _, inputs, said = BAD_IMAGES[kind]
        with pytest.raises(ModelError, match=said):
            method(model, inputs, TARGETS)


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_audits_say_it_before_anything_else(kind, tmp_path):
    make, inputs, said = BAD_IMAGES[kind]
    with pytest.raises(ModelError, match=said):
        audit(make(), inputs, None, methods=["gradient"], checks=["completeness"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_arguments_that_are_missing_and_ids_that_have_no_derivative():
    text = Text()
    with pytest.raises(ModelError, match=r"Give its other arguments: .*Bound\(model, given=\{'mask': …\}\)"):
        Gradient()(text, torch.rand(2, 5), TARGETS)
    bound = Bound(text, given={"mask": torch.ones(2, 5)})
    with pytest.raises(ModelError, match=r"explain what its embedding makes of them, .*at='net\.words'"):
        Gradient()(bound, torch.rand(2, 5), TARGETS)


def test_other_layers_name_what_they_take():
    linear = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3)).eval()
    with pytest.raises(ModelError, match="takes 4 features, but these inputs make 5"):
        Gradient()(linear, torch.rand(2, 3, 5), TARGETS)
    flat = nn.Sequential(nn.Linear(12, 3)).eval()
    with pytest.raises(ModelError, match=r"Give each sample as one row: inputs\.flatten\(1\), \(2, 12\)"):
        Gradient()(flat, torch.rand(2, 3, 4), TARGETS)
    norm = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 3)).eval()
    with pytest.raises(ModelError, match=r"inputs\.permute\(0, 3, 1, 2\)"):
        Gradient()(norm, IMAGES.movedim(1, -1), TARGETS)
    series = nn.Sequential(nn.Conv1d(3, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    with pytest.raises(ModelError, match=r"inputs\.permute\(0, 2, 1\)"):
        Gradient()(series, torch.rand(2, 9, 3), TARGETS)


def test_an_error_of_a_method_stays_its_own():
    @dataclass(frozen=True, kw_only=True)
    class Broken(Method):
        def _explain(self, model, inputs, targets):
            raise ZeroDivisionError("my own")

    with pytest.raises(ZeroDivisionError, match="my own"):
        Broken()(cnn(), IMAGES, TARGETS)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            torch.zeros(2, 3, 8, 8),
            r"Gives\._explain to return an Explanation, but got Tensor; return Explanation\(maps\)",
        ),
        (None, r"Gives\._explain to return an Explanation, but got NoneType"),
        (
            Explanation(torch.zeros(2, 8, 8)),
            r"floating attributions .* but got torch\.float32 \(2, 8, 8\)\. Gives gave them; .*size 1",
        ),
        (Explanation(torch.zeros(2, 3, 8, 7)), r"broadcast to \(2, 3, 8, 8\), but got torch\.float32 \(2, 3, 8, 7\)"),
        (Explanation(torch.zeros(1, 3, 8, 8)), r"got torch\.float32 \(1, 3, 8, 8\)\. .*; return a map of each sample"),
        (Explanation(torch.zeros(2, 3, 8, 8).long()), r"but got torch\.int64 \(2, 3, 8, 8\)"),
        (Explanation(np.zeros((2, 3, 8, 8))), r"but got ndarray\. Gives gave them; return torch\.from_numpy\(maps\)"),
    ],
)
def test_a_method_that_returns_no_maps_is_named(returned, said):
    @dataclass(frozen=True, kw_only=True)
    class Gives(Method):
        def _explain(self, model, inputs, targets):
            return returned

    with pytest.raises(MapsError, match=said):
        Gives()(cnn(), IMAGES, TARGETS)


NO_INPUTS = {
    "sparse": (torch.eye(2).to_sparse(), r"dense inputs, but got a torch\.sparse_coo tensor; use inputs\.to_dense\(\)"),
    "complex": (
        torch.ones(2, 2, dtype=torch.complex64),
        r"got torch\.complex64; give real and imaginary parts as channels",
    ),
    "half": (torch.ones(2, 2).half(), r"but got torch\.float16; call \.float\(\) on inputs and model"),
    "bfloat16": (torch.ones(2, 2).bfloat16(), r"torch\.bfloat16; call \.float\(\)"),
    "bytes": (
        torch.ones(2, 2).byte(),
        r"torch\.uint8; scale integer images as in training, for example images\.float\(\) / 255",
    ),
    "ids": (
        torch.ones(2, 2).long(),
        r"torch\.int64; token ids have no derivative: explain what an embedding makes of them",
    ),
    "int32": (torch.ones(2, 2).int(), r"torch\.int32; token ids have no derivative"),
    "bool": (torch.ones(2, 2).bool(), r"torch\.bool; use inputs\.float\(\)"),
    "one row": (torch.ones(2), r"with at least one sample, but got \(2,\); one sample alone is inputs\[None\]"),
    "none": (torch.ones(0, 2), r"at least one sample, but got \(0, 2\)\."),
    "a scalar": (torch.tensor(1.0), r"at least one sample, but got \(\)\."),
    "numpy": (np.ones((2, 2)), r"but got ndarray; use torch\.from_numpy\(inputs\), in float32"),
    "a dict": (
        {"input_ids": torch.ones(2, 2)},
        r"but got dict; explain one float tensor.*Bound\(model, at=…, given=…\)",
    ),
    "a list": ([torch.ones(2), torch.ones(2)], r"but got list; stack samples, torch\.stack\(inputs\)"),
    "without values": (torch.ones(2, 2, device="meta"), "inputs with values, but got a tensor on the meta device"),
}


@pytest.mark.parametrize("kind", NO_INPUTS)
@pytest.mark.parametrize("name", ["gradient", "occlusion", "lrp-epsilon", "random", "smoothgrad", "cgi"])
def test_inputs_that_no_method_can_work_with(name, kind):
    inputs, said = NO_INPUTS[kind]
    with pytest.raises(InputError, match=said):
        METHODS.get(name)(nn.Linear(2, 3).eval(), inputs, TARGETS)


def test_nested_and_quantized_inputs():
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(InputError, match=r"got a nested tensor; use torch\.nested\.to_padded_tensor\(inputs, 0\)"):
        check_inputs(nn.Linear(2, 3), nested)
    large = torch.full((2, 2), 3e38)
    check_inputs(nn.Linear(2, 3), large)  # its sum is infinite, and no term of it is


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (1, r"but got 1 \(int\); use torch\.full\(\(2,\), 1\)"),
        ([0, 1], r"but got list; use torch\.tensor\(targets\)"),
        (torch.tensor([0.0, 1.0]), r"but got \(2,\) of torch\.float32; use targets\.long\(\)"),
        (torch.eye(2), r"of torch\.float32; of one-hot rows or scores use targets\.argmax\(1\)"),
        (torch.tensor([0]), r"but got \(1,\) of torch\.int64; if the inputs are one sample alone, use inputs\[None\]"),
        (torch.tensor([0, -1]), r"targets of 0 or more, the number of an output, but got -1\."),
        (None, r"but got NoneType\."),
    ],
)
def test_targets_that_name_no_output(targets, said):
    with pytest.raises(InputError, match=said):
        check_targets(torch.rand(2, 2), targets)


def test_networks_that_are_not_ready():
    with pytest.raises(InputError, match="'weight' has none yet; run the model once before"):
        Gradient()(nn.LazyLinear(3).eval(), torch.rand(2, 2), TARGETS)
    with pytest.raises(InputError, match="a model in eval mode"):
        Gradient()(cnn().train(), IMAGES, TARGETS)


def test_exported_programs_need_no_mode():
    network = cnn()
    program = torch.export.export(network, (IMAGES,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
    assert program.training
    check_model(program)
    torch.testing.assert_close(Gradient()(program, IMAGES, TARGETS), Gradient()(network, IMAGES, TARGETS))
    check_model(Bound(program))


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make
        self.eval()

    def forward(self, x):
        return self.make(x)


class Result:
    def __init__(self, x):
        self.scores, self.hidden = x, (x, x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: (x, x[:, :1]), r"got tuple; .*Bound\(model, output=0\)\. It holds 0: \(2, 3\), 1: \(2, 1\)"),
        (lambda x: ([x], x), r"got tuple; .*output=1\)\. It holds 0: list, 1: \(2, 3\)"),
        (lambda x: [x[None], x], r"got list; .*output=1\)"),
        (
            lambda x: {"loss": x.sum(), "scores": x},
            r"got dict; .*output='scores'\)\. It holds 'loss': \(\), 'scores': \(2, 3\)",
        ),
        (lambda x: {"pooled": x, "logits": x}, r"got dict; .*output='logits'\)"),
        (lambda x: {"a": 1}, r"got dict; .*output=lambda out: …\)\. It holds 'a': int"),
        (Result, r"got Result; .*output='scores'\)\. It holds 'scores': \(2, 3\), 'hidden': tuple"),
        (lambda x: torch.return_types.max((x, x)), r"got max; .*output="),
        (lambda x: None, r"got NoneType; .*It holds nothing that has a name"),
    ],
)
def test_what_a_model_returns_is_named(make, said):
    with pytest.raises(InputError, match=said):
        forward(Returns(make), torch.rand(2, 3))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "logits",
            r"Expected 'logits' in what the model returns, but its dict has none; it has 'scores': \(2, 3\): out",
        ),
        (3, r"Expected 3 \(int\) in what the model returns, but its dict has none"),
        (
            lambda out: out["x"],
            r"Expected output in what the model returns, but the callable raised KeyError: 'x' on its dict",
        ),
    ],
)
def test_an_output_that_is_not_there(output, said):
    with pytest.raises(InputError, match=said):
        forward(Bound(Returns(lambda x: {"scores": x}), output=output), torch.rand(2, 3))


def test_a_tensor_needs_no_output():
    with pytest.raises(InputError, match=r"its Tensor has none of shape \(2, 3\): it needs no `output`"):
        forward(Bound(Returns(lambda x: x), output="logits"), torch.rand(2, 3))


@pytest.mark.parametrize(
    ("size", "said"),
    [(["--resize", "40", "--crop", "32"], "takes 196 features, but these inputs make 36"), ([], "Channels|channels")],
)
def test_the_command_line_says_it_in_one_sentence(size, said, tmp_path, monkeypatch, capsys):
    from PIL import Image

    (tmp_path / "doors.py").write_text(
        "from torch import nn\n"
        "def small(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(9), nn.Flatten(), nn.Linear(196, 3))\n"
        "def gray(): return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 3))\n"
    )
    Image.new("RGB", (256, 300)).save(tmp_path / "in.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    network = "doors:small" if size else "doors:gray"
    monkeypatch.setattr("sys.argv", ["heatproof", "explain", network, "in.png", "--method", "gradient", *size])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "Error: Expected inputs that the model runs on" in shown
    assert any(word in shown for word in said.split("|"))
    assert "Traceback" not in shown


def test_a_broken_plug_in_is_a_warning_of_the_command_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HEATPROOF_CACHE", str(tmp_path))  # a list that was kept knows nothing of it

    class Broken:
        name, value = "kitchen", "kitchen.module"

        def load(self):
            raise ImportError("no eggs")

    monkeypatch.setattr("heatproof.registry.entry_points", lambda group: [Broken()] if "methods" in group else [])
    monkeypatch.setattr(METHODS, "_complete", False)
    monkeypatch.setattr(METHODS, "_broken", {})
    monkeypatch.setattr("sys.argv", ["heatproof", "methods"])
    formatted = cli._as_a_sentence
    with pytest.warns(UserWarning, match="plug-in 'kitchen'") as caught, pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 0
    assert "gradient" in capsys.readouterr().out
    said = formatted(caught[0].message, caught[0].category, "file.py", 1)
    assert said.startswith("Warning: Expected plug-in 'kitchen' (kitchen.module) to add its methods")
    assert len(said.splitlines()) == 1


def test_the_doors_checks_are_paid_once_a_model():
    passes = []
    model = cnn()
    model.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(10):
        Gradient()(model, IMAGES, TARGETS)
    assert len(passes) == 3 + 10


def test_an_audits_door_takes_at_most_five_passes(tmp_path, monkeypatch):
    passes = []
    model = cnn()
    model.register_forward_hook(lambda _module, inputs, _out: passes.append(len(inputs[0])))
    entered = []
    enter = door.enter

    def counting(*arguments, **more):
        before = len(passes)
        found = enter(*arguments, **more)
        entered.extend(passes[before:])
        return found

    monkeypatch.setattr(door, "enter", counting)
    audit(model, IMAGES, TARGETS, methods=["gradient", "occlusion"], checks=["completeness"], out=tmp_path / "run")
    assert entered == [2, 1, 2]
