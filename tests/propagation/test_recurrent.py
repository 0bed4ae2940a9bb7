"""Recurrent networks and attention as they are: values bit-equal, derivatives by rules."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import heatproof as hp
from heatproof.methods.deeplift import DeepLIFT
from heatproof.methods.guided import GuidedBackprop
from heatproof.methods.lrp import LRP
from heatproof.propagation import Box, Composite, Epsilon, Gamma
from heatproof.propagation.attention import attention
from heatproof.propagation.recurrent import DECOMPOSED

LENGTHS = [6, 2, 4]
BASELINE = hp.baselines.Constant(value=0.2)


class Sequence(nn.Module):
    """A recurrent layer, and a linear layer on its last state and mean output."""

    def __init__(self, layer, packed):
        super().__init__()
        self.layer, self.packed = layer, packed
        self.head = None

    def forward(self, x):
        if self.packed:
            x = pack_padded_sequence(x, LENGTHS, batch_first=self.layer.batch_first, enforce_sorted=False)
        out, state = self.layer(x)
        state = torch.cat(state, -1) if isinstance(state, tuple) else state
        if self.packed:
            out, _ = pad_packed_sequence(out, batch_first=self.layer.batch_first)
        mean = out.mean(1 if self.layer.batch_first else 0)
        return torch.cat([state.transpose(0, 1).flatten(1), mean], 1)


class SamplesFirst(nn.Module):
    """A model with time in front, for samples in front."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x if self.net.layer.batch_first else x.transpose(0, 1))


def recurrent(kind, *, seed=0, packed=False, **settings):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = getattr(nn, kind)(5, 4, **settings).double()
    return SamplesFirst(Sequence(layer, packed)).eval()


def sequences():
    return torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


SETTINGS = [
    (kind, dict(zip(("num_layers", "bidirectional", "bias", "batch_first"), choice, strict=True)) | extra)
    for choice in itertools.product((1, 2), (False, True), (True, False), (True, False))
    for kind, extra in (
        ("LSTM", {}),
        ("LSTM", {"proj_size": 3}),
        ("GRU", {}),
        ("RNN", {"nonlinearity": "tanh"}),
        ("RNN", {"nonlinearity": "relu"}),
    )
]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize(
    ("kind", "settings"), SETTINGS, ids=lambda s: str(s) if isinstance(s, str) else str(s.values())
)
def test_every_configuration_keeps_its_value_and_gradient(kind, settings, packed):
    from test_engine import Plain

    from heatproof.models import forward
    from heatproof.propagation.mode import Engine

    model, x = recurrent(kind, packed=packed, **settings), sequences()
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, plain = Engine(model, Plain()).run(leaf, lambda t: forward(model, t)), model(other)
    assert torch.equal(ours, plain)
    weights = torch.randn(plain.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (mine,), (theirs,) = torch.autograd.grad(ours, leaf, weights), torch.autograd.grad(plain, other, weights)
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_deeplift_is_complete_through_gates(kind, packed):
    model, x = recurrent(kind, packed=packed, num_layers=2, bidirectional=True, batch_first=True), sequences()
    for target in (0, 5, -1):
        label = torch.full((3,), target % model(x).shape[1])
        explained = DeepLIFT(baseline=BASELINE).explain(model, x, label)
        total = explained.maps.abs().flatten(1).sum(1)
        assert bool((explained.diagnostics["completeness-gap"].abs() <= 1e-10 * total).all())


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "RNNCell"])
def test_single_cells_are_decomposed(cell):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = getattr(nn, cell)(5, 4)

        def forward(self, x):
            state = None
            for step in x.unbind(1):
                state = self.cell(step, state)
            return state[0] if isinstance(state, tuple) else state

    torch.manual_seed(0)
    model, x = Net().double().eval(), sequences()
    explained = DeepLIFT(baseline=BASELINE).explain(model, x, torch.tensor([0, 1, 3]))
    assert explained.diagnostics["completeness-gap"].abs().max() < 1e-12
    assert torch.equal(LRP().linearize(model, x)[0], model(x))


