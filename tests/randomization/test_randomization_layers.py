"""Which parameters a model uses, and in which order."""

import pytest
import torch
import torchvision
from randomizable import Attending, Bare, Normed, Recurrent, Reused, Shuffled, Tied, mlp
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from heatproof.errors import InputError
from heatproof.models import Bound
from heatproof.randomization.layers import usage
from reference.randomization import order_by_hooks


def names(model: nn.Module, inputs: Tensor) -> list[str]:
    return [layer.name for layer in usage(model.eval(), inputs).layers]


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "densenet121", "mobilenet_v2"])
def test_the_order_of_real_networks_is_that_of_their_forwards(name: str) -> None:
    model = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    inputs = torch.randn(1, 3, 64, 64)
    found = usage(model, inputs)
    assert [layer.name for layer in found.layers] == order_by_hooks(model, inputs)
    assert found.unused == ()


def test_order_is_execution_order_where_registration_differs() -> None:
    assert names(Shuffled(), torch.randn(1, 4)) == ["a", "b", "c"]


def test_bare_functional_detached_and_transposed_parameters_are_found() -> None:
    found = usage(Bare().eval(), torch.randn(1, 4))
    owned = {layer.name: [weight.name for weight in layer.weights] for layer in found.layers}
    assert owned == {
        "(root)": ["token", "shift"],
        "inner": ["weight"],
        "kept": ["weight"],
        "head": ["weight", "bias"],
    }
    # `anchor` lends its dtype and device alone.
    assert set(found.unused) == {"dead.weight", "dead.bias", "anchor"}


def test_attention_projections_whose_forward_is_never_called_are_found() -> None:
    found = usage(Attending().eval(), torch.randn(1, 8))
    owned = {layer.name: {weight.name for weight in layer.weights} for layer in found.layers}
    assert owned == {
        "attention": {"in_proj_weight", "in_proj_bias"},
        "attention.out_proj": {"weight", "bias"},
        "norm": {"weight", "bias"},
        "head": {"weight", "bias"},
    }
    assert found.unused == ()


def test_every_parameter_of_a_vision_transformer_is_found() -> None:
    model = torchvision.models.VisionTransformer(16, 8, 2, 2, 16, 16, num_classes=3).eval()
    found = usage(model, torch.randn(1, 3, 16, 16))
    assert found.unused == ()
    count = sum(weight.tensor.numel() for layer in found.layers for weight in layer.weights)
    assert count == sum(parameter.numel() for parameter in model.parameters())
    first = [layer.name for layer in found.layers[:3]]
    assert first == ["conv_proj", "(root)", "encoder"]  # patches, class token, position embedding


def test_every_weight_of_a_recurrent_layer_is_found() -> None:
    model = Recurrent().eval()
    found = usage(model, torch.randn(1, 8))
    assert [layer.name for layer in found.layers] == ["lstm", "head"]
    assert [weight.name for weight in found.layers[0].weights] == [name for name, _ in model.lstm.named_parameters()]


def test_tied_parameters_are_one_weight() -> None:
    found = usage(Tied().eval(), torch.randn(1, 4))
    owned = {layer.name: [weight.name for weight in layer.weights] for layer in found.layers}
    assert owned == {"encode": ["weight", "bias"], "middle": ["weight", "bias"], "decode": ["bias"]}
    assert found.unused == ()
    encode, middle, decode = found.layers
    assert encode.first < middle.first < decode.first
    # The call of `decode` uses the weight of `encode`; the last matrix has the memory of `middle`.
    assert decode.first - 1 == encode.last < decode.last < middle.last


def test_a_layer_that_runs_twice_knows_its_first_and_last_use() -> None:
    a, b = usage(Reused().eval(), torch.randn(1, 4)).layers
    assert (a.name, b.name) == ("a", "b")
    assert a.first < b.first < b.last < a.last


