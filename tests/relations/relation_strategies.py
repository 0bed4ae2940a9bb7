"""Hypothesis strategies of networks: specs, so that what fails shrinks to few steps and is kept as a line."""

from hypothesis import strategies as st

from heatproof.testing.relations import NetworkSpec, Step
from heatproof.testing.relations.building import MAKERS
from heatproof.testing.relations.specs import HEADS, IMAGES, SEQUENCES, TABLES

WIDTHS, SIZES, STRIDES = st.sampled_from((4, 6, 8)), st.sampled_from((3, 1, 2)), st.sampled_from((1, 2))


def steps():
    leaves = st.builds(Step, st.sampled_from(sorted(MAKERS)), width=WIDTHS, size=SIZES, stride=STRIDES)
    branch = st.lists(st.builds(Step, st.sampled_from(("conv", "batch_norm", "relu", "gelu"))), min_size=1, max_size=3)
    branches = st.builds(
        lambda kind, inner: Step(kind, inner=tuple(Step(s.kind, width=0) for s in inner)),
        st.sampled_from(("residual", "concatenated")),
        branch,
    )
    return st.one_of(leaves, branches)


def networks(shapes=(*IMAGES, *TABLES, *SEQUENCES)):
    """Networks of one to six steps; without biases, nothing is added anywhere."""
    return st.builds(
        NetworkSpec,
        st.sampled_from(shapes),
        st.lists(steps(), min_size=1, max_size=6).map(tuple),
        st.sampled_from(HEADS),
        st.integers(2, 5),
        st.booleans(),
        st.integers(0, 999),
    )
