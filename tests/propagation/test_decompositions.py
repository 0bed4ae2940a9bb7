"""Operations written out in others: their values, and the derivative of the rules inside."""

import math

import pytest
import torch
import torch.nn.functional as F
from test_deeplift import BASELINE, Ripples, images
from torch import nn

import heatproof as hp
from heatproof.errors import OperationError
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation import Composite, Epsilon


class Step(nn.Module):
    """linear → the operation → linear, for inputs (N, 2, 6, 6)."""

    def __init__(self, step):
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.step, self.first, self.second = step, nn.Conv2d(2, 4, 1).double(), nn.Conv2d(2, 4, 1).double()
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=stream)
        with torch.no_grad():
            width = step(self.first(images()), self.second(images())).flatten(1).shape[1]
        self.last = nn.Linear(width, 3).double()
        for parameter in self.last.parameters():
            nn.init.normal_(parameter, generator=stream)
        self.eval()

    def forward(self, x):
        return self.last(self.step(self.first(x), self.second(x)).flatten(1))


METHODS = {
    "lrp": LRP(composite="epsilon"),
    "z+": LRP(composite="alpha1-beta0"),
    "deeplift": DeepLIFT(baseline=Ripples()),
}
TARGETS = torch.tensor([0, 1, 2])
EYE = torch.eye(6, dtype=torch.float64)
W = torch.linspace(-1, 1, 36, dtype=torch.float64).view(6, 6)
PLACES = torch.tensor([0, 2, 1, 0, 2, 0])
UNIT = torch.linspace(0.05, 0.95, 4 * 2, dtype=torch.float64).view(1, 4, 2).expand(3, -1, -1)  # the same of each sample
GRID = torch.linspace(-1.1, 1.1, 5 * 4 * 2, dtype=torch.float64).sin().view(1, 5, 4, 2).expand(3, -1, -1, -1)


def positive(t):
    return t.abs() + 0.1


def rows(t):
    return t.flatten(2)