def test_lrp_of_an_lstm_gives_gates_nothing():
    # One step from a zero state: h = σ(o)·tanh(σ(i)·tanh(g)), so all of R comes in through g (Arras et al. 2017).
    model = recurrent("LSTM", bias=False, batch_first=True)
    x = sequences()[:, :1]
    outputs, pull = LRP(composite="epsilon").linearize(model, x)
    one = torch.zeros_like(outputs)
    one[:, 0] = 1
    weight = model.net.layer.weight_ih_l0[8]  # the row of g for the first unit
    contributions = x[:, 0] * weight
    expected = contributions / contributions.sum(1, keepdim=True) * outputs[:, :1]
    torch.testing.assert_close(pull(one)[:, 0], expected.detach(), rtol=1e-4, atol=1e-9)


def test_all_c_calls_have_a_decomposition():
    assert set(DECOMPOSED) == {
        "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
    }  # fmt: skip


MASK = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(4)) > 0.3
BLIND = MASK.clone()
BLIND[0, 0, 0] = False


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": MASK},
        {"attn_mask": torch.randn(5, 7, generator=torch.Generator().manual_seed(5)).double()},
        {"attn_mask": BLIND},
        {"enable_gqa": True, "attn_mask": MASK},
    ],
    ids=lambda s: "-".join(s) or "plain",
)
def test_attention_is_torchs(settings):
    stream = torch.Generator().manual_seed(3)
    heads = 2 if settings.get("enable_gqa") else 4
    query = torch.randn(2, 4, 5, 8, generator=stream, dtype=torch.float64)
    key, value = (torch.randn(2, heads, 7, 8, generator=stream, dtype=torch.float64) for _ in range(2))
    theirs = F.scaled_dot_product_attention(query, key, value, **settings)
    torch.testing.assert_close(attention(query, key, value, **settings), theirs, rtol=1e-10, atol=1e-12)


class Attended(nn.Module):
    def __init__(self, how, **settings):
        super().__init__()
        self.attention, self.how = nn.MultiheadAttention(8, 2, batch_first=True, **settings), how

    def forward(self, x):
        out, weights = self.attention(x, x, x, **self.how)
        return out.mean(1) if weights is None else out.mean(1) + weights.sum((1, 2))[:, None]


PADDING = torch.tensor([[0, 0, 0, 1, 1]] * 2).bool()  # the same of each sample: others are given, by a Bound
VARIANTS = [
    ({"need_weights": False}, {}),
    ({"need_weights": True}, {}),
    ({"need_weights": False, "key_padding_mask": PADDING}, {}),
    ({"need_weights": False, "attn_mask": torch.ones(5, 5).triu(1).bool(), "is_causal": True}, {}),
    ({"need_weights": True}, {"add_bias_kv": True, "add_zero_attn": True}),
    ({"need_weights": False}, {"bias": False}),
]


@pytest.mark.parametrize(("how", "settings"), VARIANTS, ids=str)
def test_multi_head_attention_is_opened(how, settings):
    torch.manual_seed(0)
    model = Attended(how, **settings).double().eval()
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    outputs, pull = LRP(composite="epsilon").linearize(model, x)
    assert torch.equal(outputs, model(x.clone().requires_grad_()))
    assert torch.isfinite(pull(torch.ones_like(outputs))).all()
    explained = DeepLIFT(baseline=BASELINE).explain(model, x, torch.tensor([0, 3]))
    total = explained.maps.abs().flatten(1).sum(1)
    assert bool((explained.diagnostics["completeness-gap"].abs() <= 1e-10 * total).all())


def test_attnlrp_shares_a_matrix_product_in_halves_and_conserves():
    # Values that depend on the input times weights that do: each gets half (Achtibat et al. 2024, eq. 15).
    class Product(nn.Module):
        def forward(self, x):
            return (x[:, :2].reshape(-1, 1, 2) @ x[:, 2:].reshape(-1, 2, 1)).flatten(1)

    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    maps = LRP(composite="epsilon")(Product().eval(), x, torch.tensor([0]))
    torch.testing.assert_close(maps, torch.tensor([[1.5, 4.0, 1.5, 4.0]], dtype=torch.float64))


