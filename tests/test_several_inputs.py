"""Networks of several inputs: one of them by name, several together, what all samples share, and plain functions."""

import functools
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.features import Columns, Pixels, Tiles, Tokens
from heatproof.fingerprint import network_fingerprint
from heatproof.models import Bound, Shared, as_model, forward, select, with_given

G = torch.Generator().manual_seed(0)
IMAGE = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=G)
IDS = torch.randint(9, (3, 5), generator=G)
AGE = torch.rand(3, 2, dtype=torch.float64, generator=G)
Y = torch.tensor([2, 0, 1])


class Clinic(nn.Module):
    """A picture, a text and a table: three labels. Its biases are 0."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.eye = nn.Conv2d(1, 2, 3, bias=False)
            self.words = nn.Embedding(9, 3)
            self.join = nn.Linear(8 + 3 + 2, 6, bias=False)
            self.head = nn.Linear(6, 3, bias=False)
        self.double().eval()

    def forward(self, image: Tensor, ids: Tensor, age: Tensor, gain: float = 1.0, mask: Tensor | None = None) -> Tensor:
        seen = torch.relu(self.eye(image)).flatten(1)
        read = self.words(ids) if mask is None else self.words(ids) * mask[..., None]
        out: Tensor = self.head(torch.relu(self.join(torch.cat([seen, read.mean(1), age * gain], 1))))
        return out


def bound(at: Any, **given: Any) -> Bound:
    return Bound(Clinic(), at=at, given={"image": IMAGE, "ids": IDS, "age": AGE, **given})


class TestOneByName:
    @pytest.mark.parametrize(("at", "tensor"), [("image", IMAGE), ("age", AGE), ("words", None)])
    def test_the_explained_one_may_be_any(self, at: str, tensor: Tensor | None) -> None:
        model = bound(at)
        x = model.inputs()
        net = Clinic()
        assert torch.equal(x, net.words(IDS).detach() if tensor is None else tensor)
        assert torch.equal(forward(model, x), net(IMAGE, IDS, AGE))
        leaf = x.clone().requires_grad_()
        arguments = {"image": IMAGE, "age": AGE, "ids": IDS, **({at: leaf} if tensor is not None else {})}
        if tensor is None:
            net.words = nn.Sequential()  # type: ignore[assignment]  # what the embedding gave, as it is
            arguments["ids"] = leaf
        (expected,) = torch.autograd.grad(net(**arguments).gather(1, Y[:, None]).sum(), leaf)
        torch.testing.assert_close(hp.methods.Gradient()(model, x, Y), expected)

    def test_rows_name_the_sample_of_the_others(self) -> None:
        model = bound("age")
        rows = torch.tensor([2, 0, 2])
        expected = Clinic()(IMAGE[rows], IDS[rows], AGE[rows])
        torch.testing.assert_close(forward(model, AGE[rows], rows), expected)
        torch.testing.assert_close(forward(select(model, rows), AGE[rows]), expected)

    def test_it_need_not_be_among_the_given(self) -> None:
        model = Bound(Clinic(), at="age", given={"image": IMAGE, "ids": IDS})
        torch.testing.assert_close(forward(model, AGE), Clinic()(IMAGE, IDS, AGE))
        with pytest.raises(InputError, match=r"given\['age'\] to be filled in, as it is explained, but it is not"):
            model.inputs()

    def test_errors(self) -> None:
        with pytest.raises(InputError, match="submodule of Clinic, but got 'imag'"):
            bound("imag")
        with pytest.raises(InputError, match=r"argument of Clinic\.forward that has no default, but 'ids' is missing"):
            Bound(Clinic(), at="age", given={"image": IMAGE})


class TestSeveral:
    def test_they_lie_side_by_side(self) -> None:
        model = bound(["image", "words", "age"])
        x = model.inputs()
        assert x.shape == (3, 16 + 15 + 2)
        torch.testing.assert_close(forward(model, x), Clinic()(IMAGE, IDS, AGE))
        parts = model.parts(x)
        assert {name: tuple(part.shape) for name, part in parts.items()} == {
            "image": (3, 1, 4, 4), "words": (3, 5, 3), "age": (3, 2),
        }  # fmt: skip
        assert torch.equal(parts["image"], IMAGE)
        assert torch.equal(parts["words"], Clinic().words(IDS).detach())

    @pytest.mark.parametrize("names", [["image", "age"], ["words", "image", "age"]])
    @pytest.mark.parametrize("method", ["gradient", "gradient-x-input"])
    def test_the_map_of_each_is_the_map_of_it_alone(self, names: list[str], method: str) -> None:
        model, recipe = bound(names), hp.methods.get(method)
        parts = model.parts(recipe(model, model.inputs(), Y))
        for name in names:
            alone = bound(name)
            torch.testing.assert_close(parts[name], recipe(alone, alone.inputs(), Y))

    @pytest.mark.parametrize("name", ["lrp-epsilon", "deeplift"])
    def test_rules_are_complete_over_all(self, name: str) -> None:
        model = bound(["image", "words", "age"])
        x = model.inputs()
        maps = hp.methods.get(name)(model, x, Y)
        expected = forward(model, x).gather(1, Y[:, None])[:, 0].detach()  # S(0) = 0: there are no biases
        torch.testing.assert_close(maps.sum(1), expected, rtol=1e-5, atol=1e-7)
        parts = model.parts(maps)
        assert all(bool(part.any()) for part in parts.values())
        torch.testing.assert_close(
            sum(part.flatten(1).sum(1) for part in parts.values()), expected, rtol=1e-5, atol=1e-7
        )

    def test_an_embedding_that_enters_twice(self) -> None:
        """As T5's does, for what is read and for what is written."""

        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                with torch.random.fork_rng():
                    torch.manual_seed(0)
                    self.shared, self.head = nn.Embedding(9, 3), nn.Linear(6, 2, bias=False)
                self.double().eval()

            def forward(self, source: Tensor, target: Tensor) -> Tensor:
                read, written = self.shared(source).mean(1), self.shared(target).mean(1)
                out: Tensor = self.head(torch.cat([read, written], 1))
                return out

        net, target = Twice(), IDS[:, :2]
        model = Bound(net, at=["shared#1", "shared#2"], given={"source": IDS, "target": target})
        y = torch.tensor([0, 1, 1])
        x = model.inputs()
        parts = model.parts(hp.methods.get("lrp-epsilon")(model, x, y))
        weight = net.head.weight.detach()[y]
        expected = {
            "shared#1": net.shared(IDS).detach() * weight[:, None, :3] / 5,
            "shared#2": net.shared(target).detach() * weight[:, None, 3:] / 2,
        }
        for name, one in expected.items():
            torch.testing.assert_close(parts[name], one, rtol=1e-4, atol=1e-7)

    def test_what_counts_as_a_feature(self) -> None:
        model = bound(["image", "words", "age"])
        features, x = model.features(), model.inputs()
        assert features.each == (Pixels(), Tokens(), Columns())
        assert features.grid(x.shape[1:]) == (16 + 5 + 2,)
        pooled = features.pool(x, x.shape[1:])
        words = Clinic().words(IDS).detach()
        torch.testing.assert_close(pooled, torch.cat([IMAGE.flatten(1), words.sum(2), AGE], 1))
        chosen = torch.zeros(3, 23, dtype=torch.bool)
        chosen[:, [0, 17, 22]] = True
        left = model.parts(features.replace(x, chosen, torch.zeros_like(x)))
        assert left["image"][:, 0, 0, 0].eq(0).all()
        assert torch.equal(left["image"].flatten(1)[:, 1:], IMAGE.flatten(1)[:, 1:])
        assert left["words"][:, 1].eq(0).all()
        assert torch.equal(left["words"][:, [0, 2, 3, 4]], words[:, [0, 2, 3, 4]])
        assert torch.equal(left["age"], torch.stack([AGE[:, 0], torch.zeros(3).double()], 1))
        assert model.features(image=Tiles(size=2)).grid(x.shape[1:]) == (4 + 5 + 2,)
        assert pickle.loads(pickle.dumps(features)) == features
        with pytest.raises(InputError, match="tensor that is explained, but got 'imag'; did you mean 'image'"):
            model.features(imag=Pixels())

    def test_checks_run_over_the_features_of_all(self, tmp_path: Path) -> None:
        model = bound(["image", "words", "age"])
        run = hp.audit(
            model, model.inputs(), methods=["gradient-x-input", "lrp-epsilon", "random"], out=tmp_path / "run",
            checks=[
                "completeness", hp.checks.Degradation(), hp.checks.SensitivityN(sets=10, sizes=2),
                hp.checks.ParameterRandomization(similarities=("spearman",)),
            ],
            progress=False, threads=1,
        )  # fmt: skip
        assert not run.manifest["failures"]
        assert run.manifest["data"]["grid"] == [23]
        rows = run.rows()
        gaps = rows[(rows["metric"] == "completeness-gap") & (rows["method"] == "lrp-epsilon")]["value"]
        assert gaps.abs().max() < 1e-5

    def test_samples_that_are_filled_in_later(self) -> None:
        model = Bound(Clinic(), at=["words", "age"], given=["image", "ids", "age"])
        for length in (5, 2):
            filled = with_given(model, {"image": IMAGE, "ids": IDS[:, :length], "age": AGE})
            assert isinstance(filled, Bound)
            assert filled.inputs().shape == (3, 3 * length + 2)
            torch.testing.assert_close(forward(filled, filled.inputs()), Clinic()(IMAGE, IDS[:, :length], AGE))

    def test_errors(self) -> None:
        with pytest.raises(
            InputError, match=r"floating tensors .* explained together, but got image .*ids \(3, 5\) of torch\.int64"
        ):
            bound(["image", "ids"]).inputs()
        with pytest.raises(
            InputError, match=r"Expected \(N, 18\), image \(1, 4, 4\), age \(2,\) side by side, but got \(3, 7\)"
        ):
            forward(bound(["image", "age"]), torch.ones(3, 7, dtype=torch.float64))
        with pytest.raises(InputError, match="different names of what is explained together"):
            bound(["age", "age"])
        with pytest.raises(InputError, match="a Bound of several tensors"):
            bound("age").parts(AGE)
        with pytest.raises(InputError, match="no `preprocessing` of several tensors together"):
            Bound(Clinic(), at=["age"], given={"image": IMAGE, "ids": IDS}, preprocessing=lambda x: x)


