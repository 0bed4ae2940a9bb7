"""Grad-CAM and LRP in settings that users of Captum and Zennit know: against these, or against closed forms."""

import captum.attr
import pytest
import torch
from method_networks import cnn, images
from torch import nn

from heatproof import InputError
from heatproof.errors import OperationError, UnknownNameError
from heatproof.methods import (
    LRP,
    GradCAM,
    Gradient,
)
from heatproof.models import Bound, forward
from heatproof.propagation.composites import COMPOSITES, Composite
from heatproof.propagation.rules import AlphaBeta, Epsilon, Gamma, Pass, z_plus
from heatproof.targets import Index

Y = torch.tensor([4, 0, 2])
X = images()


class TestGradCAM:
    net = (
        nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 5),
        )
        .double()
        .eval()
    )

    @pytest.mark.parametrize("relu", [True, False])
    def test_in_the_size_of_its_layer(self, relu: bool) -> None:
        net = cnn()
        theirs = captum.attr.LayerGradCam(net, net[1]).attribute(X, target=Y, relu_attributions=relu)
        found = GradCAM(layer="1", relu=relu).in_layer(net, X, Y)
        torch.testing.assert_close(found, theirs[:, 0].detach())
        assert bool((found < 0).any()) is not relu

    def test_without_the_relu_it_is_linear_over_labels(self) -> None:
        method = GradCAM(layer="3", relu=False)
        assert method.linear
        _, pull = method.linearize(self.net, X)
        one, other = torch.eye(5).double()[[0, 0, 1]], torch.eye(5).double()[[3, 2, 2]]
        torch.testing.assert_close(pull(one + other), pull(one) + pull(other))

    def test_of_several_layers_it_is_the_mean(self) -> None:
        both = GradCAM(layer=("1", "3"))(self.net, X, Y)
        each = [GradCAM(layer=name)(self.net, X, Y) for name in ("1", "3")]
        torch.testing.assert_close(both, torch.stack(each).mean(0))
        with pytest.raises(InputError, match=r"Expected one layer, whose size the map has"):
            GradCAM(layer=("1", "3")).in_layer(self.net, X, Y)
        with pytest.raises(InputError, match="names of one layer or more"):
            GradCAM(layer=())


def test_a_neuron_at_a_position() -> None:
    net = cnn()
    target = Index((3, 2, 5), labels=0)
    found = Gradient()(Bound(net, layer="0", reduction="none"), X, target)
    theirs = captum.attr.NeuronGradient(net, net[0]).attribute(X.clone().requires_grad_(), (3, 2, 5))
    torch.testing.assert_close(found, theirs)


class TestRules:
    def test_a_rule_for_a_named_layer(self) -> None:
        net = TestGradCAM.net
        everywhere = LRP(composite=Composite(convolution=Gamma(), dense=Epsilon()))(net, X, Y)
        named = Composite(convolution=z_plus(), dense=Epsilon(), layers={"0": Gamma(), "2": Gamma()})
        assert torch.equal(LRP(composite=named)(net, X, Y), everywhere)
        one = LRP(composite=Composite(convolution=z_plus(), dense=Epsilon(), layers={"2": Gamma()}))(net, X, Y)
        assert not torch.allclose(one, everywhere)
        assert not torch.allclose(one, LRP(composite=COMPOSITES["epsilon-plus"])(net, X, Y))

    def test_it_comes_before_the_rule_of_the_first_layer(self) -> None:
        net = TestGradCAM.net
        flat = COMPOSITES["epsilon-plus-flat"]
        named = Composite(convolution=flat.convolution, dense=flat.dense, first=flat.first, layers={"0": z_plus()})
        assert torch.equal(LRP(composite=named)(net, X, Y), LRP(composite="epsilon-plus")(net, X, Y))

    def test_it_stays_where_a_batch_norm_is_folded(self) -> None:
        torch.manual_seed(0)
        net = (
            nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
            .double()
            .eval()
        )
        with torch.no_grad():
            net[1].running_mean.normal_()
            net[1].weight.uniform_(0.5, 2)
        everywhere = LRP(composite=Composite(convolution=Gamma(), dense=Epsilon()))(net, X, Y)
        named = LRP(composite=Composite(convolution=Epsilon(), dense=Epsilon(), layers={"0": Gamma()}))(net, X, Y)
        torch.testing.assert_close(named, everywhere)

    def test_inside_a_bound(self) -> None:
        net = TestGradCAM.net
        named = LRP(composite=Composite(convolution=z_plus(), dense=Epsilon(), layers={"2": Gamma()}))
        assert torch.equal(named(Bound(net, preprocessing=lambda x: x * 1), X, Y), named(net, X, Y))

    def test_relevance_goes_through_a_layer_as_it_is(self) -> None:
        """(x, then a square layer, then a sum with weights): R of the square layer's outputs stands at its inputs."""
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).double().eval()
        x = torch.rand(2, 3, dtype=torch.float64)
        y = torch.tensor([0, 1])
        found = LRP(composite=Composite(convolution=Epsilon(), dense=Epsilon(epsilon=0.0), layers={"0": Pass()}))(
            net, x, y
        )
        torch.testing.assert_close(found, (net[1].weight[y] * net[0](x)).detach())

    def test_epsilon_with_the_bias_ignored(self) -> None:
        torch.manual_seed(0)
        net, x, y = nn.Linear(3, 2).double().eval(), torch.rand(2, 3, dtype=torch.float64), torch.tensor([1, 0])
        contributions = net.weight[y].detach() * x
        score = forward(net, x).gather(1, y[:, None]).detach()
        for epsilon in (0.0, 1e-9):
            rule = Epsilon(epsilon=epsilon, bias="ignored")
            found = LRP(composite=Composite(convolution=rule, dense=rule))(net, x, y)
            torch.testing.assert_close(found, contributions / contributions.sum(1, keepdim=True) * score)
            torch.testing.assert_close(found.sum(1), score[:, 0])

    def test_errors(self) -> None:
        net = TestGradCAM.net
        with pytest.raises(UnknownNameError, match="layer of Sequential, but got '9'"):
            LRP(composite=Composite(convolution=z_plus(), dense=Epsilon(), layers={"9": Gamma()}))(net, X, Y)
        with pytest.raises(
            OperationError, match="Expected linear operations in '1', which have a rule of their own, but"
        ):
            LRP(composite=Composite(convolution=z_plus(), dense=Epsilon(), layers={"1": Gamma()}))(net, X, Y)
        with pytest.raises(
            OperationError, match=r"outputs have the shape of its inputs for the rule Pass\(\), but it takes"
        ):
            LRP(composite=Composite(convolution=z_plus(), dense=Epsilon(), layers={"5": Pass()}))(net, X, Y)
        with pytest.raises(InputError, match=r"a rule such as Gamma\(\) for each named layer, but got 'gamma' for '0'"):
            Composite(convolution=z_plus(), dense=Epsilon(), layers={"0": "gamma"})  # type: ignore[dict-item]  # that is the point
        with pytest.raises(InputError, match="bias"):
            Epsilon(bias="half")

    def test_they_are_values(self) -> None:
        one, same = (Composite(convolution=z_plus(), dense=Epsilon(), layers={"0": AlphaBeta()}) for _ in range(2))
        assert (one, hash(LRP(composite=one))) == (same, hash(LRP(composite=same)))
        assert one.stabilized("absolute").by_name["0"].stabilizer == "absolute"