def test_batch_norm_is_known_by_its_call() -> None:
    found = usage(Normed().eval(), torch.randn(1, 2, 8, 8))
    roles = {f"{layer.name}.{weight.name}": weight.role for layer in found.layers for weight in layer.weights}
    assert roles["(root).scale"] == "gamma"
    assert roles["(root).offset"] == "beta"
    assert roles["(root).mu"] == "mean"
    assert roles["(root).spread"] == "variance"
    assert roles["bn1.running_var"] == "variance"
    assert roles["conv1.weight"] is None
    assert "bn1.num_batches_tracked" not in roles


def test_a_frozen_batch_norm_is_known_by_its_buffers() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 1), torchvision.ops.FrozenBatchNorm2d(4), nn.Flatten()).eval()
    _, frozen = usage(model, torch.randn(1, 2, 2, 2)).layers
    assert {weight.name: weight.role for weight in frozen.weights} == {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "mean",
        "running_var": "variance",
    }


def test_originals_of_a_parametrized_weight_belong_to_its_layer() -> None:
    model = nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.Linear(4, 3)).eval()
    first, second = usage(model, torch.randn(1, 4)).layers
    assert (first.name, second.name) == ("0", "1")
    assert first.module is model[0]
    assert {weight.name for weight in first.weights} == {
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    }


def test_a_bound_network_has_the_names_of_the_network() -> None:
    net = mlp()
    bound = Bound(net, preprocessing=lambda x: x * 2)
    assert names(bound, torch.randn(1, 4)) == names(net, torch.randn(1, 4)) == ["0", "2", "4"]


class Reading(nn.Module):
    """Token embeddings, a linear map, a mean; with `tied` the last matrix is the embeddings'."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.embedding, self.body, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(ids)).relu().mean(1))


def test_a_layer_whose_output_is_the_input_is_not_used() -> None:
    ids = torch.tensor([[1, 2, 3]])
    bound = Bound(Reading(tied=False).eval(), at="embedding", given={"ids": ids})
    found = usage(bound, bound.inputs())
    assert [layer.name for layer in found.layers] == ["body", "head"]
    assert found.unused == ("embedding.weight",)
    tied = Bound(Reading(tied=True).eval(), at="embedding", given={"ids": ids})
    assert names(tied, tied.inputs()) == ["body", "embedding"]  # used as the last matrix
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tied.modules())


def test_layers_above_an_explained_layer_are_not_used() -> None:
    found = usage(Bound(mlp(), layer="2"), torch.randn(1, 4))
    assert [layer.name for layer in found.layers] == ["0", "2"]
    assert found.unused == ("4.weight", "4.bias")


def test_finding_the_layers_touches_neither_generator_nor_model() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x + torch.randn_like(x))

    model, state = Noisy().eval(), torch.get_rng_state()
    usage(model, torch.randn(1, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_torchscript_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Linear(4, 3))).eval()
    with pytest.raises(InputError, match=r"submodule '1' is a TorchScript module"):
        usage(model, torch.randn(1, 4))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_parameter_that_an_operation_hides_is_refused_by_name() -> None:
    @torch.jit.script
    def hidden(module_weight: list[Tensor], x: Tensor) -> Tensor:
        return x @ module_weight[0]

    weights = nn.Linear(4, 4, bias=False)

    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = weights, nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(hidden([self.inner.weight], x))

    with pytest.raises(InputError, match=r"inner\.weight changed the output inside an operation that hides it"):
        usage(Hiding().eval(), torch.randn(1, 4))


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(InputError, match="Expected a model that uses parameters, but Flatten uses none"):
        usage(nn.Flatten().eval(), torch.randn(1, 4))


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(InputError, match="training mode"):
        usage(nn.Linear(4, 3), torch.randn(1, 4))


def test_a_tensor_in_two_roles_of_a_batch_norm_is_refused() -> None:
    class Confused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = nn.Parameter(torch.randn(8))

        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.batch_norm(x, None, None, self.both[:4], self.both[4:], training=True)

    with pytest.raises(InputError, match="both gamma and beta"):
        usage(Confused().eval(), torch.randn(3, 4))