class Graph(nn.Module):
    """Nodes that take the mean of their neighbors, by edges that all graphs share."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.node, self.head = nn.Linear(2, 4), nn.Linear(4, 3)
        self.eval()

    def forward(self, x: Tensor, edge_index: Tensor, how: str = "mean", weight: Tensor | None = None) -> Tensor:
        source, target = edge_index
        hidden = torch.relu(self.node(x))
        moved = hidden[:, source] if weight is None else hidden[:, source] * weight
        hidden = hidden.index_add(1, target, moved)
        pooled = hidden.mean(1) if how == "mean" else hidden.sum(1)
        out: Tensor = self.head(pooled)
        return out


class TestShared:
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    x = torch.rand(5, 3, 2, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize("how", ["mean", "sum"])
    def test_edges_words_numbers_and_none(self, how: str) -> None:
        net = Graph()
        given = {"edge_index": Shared(self.edges), "how": Shared(how), "weight": None}
        model = Bound(net, given=given)
        torch.testing.assert_close(forward(model, self.x), net(self.x, self.edges, how))
        rows = torch.tensor([4, 4, 0, 1])
        torch.testing.assert_close(forward(model, self.x[rows], rows), net(self.x[rows], self.edges, how))
        maps = hp.methods.get("lrp-epsilon")(model, self.x, torch.zeros(5, dtype=torch.int64))
        assert maps.shape == self.x.shape
        weighed = Bound(net, given={**given, "weight": 0.5})
        torch.testing.assert_close(forward(weighed, self.x), net(self.x, self.edges, how, 0.5))

    def test_beside_those_with_a_row_a_sample(self) -> None:
        model = bound("image", gain=torch.tensor(3.0, dtype=torch.float64), mask=Shared(torch.ones(1, 5).double()))
        torch.testing.assert_close(forward(model, IMAGE), Clinic()(IMAGE, IDS, AGE, 3.0))
        several = bound(["image", "age"], gain=3.0)
        torch.testing.assert_close(forward(several, several.inputs()), Clinic()(IMAGE, IDS, AGE, 3.0))

    def test_what_is_shared_is_a_part_of_the_network(self) -> None:
        one, other = (Bound(Graph(), given={"edge_index": Shared(e)}) for e in (self.edges, self.edges.flip(0)))
        again = Bound(Graph(), given={"edge_index": Shared(self.edges.clone())})
        assert network_fingerprint(one) == network_fingerprint(again) != network_fingerprint(other)

    def test_it_moves_with_the_model(self) -> None:
        model = Bound(Graph(), given={"edge_index": Shared(self.edges), "weight": Shared(torch.ones(3, 1))}).double()
        assert (model.shared["edge_index"].dtype, model.shared["weight"].dtype) == (torch.int64, torch.float64)

    def test_a_list_is_neither(self) -> None:
        with pytest.raises(
            InputError, match=r"a number, a flag or None, but got .*; what all samples share is .*Shared"
        ):
            Bound(Graph(), given={"edge_index": [[0], [1]]})


NET = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def plain(x: Tensor) -> Tensor:
    out: Tensor = NET(x)
    return out


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NET
        self.eval()

    def encode(self, x: Tensor, twice: bool = False) -> Tensor:
        out: Tensor = self.net(x)
        return out * 2 if twice else out


class TestFunctions:
    x = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 1])

    @pytest.mark.parametrize(
        "function",
        [plain, lambda x: NET(x), Owner().encode, functools.partial(Owner().encode, twice=False)],
        ids=["by name", "lambda", "method", "partial"],
    )
    @pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "integrated-gradients", "cgi"])
    def test_a_function_is_the_model_that_it_calls(self, function: Any, method: str) -> None:
        recipe = hp.methods.get(method)
        torch.testing.assert_close(recipe(function, self.x, self.y), recipe(NET, self.x, self.y))

    def test_its_networks_are_seen(self, tmp_path: Path) -> None:
        run = hp.audit(
            plain, self.x, methods=["gradient"], out=tmp_path / "run", progress=False, threads=1,
            checks=[hp.checks.ParameterRandomization(similarities=("spearman",))], features="columns",
        )  # fmt: skip
        assert not run.manifest["failures"]
        layers = {layer for state in run.manifest["states"] for layer in state["layers"]}
        assert layers == {"NET.1", "NET.3"}
        training = nn.Linear(3, 2)
        with pytest.raises(InputError, match="its submodule 'training_' is in training mode"):
            hp.methods.Gradient()(lambda x: training(x), torch.ones(1, 3), 0)

    def test_a_function_with_other_arguments(self) -> None:
        def scored(ids: Tensor, image: Tensor, scale: Tensor) -> Tensor:
            return image.flatten(1)[:, :3] * scale + ids.sum(1, keepdim=True)

        model = Bound(scored, at="image", given={"ids": IDS, "scale": AGE[:, :1]})
        maps = hp.methods.Gradient()(model, IMAGE, 1)
        assert torch.equal(maps.flatten(1)[:, 1], AGE[:, 0])
        assert maps.flatten(1)[:, 2:].eq(0).all()

    def test_it_is_settled_once(self) -> None:
        assert as_model(plain) is as_model(plain)
        owner = Owner()
        assert as_model(owner.encode) is as_model(owner.encode)

    @pytest.mark.parametrize("model", [3, nn.Linear, "net", None])
    def test_what_is_no_model(self, model: Any) -> None:
        with pytest.raises(InputError, match=r"the model to be a torch\.nn\.Module or a function, but got"):
            hp.methods.Gradient()(model, self.x, self.y)
