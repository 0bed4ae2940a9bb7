"""A spec of a model and a place with data, for who has written none."""

from collections import Counter

import numpy as np
from PIL import Image

from heatproof.auditing.without_spec import spec_of


def test_a_limit_draws_from_all_labels(tmp_path):
    """The first samples of a folder are those of its first label."""
    for label in "abcd":
        (tmp_path / label).mkdir()
        for number in range(16):
            value = np.full((256, 256, 3), number, dtype=np.uint8)
            Image.fromarray(value).save(tmp_path / label / f"{number}.png")
    found = [spec_of("torchvision:squeezenet1_1", str(tmp_path), limit=16).data for _ in range(2)]
    assert found[0] == found[1]
    ids = found[0].load().ids
    assert len(ids) == 16
    assert set(Counter(one.split("/")[0] for one in ids)) == set("abcd")