# Each with the same by hand, in operations with rules of their own.
WRITTEN = {
    "addcmul": (lambda a, b: torch.addcmul(a, b, a, value=0.5), lambda a, b: a + (b * a) * 0.5),
    "addcmul of a parameter": (lambda a, b: torch.addcmul(a, EYE, b), lambda a, b: a + EYE * b),
    "addcmul_": (lambda a, b: a.clone().addcmul_(b, EYE).relu_(), lambda a, b: F.relu(a + b * EYE)),
    "addcdiv": (lambda a, b: torch.addcdiv(a, b, positive(a)), lambda a, b: a + b / positive(a)),
    "addcdiv_": (lambda a, b: a.clone().addcdiv_(b, EYE + 1, value=2), lambda a, b: a + (b / (EYE + 1)) * 2),
    "lerp": (lambda a, b: torch.lerp(a, b, 0.3), lambda a, b: a + 0.3 * (b - a)),
    "lerp by a gate": (lambda a, b: a.lerp(b, torch.sigmoid(a)), lambda a, b: a + torch.sigmoid(a) * (b - a)),
    "lerp_": (lambda a, b: a.clone().lerp_(b, EYE), lambda a, b: a + EYE * (b - a)),
    "std_mean": (
        lambda a, b: sum(torch.std_mean(a, 1)) + sum(torch.std_mean(b, (1,), keepdim=True))[:, 0],
        lambda a, b: a.std(1) + a.mean(1) + b.std(1) + b.mean(1),
    ),
    "var_mean": (
        lambda a, b: sum(torch.var_mean(a, dim=(2, 3), correction=0)) + sum(torch.var_mean(b, 1, False))[:, :4, 0],
        lambda a, b: a.var((2, 3), correction=0) + a.mean((2, 3)) + (b.var(1, False) + b.mean(1))[:, :4, 0],
    ),
    "multi_dot": (
        lambda a, b: torch.stack([torch.linalg.multi_dot([x[0], W, x[1]]) for x in a]) + b[:, 0],
        lambda a, b: torch.stack([x[0] @ W @ x[1] for x in a]) + b[:, 0],
    ),
    "matrix_power": (lambda a, b: torch.linalg.matrix_power(a, 3) + b, lambda a, b: a @ a @ a + b),
    "tensordot": (
        lambda a, b: torch.tensordot(a, W, ([3], [1])) + torch.tensordot(b, W, 1),
        lambda a, b: a @ W.mT + b @ W,
    ),
    "bilinear": (
        lambda a, b: F.bilinear(a, b, W[None] * torch.ones(2, 1, 1, dtype=W.dtype), W[0, :2]),
        lambda a, b: (torch.einsum("ncwj,oij->ncwoi", b, W.expand(2, 6, 6)) @ a[..., None]).squeeze(-1) + W[0, :2],
    ),
    "cross": (
        lambda a, b: torch.cross(a[:, :3], b[:, 1:], dim=1) + torch.linalg.cross(a[..., :3], b[..., 3:])[:, :3, :, :1],
        lambda a, b: (
            a[:, [1, 2, 0]] * b[:, [3, 1, 2]] - a[:, [2, 0, 1]] * b[:, [2, 3, 1]]
            + (a[..., [1, 2, 0]] * b[..., [5, 3, 4]] - a[..., [2, 0, 1]] * b[..., [4, 5, 3]])[:, :3, :, :1]
        ),
    ),
    "cosine_similarity": (
        lambda a, b: F.cosine_similarity(a, b, dim=1),
        lambda a, b: (a / torch.linalg.vector_norm(a, dim=1, keepdim=True).clamp(min=1e-8)
                      * (b / torch.linalg.vector_norm(b, dim=1, keepdim=True).clamp(min=1e-8))).sum(1),
    ),
    "pairwise_distance": (
        lambda a, b: F.pairwise_distance(a, b, eps=0.01),
        lambda a, b: torch.linalg.vector_norm(a - b + 0.01, 2, -1),
    ),
    "cdist": (
        lambda a, b: torch.cdist(a, b) + torch.cdist(rows(a), W[:, :1].expand(6, 36))[..., None],
        lambda a, b: torch.linalg.vector_norm(a[..., :, None, :] - b[..., None, :, :], dim=-1)
        + torch.linalg.vector_norm(rows(a)[..., :, None, :] - W[:, :1].expand(6, 36)[None, None], dim=-1)[..., None],
    ),
    "hypot": (lambda a, b: torch.hypot(a, b), lambda a, b: torch.stack([a, b], -1).norm(dim=-1)),
    "logaddexp": (lambda a, b: torch.logaddexp(a, b), lambda a, b: torch.stack([a, b], -1).logsumexp(-1)),
    "logcumsumexp": (
        lambda a, b: torch.logcumsumexp(a, 1) + b,
        lambda a, b: torch.stack([a[:, : i + 1].logsumexp(1) for i in range(4)], 1) + b,
    ),
    "xlogy": (lambda a, b: torch.xlogy(a, positive(b)), lambda a, b: a * torch.log(positive(b))),
    "local_response_norm": (
        lambda a, b: F.local_response_norm(a, 3, 0.5, 0.7) + b,
        lambda a, b: b
        + a / (F.avg_pool3d(F.pad((a * a)[:, None], (0, 0, 0, 0, 1, 1)), (3, 1, 1), 1)[:, 0] * 0.5 + 1) ** 0.7,
    ),
    "lp_pool": (
        lambda a, b: F.lp_pool2d(a, 2, 2) + F.lp_pool2d(b, 2.0, (2, 2), stride=2),
        lambda a, b: torch.linalg.vector_norm(a.unfold(2, 2, 2).unfold(3, 2, 2), 2, (-2, -1))
        + torch.linalg.vector_norm(b.unfold(2, 2, 2).unfold(3, 2, 2), 2, (-2, -1)),
    ),
    "scatter_reduce mean": (
        lambda a, b: a.scatter_reduce(3, PLACES.expand_as(b), b, "mean"),
        lambda a, b: torch.stack(
            [(a[..., 0] + b[..., 0] + b[..., 3] + b[..., 5]) / 4, (a[..., 1] + b[..., 2]) / 2,
             (a[..., 2] + b[..., 1] + b[..., 4]) / 3, a[..., 3], a[..., 4], a[..., 5]], -1),
    ),
    "scatter_reduce amax": (
        lambda a, b: a.scatter_reduce(3, PLACES.expand_as(b), b, "amax", include_self=False),
        lambda a, b: torch.stack(
            [b[..., [0, 3, 5]].amax(-1), b[..., 2], b[..., [1, 4]].amax(-1), a[..., 3], a[..., 4], a[..., 5]], -1),
    ),
    "index_reduce": (
        lambda a, b: a.index_reduce(3, PLACES, b, "amin"),
        lambda a, b: torch.stack(
            [torch.stack([a[..., 0], b[..., 0], b[..., 3], b[..., 5]], -1).amin(-1),
             torch.stack([a[..., 1], b[..., 2]], -1).amin(-1),
             torch.stack([a[..., 2], b[..., 1], b[..., 4]], -1).amin(-1),
             a[..., 3], a[..., 4], a[..., 5]], -1),
    ),
    "quantile": (
        lambda a, b: a.quantile(0.3, 3) + torch.quantile(b, torch.tensor([0.0, 0.5], dtype=b.dtype), 3).sum(0),
        lambda a, b: a.sort(3).values[..., 1] * 0.5 + a.sort(3).values[..., 2] * 0.5
        + b.sort(3).values[..., 0] + b.sort(3).values[..., 2] * 0.5 + b.sort(3).values[..., 3] * 0.5,
    ),
    "median": (
        lambda a, b: a.median(3).values + b.kthvalue(2, 3).values + a.nanmedian(3)[0],
        lambda a, b: 2 * a.sort(3).values[..., 2] + b.sort(3).values[..., 1],
    ),
    "cummax": (
        lambda a, b: a.cummax(3).values + torch.cummin(b, 3)[0],
        lambda a, b: torch.stack([a[..., : i + 1].amax(-1) + b[..., : i + 1].amin(-1) for i in range(6)], -1),
    ),
    "softmin": (lambda a, b: F.softmin(a, 1) * b, lambda a, b: F.softmax(-a, 1) * b),
    "mse": (
        lambda a, b: F.mse_loss(a, b, reduction="none") + F.huber_loss(a, b, reduction="none", delta=0.5),
        lambda a, b: (a - b).square() + (a - b).abs().clamp(max=0.5).square() * 0.5
        + ((a - b).abs() - (a - b).abs().clamp(max=0.5)) * 0.5,
    ),
    "complex rotary positions": (
        lambda a, b: torch.view_as_real(torch.view_as_complex(a.unflatten(3, (3, 2))) * TURNS).flatten(3) + b,
        lambda a, b: torch.stack(
            [a[..., 0::2] * TURNS.real - a[..., 1::2] * TURNS.imag,
             a[..., 0::2] * TURNS.imag + a[..., 1::2] * TURNS.real], -1).flatten(3) + b,
    ),
    "pow of both": (lambda a, b: positive(a) ** b, lambda a, b: torch.exp(b * torch.log(positive(a)))),
    "clamp to both": (lambda a, b: a.clamp(min=b), lambda a, b: torch.maximum(a, b)),
    "powers side by side": (
        lambda a, b: positive(a)[..., None] ** POWERS + torch.remainder(b[..., None], POWERS + 1)
        + torch.clamp(a[..., None], min=POWERS - 1),
        lambda a, b: torch.stack(
            [positive(a) ** float(p) + b.remainder(1 + float(p)) + a.clamp(min=float(p) - 1) for p in POWERS], -1),
    ),
    "cumprod_": (lambda a, b: a.clone().cumprod_(3) + b, lambda a, b: a.cumprod(3) + b),
    "reshaped in place": (lambda a, b: a.clone().unsqueeze_(1).squeeze_(1) + b, lambda a, b: a + b),
    "filled in place": (
        lambda a, b: _filled(a.clone()) + b,
        lambda a, b: a * (torch.arange(6) > 1) + b + 0.5 * (torch.arange(6) < 2),
    ),
    "views of a buffer": (
        lambda a, b: _written(a, b),
        lambda a, b: torch.cat([a[..., :2], torch.tanh(b[..., 2:])], 3) * a
        + torch.cat([a[..., :2], torch.tanh(b[..., 2:3])], 3).sum(-1, keepdim=True),
    ),
    "rows of a buffer": (
        lambda a, b: _by_rows(a, b),
        lambda a, b: torch.stack([a[:, 0] + 1, b[:, 1] * a[:, 1], torch.zeros_like(a[:, 2])], 1) + 2 * b[:, 1:],
    ),
    "solve_triangular": (
        lambda a, b: torch.linalg.solve_triangular(positive(a)[..., :2, :2], b[..., :2, :], upper=False)
        + torch.linalg.solve_triangular(a[..., :2, :2], b[..., :2, :], upper=True, unitriangular=True),
        lambda a, b: torch.stack(_by_substitution(positive(a), b, a), -2),
    ),
    "conv_tbc": (
        lambda a, b: torch.conv_tbc(rows(a).permute(2, 0, 1).contiguous(), KERNEL, KERNEL[0, 0], 1).permute(1, 2, 0)
        + rows(b)[:, :2],
        lambda a, b: F.conv1d(rows(a), KERNEL.permute(2, 1, 0), KERNEL[0, 0], padding=1) + rows(b)[:, :2],
    ),
}  # fmt: skip
TURNS = torch.polar(torch.ones(6, 3, dtype=torch.float64), torch.linspace(0, 3, 18, dtype=torch.float64).view(6, 3))
POWERS = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
KERNEL = torch.linspace(-1, 1, 24, dtype=torch.float64).view(3, 4, 2)


