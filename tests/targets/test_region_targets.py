"""Positions and regions of outputs (N, T, C) and (N, C, H, W), and the boxes of detectors."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import heatproof as hp
from heatproof.errors import InputError
from heatproof.models import forward
from heatproof.outputs import Outputs
from heatproof.targets import Box, Difference, Index, LabelSet, Region
from heatproof.targets.boxes import overlaps


def pixelwise() -> nn.Module:
    """Three labels a pixel: S = (x, 1 − x, 0.4)."""
    net = nn.Conv2d(1, 3, 1, dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1, 1))
        net.bias.copy_(torch.tensor([0.0, 1.0, 0.4]))  # type: ignore[union-attr]  # it has one
    return net.eval()


# Label 0 is predicted where x > 0.5, label 1 elsewhere.
X = torch.tensor([[[[0.9, 0.8, 0.1], [0.2, 0.7, 0.6]]], [[[0.1, 0.2, 0.3], [0.9, 0.1, 0.2]]]], dtype=torch.float64)
BRIGHT = X[:, 0] > 0.5


def gradient(target: Any, model: nn.Module | None = None, inputs: Tensor = X) -> Tensor:
    return hp.methods.Gradient()(model or pixelwise(), inputs, target)


class TestRegion:
    @pytest.mark.parametrize(
        ("target", "label", "mask"),
        [
            (Region(0), [0, 0], BRIGHT),
            (Region(1), [1, 1], ~BRIGHT),
            (Region("predicted"), [0, 1], torch.stack([BRIGHT[0], ~BRIGHT[1]])),
            (Region("predicted", background=0), [1, 1], ~BRIGHT),
            (Region(0, "all"), [0, 0], torch.ones(2, 2, 3)),
            (Region(0, torch.eye(3)[:2]), [0, 0], torch.eye(3)[:2].expand(2, -1, -1)),
            (Region(1, BRIGHT), [1, 1], BRIGHT),
            (Region(1, BRIGHT.numpy()), [1, 1], BRIGHT),
        ],
    )
    def test_the_sum_over_a_mask(self, target: Region, label: list[int], mask: Tensor) -> None:
        mask = mask.double()
        aim = target.aim(pixelwise(), X)
        assert aim.labels.tolist() == label
        expected = torch.stack([(s * m).flatten(1).sum(1) for s, m in zip(pixelwise()(X), mask, strict=True)])
        torch.testing.assert_close(forward(aim.model, X), expected)
        sign = torch.tensor([1.0, -1.0])[label].double()
        torch.testing.assert_close(gradient(target)[:, 0], sign[:, None, None] * mask)

    def test_the_mean(self) -> None:
        expected = BRIGHT.double() / BRIGHT.flatten(1).sum(1)[:, None, None]
        torch.testing.assert_close(gradient(Region(0, of="mean"))[:, 0], expected)

    def test_given_labels(self) -> None:
        aim = Region("given").aim(pixelwise(), X, [1, 0])
        assert aim.labels.tolist() == [1, 0]
        torch.testing.assert_close(forward(aim.model, X)[1, 0], X[1, 0][BRIGHT[1]].sum())

    def test_one_output_is_predicted_above_0(self) -> None:
        net = nn.Conv2d(1, 1, 1, dtype=torch.float64)
        with torch.no_grad():
            net.weight.fill_(1.0)
            net.bias.fill_(-0.5)  # type: ignore[union-attr]  # it has one
        torch.testing.assert_close(gradient(Region(0), net.eval())[:, 0], BRIGHT.double())

    def test_the_region_stays_that_of_the_trained_network(self) -> None:
        net = pixelwise()
        aim = Region(0).aim(net, X)
        with torch.no_grad():
            net.weight.neg_()
        torch.testing.assert_close(forward(aim.model, X)[:, 0], -(X[:, 0] * BRIGHT).flatten(1).sum(1))

    def test_series_and_volumes(self) -> None:
        net = nn.Conv1d(1, 2, 1, dtype=torch.float64).eval()
        x = torch.rand(2, 1, 5, dtype=torch.float64)
        mask = torch.tensor([0, 1, 1, 0, 0])
        torch.testing.assert_close(
            gradient(Region(1, mask), net, x)[:, 0], net.weight[1, 0].detach() * mask.expand(2, 5)
        )

    def test_sums_are_no_probabilities_and_labels_compete(self) -> None:
        assert Region(0).outputs == Outputs("scalars", "score")
        method = hp.methods.get("cgi")
        # Of label 0 against 1 with the opposite gradient and 2 with none, every positive pixel is won.
        torch.testing.assert_close(method(pixelwise(), X, Region(0))[:, 0], X[:, 0] * BRIGHT)

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (
                Region(2),
                r"a region in each sample for the sum of label 2 where it is predicted, but that of samples \[0, 1",
            ),
            (Region(3), "between 0 and 2, the model's last output, but got 3"),
            (Region(0, torch.ones(3, 3)), r"positions \(2, 3\), or one a sample \(N, \(2, 3\)\), but got \(3, 3\)"),
            (Region(0, torch.ones(1, 2, 3)), r"or one a sample .*, but got \(1, 2, 3\)"),
        ],
    )
    def test_errors(self, target: Region, said: str) -> None:
        with pytest.raises(InputError, match=said):
            gradient(target)

    def test_a_network_without_positions_is_told(self) -> None:
        with pytest.raises(InputError, match=r"scores \(N, C, positions …\) .* returned \(2, 4\) of torch\.float64"):
            gradient(Region(0), nn.Sequential(nn.Flatten(), nn.Linear(6, 4).double()).eval())

    def test_what_segmentation_networks_return_is_picked_first(self) -> None:
        class Segmenter(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = pixelwise()

            def forward(self, x: Tensor) -> dict[str, Tensor]:
                return {"out": self.net(x), "aux": self.net(x)}

        net = Segmenter().eval()
        with pytest.raises(
            InputError, match=r"returned dict; pick them first: heatproof\.models\.Bound\(model, output="
        ):
            gradient(Region(0), net)
        torch.testing.assert_close(gradient(Region(0), hp.Bound(net, output="out")), gradient(Region(0)))


class Tokens(nn.Module):
    """(N, T, E) → (N, T, C): the token's own embedding and the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(x + x.mean(1, keepdim=True))
        return out


