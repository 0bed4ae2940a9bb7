"""Monotonicity and positive dominance on networks that can be reckoned by hand."""

import pytest
import torch
from torch import Tensor, nn

from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.methods import Gradient, GradientXInput
from heatproof.methods import get as method_named
from heatproof.models import Bound
from heatproof.papers.shortcomings.evidence import Counterexample
from heatproof.theory import dominance, monotonicity, positive_biases
from reference import theory as slow


def network(*, bias=True, dtype=torch.float64):
    stream = generator("theory network")
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, bias=bias), nn.ReLU(), nn.Flatten(), nn.Linear(75, 6, bias=bias), nn.ReLU(),
        nn.Linear(6, 4, bias=bias),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream) / parameter[0].numel() ** 0.5)
    return net.to(dtype).eval()


def images(count=6, dtype=torch.float64):
    return torch.rand(count, 2, 5, 5, generator=generator("theory images"), dtype=torch.float64).to(dtype)


class TestMonotonicity:
    @pytest.mark.parametrize("name", ["gradient-x-input", "lrp-alpha1-beta0", "lrp-epsilon-alpha2-beta1", "deeplift"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_what_is_proved_to_be_monotone_is(self, name, dtype):
        table = monotonicity(network(dtype=dtype), method_named(name), [images(dtype=dtype)])
        assert table["layer"].unique().tolist() == ["0", "3", "5"]
        assert table["share"].dropna().tolist() == [1.0] * table["share"].notna().sum()
        assert table["pairs"].sum() > 1000

    def test_share_of_the_plain_gradient_is_that_of_scalar_loops(self):
        # A dense layer of one neuron: R_i = w_i, so contributions and attributions are ordered differently.
        layer = nn.Linear(7, 1, bias=False).double().eval()
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[3.0, 1.0, 2.0, -1.0, 0.5, 4.0, 2.5]]))
        inputs = torch.tensor([[1.0, 5, 0.5, 2, 3, 0.1, 0], [2.0, 2, 2, 2, 2, 2, 2]], dtype=torch.float64)
        table = monotonicity(layer, Gradient(), [inputs])
        for i, row in enumerate(table.itertuples()):
            contributions = (layer.weight[0] * inputs[i]).tolist()
            assert (row.pairs, row.share) == slow.concordance(contributions, layer.weight[0].tolist())
        assert table["share"].tolist()[1] == 1.0
        assert 0 < table["share"].tolist()[0] < 1

    def test_a_neuron_that_does_not_fire_is_not_counted(self):
        layer = nn.Linear(3, 2).double().eval()
        with torch.no_grad():
            layer.bias.fill_(-100)
        (row,) = monotonicity(layer, GradientXInput(), [torch.ones(1, 3, dtype=torch.float64)]).itertuples()
        assert row.pairs == 0
        assert row.share != row.share  # NaN

    def test_batches_do_not_matter_and_inputs_are_drawn(self):
        whole = monotonicity(network(), Gradient(), [images()], inputs_a_neuron=10)
        parts = monotonicity(network(), Gradient(), [images()[:1], images()[1:]], inputs_a_neuron=10)
        order = ["position", "sample"]
        assert whole.sort_values(order, ignore_index=True).equals(parts.sort_values(order, ignore_index=True))
        assert whole["pairs"].max() == 45  # of 10 inputs


