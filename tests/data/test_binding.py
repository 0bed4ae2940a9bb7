import pytest
import torch
from torch import nn

from heatproof import models
from heatproof.data import Dataset, as_blocks
from heatproof.data.binding import met
from heatproof.errors import UnknownNameError
from heatproof.models import Bound


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        h = self.embedding(tokens) * mask[..., None]
        return self.head(h.sum(1))


IDS = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 0, 0], [7, 8, 1]])
MASK = (IDS > 0).long()
TEXTS = Dataset(
    name="texts",
    inputs=IDS,
    targets=torch.zeros(4, dtype=torch.int64),
    ids=tuple("abcd"),
    tokens=tuple(tuple(map(str, row)) for row in IDS.tolist()),
    mask=MASK,
)


def test_blocks_of_texts_meet_a_network_block_by_block():
    net = Words().eval()
    whole = Bound(net, at="embedding", given={"tokens": IDS, "mask": MASK})
    expected = models.forward(whole, whole.inputs())
    bound = Bound(net, at="embedding", given={"tokens": "ids", "mask": "mask"})
    blocks = as_blocks(TEXTS)
    found = []
    for start in (0, 3):
        model, inputs = met(bound, blocks.read(start, start + 3))
        assert torch.equal(inputs, whole.inputs()[start : start + 3])
        found.append(models.forward(model, inputs))
    assert torch.allclose(torch.cat(found), expected, atol=1e-6)


def test_a_bound_of_all_samples_and_blocks_of_its_side_inputs_are_one_thing():
    net = Words().eval()
    whole = Bound(net, at="embedding", given={"tokens": IDS, "mask": MASK})
    blocks = as_blocks(whole.inputs(), given=whole.given)
    model, inputs = met(whole, blocks.read(1, 3))
    assert torch.equal(inputs, whole.inputs()[1:3])
    assert torch.equal(model.given["tokens"], IDS[1:3])


def test_plain_networks_get_the_inputs_in_their_dtype():
    data = as_blocks(torch.ones(2, 3)).read(0, 2)
    net = nn.Linear(3, 2).double().eval()
    model, inputs = met(net, data)
    assert model is net
    assert inputs.dtype == torch.float64


def test_data_that_lack_a_side_input_are_refused():
    bound = Bound(Words().eval(), at="embedding", given=["tokens", "mask"])
    with pytest.raises(UnknownNameError, match="for the network's argument 'tokens', but got 'tokens'"):
        met(bound, TEXTS)