def _written(a, b):
    buffer = torch.empty(a.shape, dtype=a.dtype)
    early = buffer[..., :3]
    buffer[..., :2].copy_(a[..., :2])
    buffer[..., 2:].copy_(b[..., 2:]).tanh_()
    return buffer * a + early.sum(-1, keepdim=True)


def _by_rows(a, b):
    buffer = torch.ones(len(a), 108, dtype=a.dtype)
    by_rows = buffer.view(len(a), 3, 36)
    by_rows[:, 0].add_(rows(a)[:, 0])
    by_rows[:, 1] = rows(b)[:, 1]
    by_rows[:, 1].mul_(rows(a)[:, 1])
    by_rows[:, 2].zero_()
    return buffer.view(len(a), 3, 6, 6).add(b[:, 1:], alpha=2)


def _by_substitution(a, b, c):
    first = b[..., 0, :] / a[..., 0, 0, None]
    second = (b[..., 1, :] - a[..., 1, 0, None] * first) / a[..., 1, 1, None]
    return [first + b[..., 0, :] - c[..., 0, 1, None] * b[..., 1, :], second + b[..., 1, :]]


def _filled(t):
    t[..., :2].fill_(0.5)
    return t


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", WRITTEN)
def test_the_rule_is_that_of_the_same_by_hand(name, method):
    fused, by_hand = (Step(step) for step in WRITTEN[name])
    x = images()
    outputs, _ = METHODS[method].linearize(fused, x)
    assert torch.equal(outputs, fused(x))
    ours, slow = (METHODS[method](net, x, TARGETS) for net in (fused, by_hand))
    assert bool((ours != 0).any())
    torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-10)


