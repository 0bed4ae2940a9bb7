"""A map is held to itself where nothing happened."""

import pickle

import check_toys as toys
import pandas as pd
import pytest
import torch
from torch import nn

import heatproof as hp
import reference.checks as slow
from heatproof.checks import Steadiness
from heatproof.checks.nearby import FARTHEST, Ball, Nudge, moved, outputs_of
from heatproof.checks.steadiness import Nudged
from heatproof.checks.swapping import tensors_of
from heatproof.errors import InputError
from heatproof.features import Pixels
from heatproof.methods import Gradient, GradientXInput, SmoothGrad
from heatproof.methods.base import Explanation, Method
from heatproof.recipes import describe
from heatproof.testing.waits import waits


def test_the_change_is_that_of_the_formula_and_is_undone_bit_for_bit():
    """θ (1 + ε z), ε = level/√K, z keyed by seed and name; buffers stay."""
    model = toys.network()
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    weights = sum(parameter.dim() > 1 for parameter in model.parameters())
    with Nudged(0.01, 3)(model):
        for name, parameter in model.named_parameters():
            stream = hp.draws.generator(3, "steadiness", name)
            noise = torch.randn(parameter.shape, generator=stream).to(parameter)
            assert torch.equal(parameter, before[name] * (1 + 0.01 / weights**0.5 * noise))
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer, before[name])
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_it_is_undone_where_something_fails_inside():
    model = toys.network()
    before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    with pytest.raises(RuntimeError, match="no luck"), Nudged(0.01, 0)(model):
        raise RuntimeError("no luck")
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_other_weights_are_put_in_and_taken_out_without_a_look_at_what_was_there():
    class Repeated(nn.Module):
        """A network with a buffer that cannot be written to, one number in several places."""

        def __init__(self):
            super().__init__()
            self.net = toys.network()
            self.register_buffer("shift", torch.tensor([0.5]).expand(3))

        def forward(self, x):
            return self.net(x) + self.shift.sum()

    for model, looks in ((toys.network(), 0), (Repeated(), 2)):  # of that buffer, on each way
        before = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
        with waits() as seen, Nudged(0.01, 0)(model):
            assert not torch.equal(next(model.parameters()), next(iter(before.values())))
        found = sum(count for place, count in seen.items() if place.startswith("checks/swapping.py"))
        assert found == sum(seen.values()) - 1 == looks  # and one of the test's own
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(model).items())


def test_how_far_outputs_moved_is_against_their_spread():
    reference = torch.tensor([[0.0, 1.0, 2.0], [0.0, 10.0, 20.0]], dtype=torch.float64)
    assert moved(reference + 0.1, reference).tolist() == pytest.approx([0.1, 0.01])
    one = torch.tensor([[1.0], [3.0]], dtype=torch.float64)  # one output: over samples, √2
    assert moved(one + 0.1, one).tolist() == pytest.approx([0.1 / 2**0.5] * 2)


class Hashed(Method):
    """Noise that depends on the weights, whatever they are."""

    def _explain(self, model, inputs, targets):
        key = str([float(p.detach().sum()) for p in model.parameters()])
        return Explanation(hp.draws.normal(inputs, key))


def test_what_is_keyed_by_the_weights_jumps_and_a_gradient_stays():
    methods = {"hashed": Hashed(), "gradient": hp.methods.Gradient(), "edges": hp.methods.EdgeDetector()}
    rows = toys.played(Steadiness(similarities=("spearman",), seeds=(0, 1), draws=0), methods=methods)
    for seed in (0, 1):
        similar = {name: toys.row(rows, name, "spearman", "parameters", seed=seed) for name in methods}
        assert similar["hashed"].abs().max() < 0.4  # 4 standard errors of some hundred features
        assert similar["gradient"].min() > 0.9
        assert torch.equal(similar["edges"], torch.ones(3, dtype=torch.float64))
        far = toys.row(rows, "", "outputs-moved", "parameters", seed=seed)
        assert 0.001 < float(far.mean()) < 0.05


def test_chance_is_the_map_permuted_among_what_a_random_network_changes():
    rows = toys.played(
        Steadiness(similarities=("spearman",), seeds=(0,), draws=0), methods={"gradient": hp.methods.Gradient()}
    )
    chance = toys.row(rows, "gradient", "spearman", "parameters chance")
    assert chance.abs().max() < 0.4


# --- inputs ---


