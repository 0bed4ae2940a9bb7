"""Networks as users hold them: compiled, exported for one batch, with hooks left on them, with a fused encoder."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.export import export, unflatten

from heatproof.errors import HeatproofError, InputError
from heatproof.methods import METHODS
from heatproof.models import Bound, forward

GRADIENTS = ("gradient", "gradient-x-input", "saliency", "integrated-gradients", "smoothgrad", "guided-backprop", "cgi")
RULES = ("guided-backprop", "deconvnet", "lrp-epsilon", "lrp-epsilon-plus", "clrp", "deep-taylor", "deeplift")


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Flatten(), nn.Linear(64, 3)
        return nn.Sequential(*layers).eval()


X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 2])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_has_the_maps_of_its_own(backend):
    plain = network()
    compiled = torch.compile(plain, backend=backend)
    for name in {*GRADIENTS, *RULES, "occlusion"}:
        torch.testing.assert_close(METHODS.get(name)(compiled, X, TARGETS), METHODS.get(name)(plain, X, TARGETS))
    outputs, pull = METHODS.get("gradient").linearize(compiled, X)
    assert torch.equal(pull(torch.eye(3)[TARGETS]), pull(torch.eye(3)[TARGETS]))  # a graph that is pulled twice
    torch.testing.assert_close(outputs, plain(X).detach())


def test_a_batch_norm_of_an_exported_network_is_derived_soundly():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.first, self.norm, self.head = nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4), nn.Linear(4, 3)
            nn.init.uniform_(self.norm.running_var, 0.5, 2.0)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.first(x))).transpose(1, 2) ** 2).sum(1)

    model, x = Turned().eval(), torch.randn(1, 3, 50, generator=torch.Generator().manual_seed(2))
    with warnings.catch_warnings(action="ignore"):
        program = export(model, (x,))
        forms = [program.module(), program.run_decompositions().module()]
    expected = METHODS.get("gradient")(copy.deepcopy(model).double(), x.double(), TARGETS[:1]).float()
    for form in (model, *forms):
        for module in form.modules():
            module.training = False
        torch.testing.assert_close(METHODS.get("gradient")(form, x, TARGETS[:1]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gradient", "lrp-epsilon", "occlusion"])
def test_a_program_for_one_batch_says_how_to_export_it(name):
    with warnings.catch_warnings(action="ignore"):
        program = export(network(), (X,))
        forms = program.module(), unflatten(program)
    for form in forms:
        for module in form.modules():
            module.training = False
        with pytest.raises(InputError, match=r"exported for batches of 2 and got 1; export it with a dynamic batch"):
            METHODS.get(name)(form, X[:1], TARGETS[:1])


def leave(model, kind):
    if kind == "full":
        return model[1].register_full_backward_hook(lambda module, given, got: None)
    if kind == "before":
        return model[1].register_full_backward_pre_hook(lambda module, got: None)
    return nn.modules.module.register_module_full_backward_hook(lambda module, given, got: None)


@pytest.mark.parametrize("kind", ["full", "before", "global"])
@pytest.mark.parametrize("name", sorted({*GRADIENTS, *RULES, "meaningful-perturbation"}))
def test_full_backward_hooks_that_were_left_are_named(name, kind):
    model = network()
    handle = leave(model, kind)
    named = "every module" if kind == "global" else r"'1' \(BatchNorm2d\)"
    try:
        with pytest.raises(HeatproofError, match=f"without full backward hooks, but {named}.* remove them"):
            METHODS.get(name)(model, X, TARGETS)
    finally:
        handle.remove()
    assert METHODS.get(name)(model, X, TARGETS).isfinite().all()


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.embedding, self.head = nn.Embedding(10, 8), nn.Linear(8, 3)
            self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids, mask):
        return self.head(self.encoder(self.embedding(ids), src_key_padding_mask=mask)[:, 0])


@pytest.mark.parametrize("at", ["embedding", "encoder.layers.0", "encoder.layers.1", "encoder"])
def test_a_transformer_encoders_fused_way_is_not_taken(at):
    model = Encoder().eval()
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[1, 3:] = True
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
    bound = Bound(model, at=at, given={"ids": ids, "mask": mask})
    inputs = bound.inputs()
    assert inputs.shape == (2, 5, 8)
    expected = model(ids, mask)  # with a graph, and so layer by layer
    torch.testing.assert_close(forward(bound, inputs), expected)
    with torch.no_grad():
        torch.testing.assert_close(forward(bound, inputs), expected)
    for name in ("gradient-x-input", "lrp-epsilon", "occlusion"):
        maps = METHODS.get(name)(bound, inputs, TARGETS)
        assert maps.isfinite().all()
        assert maps[1, 0].any()
        if at == "embedding":
            assert not maps[1, 3:].any()  # nobody attends to padding
    assert torch.backends.mha.get_fastpath_enabled()
