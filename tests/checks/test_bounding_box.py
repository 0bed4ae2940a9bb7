import check_toys as toys
import pytest
import torch
from safetensors.numpy import load_file

import heatproof as hp
from heatproof.checks import BoundingBox
from heatproof.errors import InputError
from heatproof.methods import GradientXInput, Random
from heatproof.methods.base import Explanation, Method
from heatproof.testing.playing import play, stage
from reference import checks as slow

BOXES = [[(0, 0, 3, 2)], [(4, 1, 6, 3), (0, 4, 2, 6)], [(1.5, 1.5, 3.2, 4.0)]]


def scored(method, *, boxes=BOXES, inputs=None, check=None):
    inputs = toys.images(len(boxes)) if inputs is None else inputs
    on = stage(toys.network(), inputs, torch.arange(len(inputs)) % 4, {"it": method}, boxes=boxes)
    return play(check or BoundingBox(), on)


class Given(Method):
    """A map that is handed over."""

    def __init__(self, maps):
        self.maps = maps

    def _explain(self, model, inputs, targets):
        return Explanation(self.maps[:, None].to(inputs.dtype))


def indicator(boxes):
    return torch.tensor([[[float(slow.inside(b, i, j)) for j in range(6)] for i in range(6)] for b in boxes])


def test_ratios_are_what_scalar_loops_give():
    rows = scored(GradientXInput())
    maps = GradientXInput()(toys.network(), toys.images(), torch.arange(3)).sum(1)
    assert toys.row(rows, "it", "box-ratio", "").tolist() == [slow.box_ratio(maps[i], BOXES[i]) for i in range(3)]
    for i in range(3):
        row, column = divmod(int(maps[i].argmax()), 6)
        assert toys.row(rows, "it", "pointing-game", "")[i] == float(slow.inside(BOXES[i], row, column))


def test_the_indicator_scores_one_and_its_negative_nothing():
    rows = scored(Given(indicator(BOXES)))
    for metric in ("box-ratio", "pointing-game"):
        assert toys.row(rows, "it", metric, "").tolist() == [1.0] * 3
        assert toys.row(scored(Given(-indicator(BOXES))), "it", metric, "").tolist() == [0.0] * 3


def test_a_mask_of_a_boxs_pixels_scores_as_the_box_does():
    boxes = [*BOXES, [], [(0, 0, 6, 2)]]  # none, and too large a one, too
    masks = indicator(boxes).bool()
    inputs, targets = toys.images(5), torch.arange(5) % 4
    for methods in (toys.METHODS, {"it": Given(torch.zeros(5, 6, 6))}):
        ours, theirs = (
            play(BoundingBox(), stage(toys.network(), inputs, targets, methods, **where))
            for where in ({"masks": masks}, {"boxes": boxes})
        )
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[row].nan_to_num(-1), theirs[row].nan_to_num(-1)) for row in ours)


def test_a_mask_of_any_shape_is_the_region():
    mask = (torch.arange(36).reshape(1, 6, 6) * 7) % 5 == 0
    maps = torch.where(mask, 1.0, 0.0)
    maps[0, 0, 0], maps[0, 0, 1] = -1.0, 5.0  # one inside is lost to one outside
    assert mask[0, 0, 0]
    assert not mask[0, 0, 1]
    inputs = toys.images(1)
    on = stage(toys.network(), inputs, torch.arange(1), {"it": Given(maps)}, masks=mask)
    rows = play(BoundingBox(), on)
    n = int(mask.sum())
    assert toys.row(rows, "", "box-area", "").tolist() == [n / 36]
    assert toys.row(rows, "it", "box-ratio", "").tolist() == [(n - 1) / n]
    assert toys.row(rows, "it", "pointing-game", "").tolist() == [0.0]


