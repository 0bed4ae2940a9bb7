"""What the relations found once, shrunk: each of these networks broke a method that is right on it now."""

import pytest

from heatproof.testing.relations import NetworkSpec, Step, quick_methods, relation_table, relations

CONV_NORM = NetworkSpec((2, 4, 16), (Step("conv"), Step("batch_norm"), Step("relu")))
TOKENS = NetworkSpec((5, 4), (Step("linear"), Step("relu")))
PLAIN = NetworkSpec((4,), (Step("linear"), Step("relu")), biases=False)
KEPT = {
    "`torch.batch_norm` bound as F.batch_norm": ("spelled-torch", "lrp-epsilon", CONV_NORM),
    "`aten.batch_norm` bound as F.batch_norm": ("spelled-aten", "guided-backprop", CONV_NORM),
    "an exported batch norm": ("exported", "lrp-epsilon-plus", CONV_NORM),
    "convolutions in decompositions": ("exported-decomposed", "lrp-epsilon", CONV_NORM),
    "layer norms in decompositions": (
        "exported-decomposed",
        "lrp-epsilon-plus",
        NetworkSpec((5, 4), (Step("linear"), Step("layer_norm"))),
    ),
    "a view over samples of a shared baseline": ("exported-decomposed", "deeplift", TOKENS),
    "an activation in place behind linear layers of sequences": (
        "in-place",
        "lrp-alpha1-beta0",
        NetworkSpec((5, 4), (Step("linear"), Step("tanh"))),
    ),
    "an ε that is a number": ("homogeneous-1e-13", "lrp-epsilon", PLAIN),
    "an ε that is a share of one label's bias": (
        "dead-label",
        "lrp-epsilon",
        NetworkSpec((4,), (Step("linear"), Step("relu"))),
    ),
    "CGI's short way where a label averages several maps": (
        "outputs-times-one",
        "cgi",
        NetworkSpec((2, 4, 6), (Step("conv"), Step("relu")), "grouped"),
    ),
    "max-pooling over a baseline of one color, whose places rounding chose": (
        "bias-apart",
        "deeplift",
        NetworkSpec((2, 4, 8), (Step("conv", size=1), Step("tanh"), Step("max_pool", size=2)), "dense", seed=415),
    ),
    "torch's derivative of an instance norm before a transposition": (
        "alone",
        "gradient-x-input",
        NetworkSpec((3, 8, 8), (Step("instance_norm"), Step("layer_norm")), outputs=2),
    ),
    "the same behind a ReLU": (
        "alone",
        "guided-backprop",
        NetworkSpec((3, 8, 8), (Step("relu"), Step("instance_norm"), Step("layer_norm")), outputs=2),
    ),
    "an einsum with dots, whose tokens were read as channels": (
        "linear-as-einsum",
        "grad-cam",
        NetworkSpec((7, 6), (Step("linear"), Step("relu"), Step("layer_norm"), Step("linear"))),
    ),
    "layers of a decomposed network": ("spelled-aten-lowered", "grad-cam", CONV_NORM),
    "what an observer learns from the data of a fit": ("fake-quantization", "iba", CONV_NORM),
    "a ReLU under another name": ("relu-as-clamp", "guided-backprop", PLAIN),
    "a written-out ReLU whose input is nowhere below 0": (
        "relu-as-product",
        "guided-backprop",
        NetworkSpec((3, 4, 4), (Step("conv"), Step("relu"), Step("relu"))),
    ),
    "a maximum beside a constant": ("relu-as-maximum", "deeplift", PLAIN),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_was_found_stays_mended(what):
    relation, name, spec = KEPT[what]
    table = relation_table({name: quick_methods()[name]}, [spec], relations=relations(relation))
    assert table[relation, name].failures == []
    assert table[relation, name].holds == 1


def test_patterns_refuse_a_relu_that_is_written_out():
    table = relation_table({"pattern-net": quick_methods()["pattern-net"]}, [PLAIN], relations=relations("spelling"))
    for relation in ("relu-as-product", "relu-as-where", "relu-as-clamp"):
        assert dict(table[relation, "pattern-net"].refused) == {"it refuses networks with such an operation": 1}
