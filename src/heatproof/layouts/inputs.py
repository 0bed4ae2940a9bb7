"""Which axes of the inputs hold features, and which are positions: what the network does with them tells."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from heatproof.errors import HeatproofError, InputError
from heatproof.features import Columns, Features, Pixels, Segments, Tokens
from heatproof.layouts.seen import already_seen, seen
from heatproof.layouts.told import Meaning
from heatproof.models import Bound

InputLayout = Literal["channels-first", "channels-last"]


def feature_axes(model: nn.Module, inputs: Tensor, layout: InputLayout | None = None) -> tuple[int, ...]:
    """The axis of `inputs` (N, …) that holds the features of each position, as a tuple; none where there is none.

    What the first operations that mix elements do with the input tells: a convolution reads (N, C, …), a linear,
    recurrent or attention layer the last dimension. Where nothing tells (a network that flattens its input at once),
    images and volumes are read as torch's own layers read them, channels first, if no axis is shorter than that of the
    channels; `layout` says it otherwise. Cost: none for tables, else a watched run of two rows, once a network and
    shape of inputs.

    Raises: InputError where nothing tells.
    """
    last = inputs.dim() - 1
    if last == 1:
        return ()
    if layout is not None:
        return (1,) if layout == "channels-first" else (last,)
    found = _told(_meanings(model, inputs), inputs.shape)
    if found is None:
        raise InputError(
            f"Expected operations that tell what the dimensions of inputs {tuple(inputs.shape)} mean, but the network "
            "mixes all of them at once; say what one feature is: features=Pixels() for (N, C, positions …), "
            "Tokens() for (N, T, E), Columns() for every scalar, where there is such a field, else "
            "layout='channels-first' or layout='channels-last'."
        )
    return found


def axes_known(model: nn.Module, inputs: Tensor) -> tuple[int, ...] | None:
    """The same where it was found out before, without running the network; None where it was not."""
    known = already_seen(model, inputs)
    return None if known is None else _told(known.axes, inputs.shape)


def features_of(model: nn.Module, inputs: Tensor) -> Features:
    """What counts as one feature of such inputs by default.

    What an embedding makes of an integer is one feature. Columns of tables (N, D), and every scalar of images without a
    channel dimension; tokens of sequences (N, T, E); pixels, with all their channels, of series (N, C, T), images and
    volumes. Raises and costs as `feature_axes`.
    """
    if isinstance(model, Bound) and model.several:
        return model.features()
    if isinstance(model, Bound) and model.at in model.embeddings and inputs.dim() in (2, 3):
        return Segments() if inputs.dim() == 2 else Tokens()
    axes, last = feature_axes(model, inputs), inputs.dim() - 1
    if not axes:
        return Columns()
    if axes == (1,):
        return Pixels()
    return Tokens() if last == 2 else Pixels(layout="channels-last")


def _meanings(model: nn.Module, inputs: Tensor) -> Sequence[Meaning | None]:
    try:
        return seen(model, inputs).axes
    except HeatproofError:  # a network that does not run on two rows of a sample: it tells nothing
        return [None] * (inputs.dim() - 1)


def _told(meanings: Sequence[Meaning | None], shape: Sequence[int]) -> tuple[int, ...] | None:
    axes = range(1, len(shape))
    features = [axis for axis in axes if meanings[axis - 1] == "feature"]
    positions = [axis for axis in axes if meanings[axis - 1] == "position"]
    last = len(shape) - 1
    # An axis of one place tells nothing by itself: it is that of the channels where nothing else is.
    single = [axis for axis in (1, last) if shape[axis] == 1 and axis not in features]
    # Nor does the one axis of several: flattened, the image is that axis.
    row = all(shape[axis] == 1 for axis in range(1, last))
    if len(shape) > 3 and (1 in features or (1 in single and (row or last not in features))):
        return (1,)
    if len(features) == 1 and features[0] in (1, last):
        return (features[0],)
    if not features and positions:
        return (single[0],) if single else () if len(positions) == last else None
    if not features and len(shape) > 3 and shape[1] == min(shape[1:]):
        return (1,)
    return None