def test_a_random_map_scores_the_area():
    boxes = [[(0, 0, 3, 3)]] * 400
    rows = scored(Random(), boxes=boxes)
    assert toys.row(rows, "", "box-area", "").tolist() == [0.25] * 400
    # 400 samples of 9 draws without replacement, variance 0.25·0.75/9·(27/35) each; hits of variance 0.25·0.75
    assert abs(toys.row(rows, "it", "box-ratio", "").mean() - 0.25) < 4 * (0.25 * 0.75 / 9 * 27 / 35 / 400) ** 0.5
    assert abs(toys.row(rows, "it", "pointing-game", "").mean() - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_ties_favor_no_corner():
    # A peer keeps equal values in reading order: a map of zeros but for one pixel would find boxes in the corner.
    maps = torch.zeros(400, 6, 6)
    maps[:, 5, 5] = -1.0
    rows = scored(Given(maps), boxes=[[(0, 0, 3, 3)]] * 400)
    assert abs(toys.row(rows, "it", "box-ratio", "").mean() - 9 / 35) < 0.03
    assert 0 < toys.row(rows, "it", "pointing-game", "").mean() < 1


def test_the_center_is_a_yardstick():
    boxes = [[(2, 2, 4, 4)], [(0, 0, 2, 2)], [(0, 0, 6, 1)]]
    rows = scored(Random(), boxes=boxes)
    assert toys.row(rows, "", "box-ratio", "center").tolist() == [1.0, 0.0, 0.0]
    assert toys.row(rows, "", "pointing-game", "center").tolist() == [1.0, 0.0, 0.0]


def test_large_boxes_no_boxes_and_constant_maps_are_nan():
    boxes = [[(0, 0, 6, 2)], [], [(0, 0, 5.5, 2)]]  # 33.3 %, none, 5.5 covers pixels 0 … 5
    rows = scored(Random(), boxes=boxes)
    for method, metric, setting in (("it", "box-ratio", ""), ("", "box-area", ""), ("", "box-ratio", "center")):
        assert toys.row(rows, method, metric, setting).isnan().all()
    everything = scored(Random(), boxes=boxes, check=BoundingBox(largest=0.5))
    assert toys.row(everything, "it", "box-ratio", "").isnan().tolist() == [False, True, False]
    blank = scored(Given(torch.full((3, 6, 6), 0.5)))
    assert toys.row(blank, "it", "box-ratio", "").isnan().all()
    assert toys.row(blank, "it", "pointing-game", "").isnan().all()


def test_an_audit_hands_over_the_boxes(tmp_path):
    run = hp.audit(
        toys.network(), toys.images(), torch.arange(3), methods=["gradient-x-input"], checks=["bounding-box"],
        boxes=BOXES, batch=2, out=tmp_path, progress=False,
    )  # fmt: skip
    rows = run.rows()
    found = rows[(rows.method == "gradient-x-input") & (rows.metric == "box-ratio")].value.tolist()
    assert found == toys.row(scored(GradientXInput()), "it", "box-ratio", "").tolist()


@pytest.mark.parametrize("held", [True, False])
def test_an_audit_hands_over_the_masks(tmp_path, held):
    data = hp.data.Dataset(
        name="mine", inputs=toys.images(), targets=torch.arange(3), ids=("0", "1", "2"), masks=indicator(BOXES).bool()
    )
    samples, more = (data.inputs, {"masks": data.masks}) if held else (data, {})
    run = hp.audit(
        toys.network(), samples, data.targets, methods=["gradient-x-input"], checks=["bounding-box"], batch=2,
        out=tmp_path, progress=False, **more,
    )  # fmt: skip
    rows = run.rows()
    found = rows[(rows.method == "gradient-x-input") & (rows.metric == "box-ratio")].value.tolist()
    assert found == toys.row(scored(GradientXInput()), "it", "box-ratio", "").tolist()
    kept = load_file(tmp_path / "maps" / "inputs.safetensors")
    assert (kept["mask:1"] == data.masks[1].numpy()).all()


def test_other_masks_are_other_data(tmp_path):
    def run(masks):
        return hp.audit(
            toys.network(), toys.images(), methods=["random"], checks=["bounding-box"],
            masks=masks, out=tmp_path, progress=False,
        )  # fmt: skip

    run(indicator(BOXES).bool())
    with pytest.raises(hp.errors.StoreError, match="data differ"):
        run(indicator(BOXES[::-1]).bool())


def test_other_boxes_are_other_data(tmp_path):
    def run(boxes):
        return hp.audit(
            toys.network(), toys.images(), methods=["random"], checks=["bounding-box"],
            boxes=boxes, out=tmp_path, progress=False,
        )  # fmt: skip

    run(BOXES)
    with pytest.raises(hp.errors.StoreError, match="data differ"):
        run(BOXES[::-1])


class TestTheDoor:
    def test_data_need_boxes(self, tmp_path):
        with pytest.raises(
            InputError,
            match=r"Expected data with boxes or masks of their objects, but these have neither; .* `boxes` or `masks`",
        ):
            hp.audit(toys.network(), toys.images(), methods=["random"], checks=["bounding-box"], out=tmp_path)

    def test_one_list_a_sample(self, tmp_path):
        with pytest.raises(InputError, match=r"Expected a list of boxes a sample \(3\), but got 2"):
            hp.audit(
                toys.network(), toys.images(), methods=["random"], checks=["bounding-box"],
                boxes=BOXES[:2], out=tmp_path,
            )  # fmt: skip

    def test_masks_are_bool_and_alone(self, tmp_path):
        masks = indicator(BOXES)
        for more, said in (
            ({"masks": masks}, r"Expected masks of samples to be a bool tensor \(3, 6, 6\), True inside, but got"),
            ({"masks": masks.bool()[:2]}, r"bool tensor \(3, 6, 6\), True inside, but got torch.bool \(2, 6, 6\)"),
            ({"masks": masks.bool(), "boxes": BOXES}, "Expected boxes or masks of the objects, but got both"),
        ):
            with pytest.raises(InputError, match=said):
                hp.audit(
                    toys.network(), toys.images(), methods=["random"], checks=["bounding-box"], out=tmp_path, **more
                )

    def test_features_are_pixels(self):
        features = hp.features.Tiles(size=2)
        on = stage(toys.network(), toys.images(), torch.arange(3), {}, features=features, boxes=BOXES)
        with pytest.raises(InputError, match=r"Expected pixels of images \(C, H, W\) to lie in boxes, but got Tiles"):
            BoundingBox().states(on.study())

    def test_shares_are_shares(self):
        with pytest.raises(InputError, match=r"Expected largest, a share of the image, in \(0, 1\], but got 33"):
            BoundingBox(largest=33)
