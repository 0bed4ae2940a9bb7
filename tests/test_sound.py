"""Derivatives that torch gets wrong are right in every pass, whatever earlier passes of the model have called."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import heatproof as hp
from heatproof import sound

MEAN, VARIANCE = torch.tensor([0.3, -1.0, 2.0, 0.1]).double(), torch.tensor([0.5, 2.0, 1.0, 3.0]).double()


def batch_norm(h: Tensor) -> Tensor:
    return functional.batch_norm(h, MEAN, VARIANCE, eps=0.0)


def batch_norm_written_out(h: Tensor) -> Tensor:
    return (h - MEAN.view(1, -1, 1, 1)) / VARIANCE.view(1, -1, 1, 1).sqrt()


def instance_norm(h: Tensor) -> Tensor:
    return functional.instance_norm(h, eps=1e-5)


def instance_norm_written_out(h: Tensor) -> Tensor:
    variance, mean = torch.var_mean(h, (2, 3), correction=0, keepdim=True)
    return (h - mean) / (variance + 1e-5).sqrt()


def one_by_one(h: Tensor) -> Tensor:
    return torch.cat([batch_norm(row[None]) for row in h])


class Bright(nn.Module):
    """Normalizes large inputs alone; the cotangent comes back through a transposition."""

    def __init__(self, norm) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.norm, self.head = norm, nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x) if float(x.detach().mean()) > 10 else x
        return (self.head(h.flatten(2).transpose(1, 2).contiguous()) ** 2).sum(1)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    ("norm", "same"),
    [
        (batch_norm, batch_norm_written_out),
        (one_by_one, batch_norm_written_out),
        (instance_norm, instance_norm_written_out),
    ],
)
def test_a_norm_that_is_called_in_a_later_pass_alone(norm, same, samples):
    torch.manual_seed(0)
    net = Bright(norm).double().eval()
    written_out = Bright(same).double().eval()
    written_out.load_state_dict(net.state_dict())
    x = torch.randn(samples, 4, 3, 3, dtype=torch.float64)
    targets = [1] * samples
    gradient = hp.methods.Gradient()
    torch.testing.assert_close(gradient(net, x, targets), gradient(written_out, x, targets))
    torch.testing.assert_close(gradient(net, x + 20, targets), gradient(written_out, x + 20, targets))


def test_a_norm_that_is_called_for_each_sample_by_itself():
    torch.manual_seed(0)
    net = Bright(one_by_one).double().eval()
    written_out = Bright(batch_norm_written_out).double().eval()
    written_out.load_state_dict(net.state_dict())
    x = 20 + torch.randn(2, 4, 3, 3, dtype=torch.float64)
    for _ in range(2):
        found = hp.methods.Gradient()(net, x, [1, 2])
        torch.testing.assert_close(found, hp.methods.Gradient()(written_out, x, [1, 2]))


def test_a_kept_graph_is_looked_at_again_without_more_hooks(monkeypatch):
    calls = []
    monkeypatch.setattr(sound, "_dense", lambda cotangents: calls.append(len(cotangents)))
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    out = batch_norm(x).sum()[None]
    for _ in range(3):
        assert sound.derived({"logits": (out, 1)})["logits"][0] is out
    torch.autograd.grad(out, x)
    assert len(calls) == 1
