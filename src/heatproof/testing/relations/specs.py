"""A network told in a few words: what generators draw, what shrinks, and what `build` makes the same module of."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "elu", "softplus", "hardswish")
RECTIFIERS = ("relu", "leaky_relu")
NORMS = ("group_norm", "instance_norm", "layer_norm")
MAPS = ("max_pool", "avg_pool", "pad", "upsample", "dropout", "scale", "place", "depthwise", "deconvolve")
HEADS = ("pooled", "flat", "class_map", "grouped", "dense")
# Images from 1 × T to 8 : 1, tables, and sequences (T, E).
IMAGES = ((3, 8, 8), (3, 7, 9), (2, 4, 16), (1, 1, 12), (3, 16, 2), (1, 9, 9))
TABLES = ((6,), (9,))
SEQUENCES = ((5, 4), (7, 6))


@dataclass(frozen=True, repr=False)
class Step:
    """One operation of a network; `build` leaves out one that does not fit what comes before it.

    Args:
        kind: its name in `building.MAKERS`.
        width: channels that it gives, where it chooses them.
        size, stride: of a window, in places.
        inner: the steps of a residual, concatenated or gated branch.
    """

    kind: str
    width: int = 6
    size: int = 3
    stride: int = 1
    inner: tuple["Step", ...] = ()

    def __repr__(self) -> str:
        given = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)[1:] if getattr(self, f.name) != f.default]
        return f"Step({', '.join([repr(self.kind), *given])})"


@dataclass(frozen=True)
class NetworkSpec:
    """A network in float64: samples of `shape` → `outputs` logits, through `steps` and a `head`.

    (C, H, W) are images, (T, E) sequences of tokens, (D,) tables. `seed` decides the weights. Without `biases` nothing
    is added anywhere, so that a network of rectifiers is homogeneous.
    """

    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()
    head: str = "pooled"
    outputs: int = 3
    biases: bool = True
    seed: int = 0


def draw(seed: int, *, shapes: Sequence[tuple[int, ...]] = (*IMAGES, *TABLES, *SEQUENCES)) -> NetworkSpec:
    """A network at random: the same for the same seed, whatever the global random state.

    A third is plain rectifier networks without biases, which every relation applies to.
    """
    stream = random.Random(seed)
    shape = stream.choice(shapes)
    biases = stream.random() > 1 / 3
    steps: list[Step] = []
    for _ in range(stream.randint(1, 4)):
        steps += _stage(stream, shape, biases=biases)
    head = stream.choice(HEADS) if len(shape) == 3 else "pooled"
    return NetworkSpec(shape, tuple(steps), head, stream.randint(2, 5), biases, stream.randrange(1000))


def _stage(stream: random.Random, shape: Sequence[int], *, biases: bool) -> list[Step]:
    """A linear operation, perhaps a norm, an activation, perhaps one more thing."""
    activation = "relu" if stream.random() < 0.6 else stream.choice(ACTIVATIONS if biases else RECTIFIERS)
    width = stream.choice((4, 6, 8))
    if len(shape) == 1:
        return [Step("linear", width=width), Step(activation)]
    if len(shape) == 2:
        one = [Step("linear", width=width), Step(activation)]
        if biases and stream.random() < 0.4:
            one.append(Step("layer_norm"))
        return [*one, Step("attention")] if stream.random() < 0.3 else one
    conv = Step("conv", width=width, size=stream.choice((1, 3, 3)), stride=stream.choice((1, 1, 1, 2)))
    stage = [conv]
    if stream.random() < 0.4:
        stage.append(Step("batch_norm"))
    elif biases and stream.random() < 0.25:
        stage.append(Step(stream.choice(NORMS)))
    stage.append(Step(activation))
    more = stream.random()
    if more < 0.2:
        stage.append(Step("residual", inner=(Step("conv", width=0), Step(stream.choice(("batch_norm", "relu"))))))
        stage.append(Step(activation))
    elif more < 0.3:
        stage.append(Step("concatenated", inner=(Step("conv", width=4), Step(activation))))
    elif more < 0.4:
        stage.append(Step(stream.choice(("excited", "selected"))))
    elif more < 0.8:
        stage.append(Step(stream.choice(MAPS), size=2, stride=2))
    return stage