# What has no twin of one line.
OTHERS = {
    "prod": lambda a, b: a.prod(1) + b.prod(-1, keepdim=True)[:, 0] + each(lambda x, y: x.prod(), a, b)[:, None, None],
    "cumprod": lambda a, b: a.cumprod(3) + torch.cumprod(b, 1),
    "einsum of three": lambda a, b: torch.einsum("nchw,nchv,nwv->nch", a, b, a[:, 0]),
    "einsum with constants": lambda a, b: torch.einsum("...hw,wv,vu", a, W, W)
    + torch.einsum("nchw,w,h->nc", b, *W[:2])[..., None, None],
    "kron": lambda a, b: each(lambda x, y: torch.kron(x[0], y[0]), a, b),
    "vecdot": lambda a, b: torch.linalg.vecdot(a, b) + torch.linalg.vecdot(a, W),
    "addcmul of three": lambda a, b: torch.addcmul(a, b, a * b),
    "norms": lambda a, b: a.norm(p=1, dim=1) + torch.linalg.vector_norm(b, 3, dim=1) + a.norm(math.inf, dim=1)
    + torch.linalg.vector_norm(a, -math.inf, 1) + torch.linalg.norm(b, dim=1),
    "matrix norms": lambda a, b: torch.linalg.matrix_norm(a) + torch.linalg.matrix_norm(b, 1)
    + torch.linalg.norm(a, math.inf, (2, 3)) + torch.linalg.norm(b, -1, (2, 3), keepdim=True)[..., 0, 0],
    "distances": lambda a, b: torch.cdist(a, b, p=1) + torch.cdist(a, b, p=3) + torch.cdist(a, b, p=math.inf)
    + each(torch.dist, a, b)[:, None, None, None] + each(lambda x, y: F.pdist(x[0])[:6], a, b)[:, None, None],
    "lp_pool over the edge": lambda a, b: F.lp_pool2d(F.relu(a), 3, 4, 3, ceil_mode=True)
    + F.lp_pool1d(rows(b), 2, 5, ceil_mode=True)[..., :4].view(-1, 4, 2, 2),
    "lp_pool of volumes": lambda a, b: F.lp_pool3d(a[:, None], 2, 2) + F.lp_pool3d(b[:, None], 4, (2, 2, 2), 2),
    "renorm": lambda a, b: each(lambda x, y: x.renorm(2, 0, 0.5) + y, a, b),
    "logaddexp2": lambda a, b: torch.logaddexp2(a, b) + torch.special.xlog1py(a, positive(b)),
    "scatter_reduce sum": lambda a, b: a.scatter_reduce(3, PLACES.expand_as(b), b, "sum", include_self=False),
    "scatter_reduce amin": lambda a, b: a.scatter_reduce(1, PLACES[:2, None, None].expand(len(a), 2, 5, 6), b, "amin"),
    "segment_reduce": lambda a, b: each(
        lambda x, _: sum(torch.segment_reduce(x[0], how, lengths=SIZES) for how in REDUCED), a, b),
    "quantiles": lambda a, b: sum(a.quantile(0.33, 3, interpolation=i) for i in ("lower", "higher", "midpoint"))
    + a.quantile(0.66, 3, interpolation="nearest")
    + b.nanquantile(0.9, 1, keepdim=True)[:, 0, :4],
    "aminmax": lambda a, b: a.aminmax(dim=3).max - b.aminmax(dim=3, keepdim=True)[0][..., 0],
    "fractional max-pool": lambda a, b: F.fractional_max_pool2d(a, 2, (4, 3), _random_samples=UNIT[: len(a)])
    + F.fractional_max_pool2d(b, (2, 3), output_ratio=(0.7, 0.5), _random_samples=UNIT[: len(a)])
    + torch.ops.aten.fractional_max_pool2d(a, [2, 2], [4, 3], UNIT[: len(a)])[0],
    "fractional max-pool of volumes": lambda a, b: F.fractional_max_pool3d(
        (a + b)[:, None], 2, output_size=2, _random_samples=torch.full((len(a), 1, 3), 0.6, dtype=a.dtype)),
    "grid_sample": lambda a, b: F.grid_sample(a, GRID[: len(a)], align_corners=False)
    + F.grid_sample(b, GRID[: len(a)], "bicubic", "reflection", True),
    "grid from the input": lambda a, b: F.grid_sample(a, places(b[:, :2]), align_corners=False)
    + F.grid_sample(b, places(a[:, 2:]), padding_mode="border", align_corners=True),
    "volumes and a grid from the input": lambda a, b: F.grid_sample(
        a[:, None], places(b[:, :3])[:, None], align_corners=True),
    "affine_grid": lambda a, b: F.grid_sample(
        a, F.affine_grid(b[:, 0, :2, :3], list(a.shape), align_corners=False), align_corners=False),
    "fourier": lambda a, b: torch.fft.irfft2(torch.fft.rfft2(a, norm="ortho") * FILTER, s=(6, 6), norm="ortho")
    + torch.fft.fft(b).real + torch.fft.fftshift(torch.fft.ifft2(a), (2, 3)).imag
    + torch.fft.irfft(torch.fft.rfft(b), 6),
    "spectral attention": lambda a, b: torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b).conj(), 6),
    "spectrum": lambda a, b: torch.fft.rfft(a).abs() + torch.view_as_complex(b.unflatten(3, (3, 2))).abs()[..., :1],
    "complex linear": lambda a, b: F.linear(torch.complex(a, b), COMPLEX, COMPLEX[0]).abs()
    + (torch.complex(a, b) @ COMPLEX).real + torch.einsum("nchw,wv->nchv", torch.complex(b, a), COMPLEX).imag,
    "polar": lambda a, b: torch.polar(positive(a), b).real,
    "short-time fourier": lambda a, b: torch.view_as_real(
        torch.stft(rows(a)[:, 0] + rows(b)[:, 1], 8, 4, window=HANN, return_complex=True)),
    "solve": lambda a, b: torch.linalg.solve(EYE * 2 + W, a) + b,
    "special": lambda a, b: torch.special.entr(positive(a)) + torch.sinc(a) + torch.logit(torch.sigmoid(b), 1e-6)
    + torch.erf(a) + torch.special.log_ndtr(b) + torch.lgamma(positive(a)) + torch.asin(torch.tanh(b)),
    "bags": lambda a, b: each(
        lambda x, y: F.embedding_bag(PLACES.view(2, 3), W, mode="sum", per_sample_weights=x[0, 0].view(2, 3)), a, b),
    "nan_to_num": lambda a, b: torch.nan_to_num(a) + b.nan_to_num(nan=1.0),
    "threshold": lambda a, b: F.threshold(a, 0.1, 0.0) + F.threshold(b, 0.1, -2.0),
    "prelu of the input": lambda a, b: F.prelu(a, b[0, :, 0, 0]) if len(a) == 1 else each(
        lambda x, y: F.prelu(x[None], y[:, 0, 0])[0], a, b),
    "modulo": lambda a, b: torch.remainder(a, 0.7) + b.fmod(0.4) + b.frac(),
    "losses": lambda a, b: F.binary_cross_entropy_with_logits(a, torch.sigmoid(b), reduction="none")
    + F.binary_cross_entropy(torch.sigmoid(b), torch.sigmoid(a), reduction="none")
    + F.kl_div(a, positive(b), reduction="none") + F.smooth_l1_loss(a, b, None, None, "none")
    + F.l1_loss(a, EYE.expand(len(a), 4, 6, 6), reduction="none")
    + nn.CrossEntropyLoss(reduction="none")(a, LABELS[: len(a)])[:, None]
    + torch.ops.aten.mse_loss(a, b, 0),
    "losses of a sample": lambda a, b: each(
        lambda x, y: F.mse_loss(x, y) + F.kl_div(x, positive(y), reduction="sum"), a, b)[:, None],
    "covariance": lambda a, b: each(lambda x, y: torch.cov(x[0]) + y[0], a, b),
}  # fmt: skip
FILTER, COMPLEX = torch.complex(W[:, :4], W[:, 2:]), torch.complex(W, W.mT + 0.3)
REDUCED = ("sum", "mean", "max", "min")
LABELS = torch.arange(108).view(3, 6, 6) % 4
HANN, SIZES = torch.hann_window(8, dtype=torch.float64), torch.tensor([2, 4])