def test_each_sample_goes_as_far_as_moves_its_outputs_by_the_level():
    model, inputs = toys.network(), toys.images(5)
    inputs[:, :, 2:4] = 0.0
    nudge = Nudge(0.001, 3)
    changed = nudge(model, inputs)
    far = moved(outputs_of(model, changed), outputs_of(model, inputs))
    assert far.tolist() == pytest.approx([0.001] * 5, rel=0.02)
    # x (1 + ε z), one ε a sample, z keyed by seed and sample
    noise = hp.draws.normal(inputs, 3, "steadiness", "inputs")
    relative = ((changed - inputs) / (inputs * noise)).flatten(1)
    size = relative.nan_to_num(0.0).amax(1)
    assert torch.allclose(changed, inputs * (1 + size.view(-1, 1, 1, 1) * noise))
    assert torch.equal(changed[:, :, 2:4], inputs[:, :, 2:4])  # what is zero stays zero
    alone = nudge(model, inputs[1:2])
    assert torch.allclose(alone, changed[1:2])
    assert not torch.allclose(Nudge(0.001, 4)(model, inputs), changed)


def test_outputs_that_nothing_moves_do_not_send_a_sample_far():
    class Still(nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 2.0]], dtype=x.dtype).expand(len(x), 2) + 0 * x.flatten(1)[:, :2]

    inputs = toys.images()
    noise = hp.draws.normal(inputs, 0, "steadiness", "inputs")
    assert torch.allclose(Nudge(0.01, 0)(Still(), inputs), inputs * (1 + FARTHEST * noise))


class Keyed(Method):
    """Noise that is keyed by the sample: the same on another network, and where the sample hardly changes."""

    def _explain(self, model, inputs, targets):
        return Explanation(hp.draws.normal(inputs, "keyed"))


class Digested(Method):
    """Noise keyed by the values that it gets: it jumps where they change at all."""

    def _explain(self, model, inputs, targets):
        streams = [hp.draws.generator(str(row.tolist())) for row in inputs]
        return Explanation(torch.stack([torch.randn(inputs.shape[1:], generator=stream) for stream in streams]))


def test_inputs_are_compared_under_the_draws_of_the_unchanged_sample():
    methods = {"keyed": Keyed(), "digested": Digested(), "gradient": Gradient()}
    check = Steadiness(level=0.001, similarities=("spearman",), seeds=(0, 1), draws=0)
    rows = toys.played(check, methods=methods)
    for seed in (0, 1):
        similar = {name: toys.row(rows, name, "spearman", "inputs", seed=seed) for name in methods}
        assert torch.equal(similar["keyed"], torch.ones(3, dtype=torch.float64))
        assert similar["digested"].abs().max() < 0.5
        assert similar["gradient"].min() > 0.8
        assert toys.row(rows, "", "outputs-moved", "inputs", seed=seed).tolist() == pytest.approx([0.001] * 3, rel=0.02)
    assert not any(row.setting == "ball" for row in rows)
    assert toys.row(rows, "digested", "spearman", "parameters").tolist() == [1.0] * 3


def test_an_audit_gives_the_rows_that_the_check_gives_by_hand(tmp_path):
    check = Steadiness(similarities=("spearman",), seeds=(0,), draws=2)
    methods = {"smooth": SmoothGrad(GradientXInput(), samples=3), "keyed": Keyed()}
    run = hp.audit(
        toys.network(), toys.images(), torch.arange(3), methods=methods, checks={"s": check}, out=tmp_path,
        progress=False, features=Pixels(),
    )  # fmt: skip
    expected = toys.played(check, methods=methods, features=Pixels())
    rows = run.rows().set_index(["method", "setting", "position", "seed", "metric"]).sort_index()
    for row, values in expected.items():
        assert rows.loc[[tuple(row)]].sort_values("sample")["value"].tolist() == pytest.approx(values.tolist())
    # and the summary beside them, of all draws
    for name in methods:
        drawn = [expected[type(row)(name, "ball", 0.0, k, "sensitivity")] for k in (0, 1)]
        most = rows.loc[[(name, "ball", 0.0, 0, "max-sensitivity")]].sort_values("sample")["value"]
        assert most.tolist() == pytest.approx(torch.stack(drawn).amax(0).tolist())
    found = run.findings()
    shown = found[(found["metric"] == "max-sensitivity") & (found["method"] == "smooth")].iloc[0]
    assert (shown["answer"], shown["n"], shown["question"]) == ("", 3, "steady")


