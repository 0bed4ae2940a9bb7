import check_toys as toys
import pytest
import torch

import heatproof as hp
from heatproof.checks import BlurredPatch
from heatproof.checks.blurred_patch import box_blur
from heatproof.errors import InputError
from heatproof.methods import GradientXInput
from heatproof.methods.base import Explanation, Method
from heatproof.testing.playing import stage
from reference import checks as slow


@pytest.mark.parametrize("size", [2, 4], ids=str)
@pytest.mark.parametrize("kernel", [3, 15], ids=str)
def test_curves_are_what_scalar_loops_give(size, kernel):
    check = BlurredPatch(size=size, regions=3, kernel=kernel)
    rows = toys.played(check)
    model, inputs = toys.network(), toys.images()
    maps = GradientXInput()(model, inputs, torch.arange(3))
    got = torch.stack([toys.row(rows, "gradient-x-input", "probability", "", k) for k in range(4)], 1)
    for i in range(3):
        expected = slow.blurred_patches(model, inputs[i], i, maps[i], size, kernel, 3)
        assert got[i].tolist() == pytest.approx(expected, abs=1e-9)
    assert torch.equal(toys.row(rows, "", "probability", ""), got[:, 0])


def test_no_more_regions_than_there_are():
    rows = toys.played(BlurredPatch(size=4))
    assert sorted({r.position for r in rows if r.method}) == [0.0, 1.0, 2.0, 3.0, 4.0]
    ends = {r.method: values for r, values in rows.items() if r.position == 4}
    assert len(ends) == 3
    for values in ends.values():  # everything is blurred, whatever the map
        assert values.tolist() == pytest.approx(ends["random"].tolist(), abs=1e-12)


def test_small_regions_at_the_edge_compete_by_their_mean():
    # 6 × 6 pixels in tiles of 4: the corner of 2 × 2 has the highest mean, but a small sum.
    class Corner(Method):
        def _explain(self, model, inputs, targets):
            maps = torch.full_like(inputs, 0.4)
            maps[:, :, 4:, 4:] = 1.0
            maps[:, :, 0, 0] = 0.5
            return Explanation(maps)

    rows = toys.played(BlurredPatch(size=4, regions=1, kernel=3), methods={"corner": Corner()})
    model, inputs = toys.network(), toys.images()
    for i in range(3):
        corner = [(row, column) for row in (4, 5) for column in (4, 5)]
        image = slow.without(inputs[i], corner, slow.box_blur(inputs[i], 3))
        expected = slow.probability_of(model, image, i)
        assert float(toys.row(rows, "corner", "probability", "", 1)[i]) == pytest.approx(expected, abs=1e-9)


def test_blur_of_a_constant_is_that_constant():
    assert torch.allclose(box_blur(torch.full((1, 2, 5, 4), 0.3), 15), torch.full((1, 2, 5, 4), 0.3))


@pytest.mark.parametrize("size", [2, 4], ids=str)
def test_a_constant_map_is_nan(size):
    class Constant(Method):
        def _explain(self, model, inputs, targets):
            return Explanation(torch.full_like(inputs, 0.1))

    rows = toys.played(BlurredPatch(size=size), methods={"constant": Constant()})
    assert all(values.isnan().all() for r, values in rows.items() if r.method)
    assert not toys.row(rows, "", "probability", "").isnan().any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"regions": 0}, "Expected at least 1 region of at least 1 pixel, but got 0 of size 8"),
        ({"kernel": 14}, "Expected kernel to be odd and at least 3, but got 14"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        BlurredPatch(**fields)


def test_it_needs_pixels_of_images():
    on = stage(toys.network(), toys.images(), torch.arange(3), {}, features=hp.features.Tiles(size=2))
    with pytest.raises(InputError, match=r"Expected pixels of images \(C, H, W\) to blur, but got Tiles"):
        BlurredPatch().states(on.study())