class TestIndex:
    x = torch.rand(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize(("index", "at"), [((3, 2), [3, 3]), ((-1, 2), [4, 4]), (([0, 4], 2), [0, 4])])
    def test_a_label_at_a_token(self, index: Any, at: list[int]) -> None:
        net = Tokens().eval()
        aim = Index(index).aim(net, self.x)
        assert aim.labels.tolist() == [2, 2]
        torch.testing.assert_close(forward(aim.model, self.x), net(self.x)[[0, 1], at])
        place = torch.zeros(2, 5).double()
        place[[0, 1], at] = 1
        expected = (place + 1 / 5)[..., None] * net.head.weight[2].detach()
        torch.testing.assert_close(gradient(Index(index), net, self.x), expected)

    def test_labels_may_stand_first(self) -> None:
        target = Index((1, 0, 2), labels=0)
        expected = torch.zeros_like(X)
        expected[:, 0, 0, 2] = -1
        torch.testing.assert_close(gradient(target), expected)
        torch.testing.assert_close(forward(target.aim(pixelwise(), X).model, X), pixelwise()(X)[:, :, 0, 2])

    def test_its_labels_are_labels(self) -> None:
        assert Index((3, 2)).outputs is None

    @pytest.mark.parametrize(
        ("index", "said"),
        [
            ((9, 0), "Expected positions below 5 in outputs .2, 5, 3., but got 9"),
            ((0, 3), "between 0 and 2, the model's last output, but got 3"),
            (
                (0, 0, 0),
                r"outputs with 3 dimensions after that of the samples for index \(0, 0, 0\), but .* \(2, 5, 3\)",
            ),
            (([0], 1), "a position a sample, but got those of 1, fewer than there are"),
        ],
    )
    def test_errors(self, index: Any, said: str) -> None:
        with pytest.raises(InputError, match=said):
            gradient(Index(index), Tokens().eval(), self.x)

    def test_the_label_is_one_number(self) -> None:
        with pytest.raises(InputError, match="Expected an index with a number for each dimension"):
            Index((0, [1, 2]))


def detections(x: Tensor) -> list[dict[str, Tensor]]:
    """Three boxes a sample, whose scores are the means of rows and of everything."""
    boxes = torch.tensor([[0.0, 0, 3, 1], [0, 1, 3, 2], [0, 0, 3, 2]], dtype=x.dtype)
    rows = x[:, 0].mean(2)
    scores = torch.cat([rows, rows.mean(1, keepdim=True)], 1)
    return [{"boxes": boxes, "labels": torch.tensor([1, 2, 1]), "scores": s} for s in scores]


class Detector(nn.Module):
    def __init__(self, form: str = "torchvision") -> None:
        super().__init__()
        self.gain, self.form = nn.Parameter(torch.ones((), dtype=torch.float64)), form

    def forward(self, x: Tensor) -> Any:
        found = detections(x * self.gain)
        if self.form == "torchvision":
            return found
        scores = torch.stack([one["scores"] for one in found])
        labels = nn.functional.one_hot(torch.tensor([1, 2, 1]), 4)
        corners = torch.stack([one["boxes"] for one in found])
        low, high = corners[..., :2], corners[..., 2:]
        boxes = torch.cat([(low + high) / 2, high - low], -1)
        return {"logits": scores[..., None] * labels, "pred_boxes": boxes}


ROW = torch.tensor([[0.0, 0, 0], [1, 1, 1]], dtype=torch.float64) / 3


class TestBox:
    @pytest.mark.parametrize("form", ["torchvision", "detr"])
    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (Box((0, 0, 3, 1), 1), [ROW.flip(0), ROW.flip(0)]),
            (Box((0, 0.1, 3, 1), 1), [ROW.flip(0), ROW.flip(0)]),
            (Box((0, 1, 3, 2), 2), [ROW, ROW]),
            (Box([[0, 0, 3, 1], [0, 1, 3, 2]]), [ROW.flip(0), ROW]),
            (Box(), [ROW.flip(0), ROW]),  # sample 0 has its bright row above, sample 1 below
            (Box((0, 1, 3, 2), 1, overlap=0.6), [torch.zeros(2, 3)] * 2),
        ],
    )
    def test_the_score_of_the_box_that_overlaps_most(self, form: str, target: Box, expected: list[Tensor]) -> None:
        maps = gradient(target, Detector(form).eval())
        torch.testing.assert_close(maps[:, 0], torch.stack(expected).double())

    def test_of_the_label_alone_where_boxes_have_one(self) -> None:
        """Of label 1 the whole picture overlaps the lower row by one half; DETR's query there has no such label."""
        target = Box((0, 1, 3, 2), 1)
        maps = gradient(target, Detector().eval())
        torch.testing.assert_close(maps, torch.full_like(maps, 1 / 6))
        assert not gradient(target, Detector("detr").eval()).any()

    def test_it_stays_where_it_was_when_the_scores_change(self) -> None:
        net = Detector().eval()
        aim = Box().aim(net, X)
        turned = X.flip(2)  # now the other row is brighter
        torch.testing.assert_close(forward(aim.model, turned)[:, 0], torch.stack([X[0, 0, 1], X[1, 0, 0]]).mean(1))

    def test_overlaps(self) -> None:
        boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6]])
        assert overlaps(boxes, torch.tensor([0.0, 0, 2, 2])).tolist() == pytest.approx([1, 1 / 7, 0])

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (
                Box((5, 5, 6, 6)),
                r"a detected box .* in a given box, but samples \[0, 1\] have none; leave them out, name a label",
            ),
            (
                Box(label=0),
                r"label 0 in the predicted box, but samples \[0, 1\] have none; leave them out, or give `box`",
            ),
            (Box([[0, 0, 3, 1]]), "a box a sample, but got 1, fewer than there are"),
        ],
    )
    def test_errors(self, target: Box, said: str) -> None:
        with pytest.raises(InputError, match=said):
            gradient(target, Detector().eval())

    def test_what_is_no_detector(self) -> None:
        with pytest.raises(InputError, match=r"a detector that returns boxes, labels and scores .* returned Tensor"):
            gradient(Box(), pixelwise())

    @pytest.mark.parametrize("fields", [{"overlap": 0.0}, {"box": "best"}, {"box": [1, 2, 3]}])
    def test_fields(self, fields: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="Expected"):
            Box(**fields)