# --- max-sensitivity ---


def drawn(check, method, model, inputs, targets):
    """Maps (draws, N, H, W) in the ball, and those of the samples, (N, H, W)."""
    there = [method(model, Ball(check.radius, k)(model, inputs), targets).sum(1) for k in range(check.draws)]
    return torch.stack(there), method(model, inputs, targets).sum(1)


def test_max_sensitivity_is_what_scalar_loops_give():
    model, inputs, targets = toys.network(), toys.images(), torch.arange(3)
    check = Steadiness(seeds=(0,), radius=0.3, draws=4, similarities=("mse",))
    rows = toys.played(check, methods={"m": GradientXInput()})
    maps, trained = drawn(check, GradientXInput(), model, inputs, targets)
    got = torch.stack([toys.row(rows, "m", "sensitivity", "ball", seed=k) for k in range(4)]).amax(0)
    for i in range(3):
        assert got[i] == pytest.approx(slow.max_sensitivity(maps[:, i].tolist(), trained[i].tolist()), rel=1e-12)


def test_of_linear_models_it_is_known():
    """Φ = w ⊙ x: r ‖w ⊙ u‖ / ‖w ⊙ x‖, and 0 for the gradient, which is w everywhere."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 4)).double().eval()
    inputs, targets = toys.images()[:, :1], torch.arange(3)
    check = Steadiness(seeds=(0,), radius=0.5, draws=1, similarities=("mse",))
    methods = {"gradient": Gradient(), "product": GradientXInput()}
    rows = toys.played(check, model=model, inputs=inputs, targets=targets, methods=methods)
    assert toys.row(rows, "gradient", "sensitivity", "ball").tolist() == [0.0] * 3
    u, w = hp.draws.uniform(inputs, 0, "steadiness", "ball").flatten(1), model[1].weight[targets]
    expected = 0.5 * (w * u).norm(dim=1) / (w * inputs.flatten(1)).norm(dim=1)
    assert toys.row(rows, "product", "sensitivity", "ball").tolist() == pytest.approx(expected.tolist())


def test_captums_sensitivity_max_agrees():
    metrics = pytest.importorskip("captum.metrics")
    model, inputs = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 4)), toys.images()[:, :1]
    model, targets, check = model.double().eval(), torch.arange(3), Steadiness(radius=0.1, draws=5, seeds=(0,))
    near = torch.stack([Ball(0.1, k)(model, inputs) for k in range(5)], dim=1).flatten(0, 1)  # as Captum repeats them

    def explain(x, target):
        return (GradientXInput()(model, x[0] if isinstance(x, tuple) else x, target),)

    theirs = metrics.sensitivity_max(
        explain, inputs, perturb_func=lambda _: near, n_perturb_samples=5, target=targets, norm_ord=2
    )
    rows = toys.played(check, model=model, inputs=inputs, targets=targets, methods={"m": GradientXInput()})
    ours = torch.stack([toys.row(rows, "m", "sensitivity", "ball", seed=k) for k in range(5)]).amax(0)
    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-6)


def test_the_maximum_is_said_where_all_draws_are_there():
    rows = pd.DataFrame(
        [("m", "a", 0.1), ("m", "a", 0.4), ("m", "b", 0.2), ("n", "a", float("nan")), ("n", "a", float("nan"))],
        columns=["method", "sample", "value"],
    )
    found = Steadiness(draws=2).summary(rows)
    assert found[["method", "sample"]].values.tolist() == [["m", "a"], ["n", "a"]]
    assert found["value"].tolist() == pytest.approx([0.4, float("nan")], nan_ok=True)
    assert set(found["metric"]) == {"max-sensitivity"}
    assert Steadiness(draws=3).summary(rows) is None


def test_settings_are_refused_by_name():
    with pytest.raises(InputError, match=r"share of the outputs' spread, in \(0, 1\), but got 0"):
        Steadiness(level=0.0)
    with pytest.raises(InputError, match="one or more different seeds"):
        Steadiness(seeds=(1, 1))
    with pytest.raises(InputError, match="a radius above 0 and no or more draws, but got 0 and 10"):
        Steadiness(radius=0)
    check = Steadiness(seeds=(4,), similarities=("mse",))
    assert pickle.loads(pickle.dumps(check)) == check
    assert describe(check)["seeds"] == [4]