def each(function, a, b):
    """A function of one sample at a time."""
    return torch.stack([function(x, y) for x, y in zip(a, b, strict=True)])


def places(t):
    return torch.tanh(t).permute(0, 2, 3, 1) * 1.2


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("baseline", [hp.baselines.Zero(), BASELINE], ids=str)
@pytest.mark.parametrize("name", {**OTHERS, **{name: fused for name, (fused, _) in WRITTEN.items()}})
def test_deeplift_is_complete(name, baseline):
    model, x = Step(OTHERS.get(name) or WRITTEN[name][0]), images()
    change = (model(x) - model(baseline(x).expand_as(x))).detach()
    outputs, pull = DeepLIFT(baseline=baseline).linearize(model, x)
    assert torch.equal(outputs, model(x))
    for target in range(3):
        maps = pull(F.one_hot(torch.full((3,), target), 3).to(x.dtype))
        torch.testing.assert_close(maps.flatten(1).sum(1), change[:, target], rtol=1e-8, atol=1e-11)


# Linear in the input, with fixed numbers or with others of its own: relevance is the gradient times the input.
PIECEWISE_LINEAR = (
    "grid_sample", "fourier", "short-time fourier", "solve", "fractional max-pool", "scatter_reduce sum",
    "segment_reduce", "quantiles", "aminmax", "bags", "nan_to_num", "einsum with constants",
    "matrix norms",
)  # fmt: skip


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_relevance_is_gradient_times_input_where_the_network_is_piecewise_linear(name):
    model, x = Step(OTHERS[name]), images()
    exact = Composite(convolution=Epsilon(epsilon=0.0), dense=Epsilon(epsilon=0.0))
    ours = LRP(composite=exact)(model, x, TARGETS)
    torch.testing.assert_close(ours, x * hp.methods.Gradient()(model, x, TARGETS), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OTHERS)