def test_softmax_takes_attnlrps_rule():
    # R_i = x_i (R'_i − s_i Σ_j R'_j) with R' the relevance of the softmax's outputs (eq. 13).
    model = nn.Sequential(nn.Softmax(1)).eval()
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs, pull = LRP().linearize(model, x)
    coefficients = torch.randn_like(outputs)
    upper = coefficients * outputs
    expected = x * (upper - outputs * upper.sum(1, keepdim=True))
    torch.testing.assert_close(pull(coefficients), expected)


def test_layer_norm_holds_its_denominator():
    model = nn.LayerNorm(5).double().eval()
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs, pull = LRP().linearize(model, x)
    torch.testing.assert_close(pull(torch.ones_like(outputs)).sum(1), outputs.sum(1), rtol=1e-6, atol=1e-9)
    one = torch.zeros_like(outputs)
    one[:, 2] = 1
    deviation = (x.var(1, correction=0) + 1e-5).sqrt()
    unit = torch.eye(5, dtype=torch.float64)[2]
    torch.testing.assert_close(pull(one), x * (unit - 0.2) / deviation[:, None])


@pytest.fixture(scope="module")
def bert():
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=50
        )
        net = transformers.BertForSequenceClassification(config).double().eval()
        for parameter in net.parameters():
            parameter.data.mul_(5)
    ids = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(1))
    attended = torch.ones_like(ids)
    attended[1, 4:] = 0
    return hp.models.Bound(
        net,
        at="bert.embeddings.word_embeddings",
        given={"input_ids": ids, "attention_mask": attended},
        output="logits",
    )


def test_a_bert_encoder_works_as_it_is(bert):
    x, targets = bert.inputs(), torch.tensor([0, 1, 1])
    plain = hp.methods.Gradient().linearize(bert, x).outputs
    for method in (LRP(composite="epsilon"), LRP(), DeepLIFT()):
        outputs, _ = method.linearize(bert, x)
        assert torch.equal(outputs, plain)
    explained = DeepLIFT().explain(bert, x, targets)
    total = explained.maps.abs().flatten(1).sum(1)
    assert bool((explained.diagnostics["completeness-gap"].abs() <= 1e-8 * total).all())
    with pytest.raises(hp.errors.InputError, match="no relu was called"):
        GuidedBackprop()(bert, x, targets)


class OfLengths(nn.Module):
    """Logits of a packed batch; a sequence alone runs over its own steps, unpacked."""

    def __init__(self, kind):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layer = getattr(nn, kind)(5, 4, batch_first=True).double()
            self.head = nn.Linear(4, 3).double()

    def forward(self, x):
        if len(x) == 1:
            out, _ = self.layer(x)
            return self.head(out.sum(1))
        out, _ = self.layer(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))
        return self.head(pad_packed_sequence(out, batch_first=True)[0].sum(1))


# A network of these lengths does not run on two rows, and cannot be asked which axis holds channels: the box is given.
BOXED = Composite(convolution=Gamma(), dense=Epsilon(), first=Box(low=-9.0, high=9.0))


@pytest.mark.parametrize(
    "composite", ["epsilon", "alpha1-beta0", BOXED, "epsilon-plus-flat"], ids=lambda one: str(one)[:9]
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_relevance_of_a_packed_sequence_is_that_of_the_sequence_alone(kind, composite):
    net, x, targets = OfLengths(kind).eval(), sequences(), torch.tensor([0, 1, 2])
    explained = LRP(composite=composite).explain(net, x, targets)
    for n, length in enumerate(LENGTHS):
        alone = LRP(composite=composite)(net, x[n : n + 1, :length], targets[n : n + 1])[0]
        torch.testing.assert_close(explained.maps[n, :length], alone, rtol=1e-7, atol=1e-10)
        assert not explained.maps[n, length:].any()