class TestDominance:
    def test_without_biases_every_layer_sums_to_the_score(self):
        net, inputs = network(bias=False), images()
        targets = net(inputs).argmax(1)
        table = dominance(net, GradientXInput(), [(inputs, targets)])
        assert table["layer"].unique().tolist() == ["0", "3", "5"]
        assert table["score"].tolist() == pytest.approx(net(inputs).amax(1).tolist() * 3)
        assert table["sum"].tolist() == pytest.approx(table["score"].tolist())
        assert table["conserved"].tolist() == pytest.approx([1.0] * 18)
        assert (table["sum"] > 0).all()

    def test_shares_are_those_of_the_layers_own_attribution(self):
        net, inputs = network(), images(2)
        targets = torch.tensor([1, 2])
        table = dominance(net, GradientXInput(), [(inputs, targets)])
        for i, row in enumerate(table[table["layer"] == "3"].itertuples()):
            hidden = net[:4](inputs[i : i + 1]).detach().requires_grad_()
            score = net[4:](hidden)[0, targets[i]]
            relevance = (hidden * torch.autograd.grad(score, hidden)[0]).flatten().tolist()
            assert row.sum == pytest.approx(sum(relevance))
            assert row.conserved == pytest.approx(sum(relevance) / score.item())
            expected = sum(r for r in relevance if r > 0) / sum(map(abs, relevance))
            assert row.positive == pytest.approx(expected)

    def test_a_score_left_to_negative_biases_makes_the_sum_negative(self):
        one = [(torch.ones(1, 1), torch.tensor([0]))]
        table = dominance(Counterexample(), GradientXInput(), one)
        assert table["score"].tolist() == pytest.approx([0.6] * 3, abs=1e-6)
        assert table.set_index("layer")["sum"].to_dict() == pytest.approx(
            {"read": -7.0, "hidden": 0.6, "score": 0.6}, abs=1e-5
        )

    def test_a_layer_that_runs_twice_is_left_out(self):
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.again, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
                self.eval()

            def forward(self, x: Tensor) -> Tensor:
                return self.last(self.again(self.again(x)))

        table = dominance(Twice(), GradientXInput(), [(torch.ones(1, 3), torch.tensor([0]))])
        assert table["layer"].tolist() == ["last"]

    def test_a_branch_is_left_out_and_a_layer_that_all_pass_is_not(self):
        class Branches(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.left, self.right = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
                self.inside, self.last = nn.Linear(8, 8), nn.Linear(8, 2)
                self.eval()

            def forward(self, x: Tensor) -> Tensor:
                h = self.stem(x)
                h = torch.cat([self.left(h), self.right(h)], 1)
                return self.last(h + self.inside(h.relu()))

        table = dominance(Branches(), GradientXInput(), [(torch.ones(1, 3), torch.tensor([0]))])
        assert table["layer"].tolist() == ["stem", "last"]

    def test_batches_do_not_matter(self):
        net, inputs, targets = network(), images(), torch.arange(6) % 4
        whole = dominance(net, GradientXInput(), [(inputs, targets)])
        parts = dominance(net, GradientXInput(), [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])])
        order = ["position", "sample"]
        whole, parts = (table.sort_values(order, ignore_index=True) for table in (whole, parts))
        assert whole.iloc[:, :3].equals(parts.iloc[:, :3])
        assert torch.allclose(*(torch.tensor(table.iloc[:, 3:].to_numpy()) for table in (whole, parts)), atol=1e-12)

    def test_a_bound_network_is_explained_up_to_its_layer(self):
        net, inputs, targets = network(), images(2), torch.tensor([1, 5])
        table = dominance(Bound(net, layer="3"), GradientXInput(), [(inputs, targets)])
        assert table["layer"].unique().tolist() == ["0"]  # not the explained layer, nor what runs after it
        below = table[table["layer"] == "0"]
        for i, row in enumerate(below.itertuples()):
            hidden = net[:1](inputs[i : i + 1]).detach().requires_grad_()
            score = net[1:4](hidden)[0, targets[i]]
            relevance = hidden * torch.autograd.grad(score, hidden)[0]
            assert row.score == pytest.approx(score.item())
            assert row.sum == pytest.approx(relevance.sum().item())

    def test_a_network_of_several_inputs_is_refused(self):
        with pytest.raises(InputError, match="Expected a network of one input, but got a Bound with `at`"):
            dominance(Bound(network(), at="0", given={"input": images()}), GradientXInput(), [])


def test_positive_biases_are_counted_layer_by_layer():
    net = network()
    with torch.no_grad():
        net[3].bias.copy_(torch.tensor([1.0, -1, 0, 2, -3, -1]))
    table = positive_biases(net).set_index("layer")
    assert table.loc["3"].to_dict() == {"biases": 6, "positive": pytest.approx(1 / 3)}
    assert positive_biases(network(bias=False))["positive"].tolist() == [0.0] * 3