@pytest.mark.parametrize(
    "target",
    [Region(0, BRIGHT), Region(), Index(([0, 1], 2)), Box([[0, 0, 3, 1]]), Difference(Region(0), Region(1))],
    ids=lambda target: type(target).__name__,
)
def test_targets_are_values(target: hp.targets.Target) -> None:
    again = pickle.loads(pickle.dumps(target))
    assert (again, hash(again), repr(again)) == (target, hash(target), repr(target))


@pytest.mark.parametrize(
    "name", ["gradient", "integrated-gradients", "lrp-epsilon", "deeplift", "occlusion", "grad-cam"]
)
def test_methods_explain_a_region_as_they_explain_a_label_that_sums_it(name: str) -> None:
    """A network whose last layer makes the sum over the same region itself has the same map."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)).double().eval()
    mask = torch.zeros(6, 6).double()
    mask[1:4, 2:5] = 1

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            return (self.body(x) * mask).flatten(2).sum(2)

    x, method = torch.rand(2, 1, 6, 6, dtype=torch.float64), hp.methods.get(name)
    torch.testing.assert_close(method(body, x, Region(1, mask)), method(Summed().eval(), x, 1))


def test_a_set_of_labels_is_read_where_a_bound_reads() -> None:
    net = Tokens().eval()
    x = TestIndex.x
    bound = hp.Bound(net, output=lambda out: out.mean(1))
    torch.testing.assert_close(
        gradient(LabelSet((0, 2)), bound, x), (2 / 5 * net.head.weight[[0, 2]].detach().sum(0)).expand(2, 5, 4)
    )