def test_relevance_is_finite_and_values_stay(name):
    model, x = Step(OTHERS[name]), images()
    for composite in ("epsilon", "alpha1-beta0"):
        outputs, pull = LRP(composite=composite).linearize(model, x)
        assert torch.equal(outputs, model(x))
        assert bool(pull(torch.ones_like(outputs)).isfinite().all())


def test_relevance_of_a_product_of_many_is_shared_equally():
    # Three factors get a third each, and the results of a cumulative product each share among theirs.
    class Net(nn.Module):
        def forward(self, x):
            return torch.stack([x.prod(1), x.cumprod(1)[:, 1], torch.einsum("n,n,n->n", *x.unbind(1))], 1)

    x = torch.tensor([[2.0, 3.0, -4.0]])
    _, pull = LRP(composite="epsilon").linearize(Net().eval(), x)
    for target, shares in enumerate(([-8.0, -8.0, -8.0], [3.0, 3.0, 0.0], [-8.0, -8.0, -8.0])):
        torch.testing.assert_close(pull(torch.eye(3)[target : target + 1]), torch.tensor([shares]))


def test_deeplift_of_a_product_of_many_is_the_gradient_averaged_on_the_path():
    class Net(nn.Module):
        def __init__(self, step):
            super().__init__()
            self.step = step

        def forward(self, x):
            return self.step(x)

    x = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    averaged = hp.methods.IntegratedGradients(steps=10, baseline=BASELINE)
    for step in (lambda x: x.prod(1, keepdim=True), lambda x: torch.einsum("n,n,n,n,n->n", *x.unbind(1))[:, None]):
        model, targets = Net(step).eval(), torch.zeros(4, dtype=torch.int64)
        ours = DeepLIFT(baseline=BASELINE)(model, x, targets)
        torch.testing.assert_close(ours, averaged(model, x, targets))


class Experts(nn.Module):
    """Each sample goes to the expert that a router chooses: sorted by expert, in one grouped product, or one by one."""

    def __init__(self, grouped):
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.grouped, self.first, self.router = grouped, nn.Linear(5, 16), nn.Linear(16, 2)
        self.experts = nn.Parameter(torch.empty(2, 16, 8))
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=stream)

    def forward(self, x):
        h = self.first(x)
        gates, chosen = self.router(h).softmax(-1).max(-1)
        if self.grouped is None:
            return torch.stack([row @ self.experts[i] for row, i in zip(h, chosen, strict=True)]) * gates[:, None]
        order = chosen.argsort()
        ends = torch.bincount(chosen, minlength=2).cumsum(0).to(torch.int32)
        return self.grouped(h[order], self.experts, ends)[order.argsort()] * gates[:, None]


GROUPED = {
    "torch": lambda h, w, ends: torch._grouped_mm(h, w, offs=ends),
    "functional": lambda h, w, ends: F.grouped_mm(h, w, offs=ends),
}


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("composite", ["epsilon", "alpha1-beta0"])
def test_grouped_products_are_one_product_a_group(name, composite):
    if not hasattr(F if name == "functional" else torch, "grouped_mm" if name == "functional" else "_grouped_mm"):
        pytest.skip("this torch has no grouped products")
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    one, grouped = Experts(None).eval(), Experts(GROUPED[name]).eval()
    targets = torch.tensor([0, 1, 2, 3, 4, 5])
    torch.testing.assert_close(
        LRP(composite=composite)(grouped, x, targets), LRP(composite=composite)(one, x, targets), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(OperationError, match=r"calls __getitem__ .it chooses otherwise at the baseline"):
        DeepLIFT()(grouped, x, targets)


REFUSED = {
    "floor": (lambda a, b: a.floor() + b, "calls floor .it is constant between its steps"),
    "sign": (lambda a, b: a.sign() * b, "calls sign .it is constant between its steps"),
    "round_": (lambda a, b: a.clone().round_() + b, "calls round .it is constant between its steps"),
    "a // b": (lambda a, b: a // 0.5 + b, "calls floor_divide .it is constant between its steps"),
    "gumbel": (lambda a, b: F.gumbel_softmax(a) + b, r"gumbel_softmax is active: it draws random numbers"),
    "bernoulli": (lambda a, b: torch.bernoulli(a.sigmoid()) + b, r"bernoulli is active: it draws random numbers"),
    "regions": (lambda a, b: F.fractional_max_pool2d(a + b, 2, output_size=3), "at random.*Give it `_random_samples`"),
    "inverse": (lambda a, b: torch.linalg.inv(a @ a.mT + EYE) @ b, "calls linalg_inv .it decomposes or inverts"),
    "svd": (lambda a, b: torch.linalg.svdvals(a) + b[..., 0], "calls linalg_svdvals .it decomposes or inverts"),
    "scatter": (
        lambda a, b: a.scatter(3, PLACES.expand_as(b), b, reduce="multiply"),
        "calls scatter .torch has no derivative of it with reduce=; call scatter_reduce",
    ),
    "angle": (lambda a, b: torch.complex(a, b).angle(), "calls angle .it is an angle"),
    "out": (
        lambda a, b: torch.addcmul(a, a, b, out=torch.empty(0, dtype=a.dtype)),
        "calls addcmul .it writes into `out`",
    ),
    "rounding": (lambda a, b: torch.div(a, 0.5, rounding_mode="floor") + b, "calls div .it rounds"),
    "detached": (lambda a, b: torch.fft.fft(a).detach().real + b, "detach in .* cuts the path"),
}
BY_RULES = {
    "complex exp": (lambda a, b: torch.complex(a, b).exp().real, "calls exp .it works on complex numbers, and is not"),
    "complex quotient": (lambda a, b: (1 / torch.complex(a, b)).real, "calls rdiv .it works on complex numbers"),
    "product of a group": (lambda a, b: a.scatter_reduce(3, PLACES.expand_as(b), b, "prod"), "reduce='prod' mul"),
    "nearest": (lambda a, b: F.grid_sample(a, places(b[:, :2]), "nearest", align_corners=False), "mode='nearest' with"),
    "solve": (lambda a, b: torch.linalg.solve(a @ a.mT + EYE, b), "calls linalg_solve .it decomposes or inverts"),
    "atan2": (lambda a, b: torch.atan2(a, b), "calls atan2 .more than one of its arguments depends on the input"),
    "power": (lambda a, b: a**b, "calls pow .base and exponent depend on the input, and the base is not positive"),
}


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", {**REFUSED, **BY_RULES})
def test_what_has_no_rule_says_why(name, method):
    step, words = (REFUSED | BY_RULES)[name]
    with pytest.raises(OperationError, match=words):
        METHODS[method](Step(step), images().abs(), TARGETS)


@pytest.mark.filterwarnings("ignore:The reduce argument of torch.scatter")
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivative_has_none_under_guided_backpropagation(name):
    step, words = REFUSED[name]
    with pytest.raises(OperationError, match=words):
        GuidedBackprop()(Step(lambda a, b: F.relu(step(a, b))), images(), TARGETS)


def test_deeplift_refuses_groups_that_the_input_chooses():
    step = Step(lambda a, b: a.scatter_reduce(1, b.argmax(1, keepdim=True), b[:, :1], "sum"))
    with pytest.raises(OperationError, match=r"calls scatter_reduce .it chooses by a mask or an index"):
        DeepLIFT()(step, images(), TARGETS)
    assert bool(LRP(composite="epsilon")(step, images(), TARGETS).isfinite().all())


RECTIFIERS = {
    "clamp": lambda a, b: a.clamp(min=0) + b.clone().clamp_min_(0),
    "maximum": lambda a, b: torch.maximum(a, torch.zeros((), dtype=a.dtype)) + torch.fmax(torch.zeros_like(b), b),
    "where": lambda a, b: torch.where(a > 0, a, 0.0) + torch.where(b <= 0, torch.zeros_like(b), b),
    "mask": lambda a, b: a * (a > 0) + (b > 0).double() * b,
    "filled": lambda a, b: a.masked_fill(a < 0, 0) + F.threshold(b, 0, 0),
    "slope 0": lambda a, b: F.leaky_relu(a, 0.0) + F.hardtanh(b, 0.0, math.inf),
}


@pytest.mark.parametrize("method", [GuidedBackprop(), hp.methods.get("deconvnet")], ids=str)
@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_relu_in_other_words_is_clamped(name, method):
    x = images()
    plain = method(Step(lambda a, b: F.relu(a) + F.relu(b)), x, TARGETS)
    assert torch.equal(method(Step(RECTIFIERS[name]), x, TARGETS), plain)


@pytest.mark.parametrize("name", RECTIFIERS)
def test_a_relu_in_other_words_hands_relevance_on_as_one(name):
    x = images()
    for composite in ("epsilon", "alpha1-beta0"):
        method = LRP(composite=composite)
        plain = method(Step(lambda a, b: F.relu(a) + F.relu(b)), x, TARGETS)
        torch.testing.assert_close(method(Step(RECTIFIERS[name]), x, TARGETS), plain)


def test_values_put_back_in_their_places_keep_their_relevance():
    # A choice at x: the places are held, so that the map is the gradient times the input.
    def step(a, b):
        top, places = F.max_pool2d(a, 2, return_indices=True)
        return F.max_unpool2d(top, places, 2) + b.gather(1, b.argmax(1, keepdim=True))

    model, x = Step(step), images()
    exact = LRP(composite=Composite(convolution=Epsilon(epsilon=0.0), dense=Epsilon(epsilon=0.0)))
    assert torch.equal(exact.linearize(model, x).outputs, model(x))
    torch.testing.assert_close(exact(model, x, TARGETS), x * hp.methods.Gradient()(model, x, TARGETS))


@pytest.mark.parametrize("step", [lambda a, b: F.relu6(9 * a) + b, lambda a, b: torch.where(b > 0, a, 0.0) + b])
def test_what_is_no_relu_is_not_clamped(step):
    with pytest.raises(hp.errors.InputError, match="no relu was called"):
        GuidedBackprop()(Step(step), images(), TARGETS)
