"""Two properties that 002 proves of explanations, measured on a given network: monotonicity, and positive dominance."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from heatproof.checks.network_structure import WEIGHTED, watching
from heatproof.draws import generator
from heatproof.errors import InputError
from heatproof.methods import GradientXInput
from heatproof.methods.base import Method
from heatproof.models import Bound, check_model, forward
from heatproof.propagation.independence import check_independent

ROUNDING = 1e-5  # of the larger of two attributions, in float32


def monotonicity(
    model: nn.Module, method: Method, batches: Iterable[Tensor], *, inputs_a_neuron: int = 256, seed: int = 0
) -> pd.DataFrame:
    """Does a larger positive contribution to a neuron get a larger attribution? Layer by layer, on real activations.

    For every sample and weighted layer one neuron y = ReLU(Σ w_i x_i + b) is drawn in proportion to y, and `method`
    explains it by the layer's input, so that no input is connected to anything else, as 002 F wants. `share` is the
    share of pairs of inputs with w_i x_i ≥ w_j x_j > 0 for which |R_i| ≥ |R_j| (to 1e-5 of the larger one): 1 for a
    monotone method. Of more than `inputs_a_neuron` positive contributions that many are drawn. NaN where no neuron
    fires or no pair is.

    Columns: layer, position, sample, pairs, share. Streams over `batches` (N, …); one pass a layer and batch.

    Source: Binder et al. 2023, F. Deviation: the property is proved of neurons; it is measured of a method, through the
    same call that explains a network.
    """
    rows: list[tuple[str, int, int, int, float]] = []
    first = 0
    for inputs in batches:
        for position, (name, module, activations) in enumerate(_read(model, inputs), start=1):
            places = range(first, first + len(inputs))
            streams = [generator(seed, "monotonicity", name, position, place) for place in places]
            shares = _monotone(module, method, activations, streams, inputs_a_neuron)
            rows += [(name, position, first + i, pairs, share) for i, (pairs, share) in enumerate(shares)]
        first += len(inputs)
    return pd.DataFrame(rows, columns=["layer", "position", "sample", "pairs", "share"])


def dominance(model: nn.Module, method: Method, batches: Iterable[tuple[Tensor, Tensor]]) -> pd.DataFrame:
    """Does the positive evidence outweigh the negative at every layer, where the explained score is positive?

    For every sample and weighted layer `method` explains the score by what the layer gives, before any nonlinearity.
    `sum` is ΣR, `conserved` ΣR over the score (1 where nothing is lost to biases), `positive` Σ R₊/Σ|R|. 002 G proves
    sum > 0 for additive explanations of positive scores where no bias is positive or gets relevance.

    Columns: layer, position, sample, score, sum, conserved, positive. Streams over `batches` of inputs (N, …) and
    labels (N,); one explanation a layer and batch. Left out are layers that run more than once, that other paths go
    around (a branch, a shortcut: its ΣR is a part of the whole), and the one whose own output is explained.

    Raises: InputError for a Bound that has more inputs than one, or preprocessing.

    Source: Binder et al. 2023, G.
    """
    check_model(model)
    net, score = _network(model)
    argument = next(iter(inspect.signature(net.forward).parameters))
    rows: list[tuple[str, int, int, float, float, float, float]] = []
    first = 0
    for inputs, targets in batches:
        names = [name for name, _, _ in _read(model, inputs)]
        once = [name for name in dict.fromkeys(names) if names.count(name) == 1 and name != score.get("layer")]
        once = [name for name in once if _is_passed_by_all(model, net.get_submodule(name), inputs[:1])]
        with torch.no_grad():
            scores = forward(model, inputs).gather(1, targets[:, None])[:, 0].double()
        for position, name in enumerate(once, start=1):
            at = Bound(net, at=name, given={argument: inputs}, **score)
            maps = method(at, at.inputs(), targets).flatten(1).double()
            sums, sizes = maps.sum(1), maps.abs().sum(1)
            positive = maps.clamp_min(0).sum(1) / torch.where(sizes > 0, sizes, torch.nan)
            columns = zip(scores.tolist(), sums.tolist(), (sums / scores).tolist(), positive.tolist(), strict=True)
            rows += [(name, position, first + i, *values) for i, values in enumerate(columns)]
        first += len(inputs)
    return pd.DataFrame(rows, columns=["layer", "position", "sample", "score", "sum", "conserved", "positive"])


def positive_biases(model: nn.Module) -> pd.DataFrame:
    """The share of positive biases of each weighted layer: where it is not 0, 002 G promises nothing.

    Columns: layer, biases, positive.
    """
    layers = [(name, module.bias) for name, module in model.named_modules() if isinstance(module, WEIGHTED)]
    rows = [
        (name, 0 if bias is None else bias.numel(), 0.0 if bias is None else float((bias > 0).double().mean()))
        for name, bias in layers
    ]
    return pd.DataFrame(rows, columns=["layer", "biases", "positive"])


def _network(model: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
    """The network itself, and how its score is read off."""
    if not isinstance(model, Bound):
        return model, {}
    if model.at is not None or model.given or model.preprocessing is not None:
        raise InputError(
            "Expected a network of one input, but got a Bound with `at`, `given` or preprocessing; "
            "its layers are explained one by one here."
        )
    return model.net, {"output": model.output, "layer": model.layer, "reduction": model.reduction}


def _read(model: nn.Module, inputs: Tensor) -> list[tuple[str, nn.Module, Tensor]]:
    """Every weighted layer as it runs, up to the score, with what it reads."""
    net, score = _network(model)
    check_independent(model, inputs)  # before anybody watches: it runs the model, too
    found: list[tuple[str, nn.Module, Tensor]] = []
    modules = dict(net.named_modules())
    over: list[bool] = []

    def see(name: str, activations: Tensor) -> None:
        if not over:
            found.append((name, modules.get(name, net), activations.detach().clone()))

    last = modules[score["layer"]] if score.get("layer") else net
    handle = last.register_forward_hook(lambda *_: over.append(True))
    try:
        with torch.no_grad(), watching(net, see):
            forward(model, inputs)
    finally:
        handle.remove()
    return found


def _is_passed_by_all(model: nn.Module, layer: nn.Module, inputs: Tensor) -> bool:
    """Whether the score depends on the input through this layer alone."""
    handle = layer.register_forward_hook(lambda _module, _arguments, out: out.detach())
    try:
        with torch.enable_grad():
            leaf = inputs.detach().clone().requires_grad_()
            outputs = forward(model, leaf).sum()
            around = torch.autograd.grad(outputs, leaf, allow_unused=True) if outputs.requires_grad else (None,)
    finally:
        handle.remove()
    return around[0] is None


def _monotone(
    layer: nn.Module, method: Method, inputs: Tensor, streams: Sequence[torch.Generator], most: int
) -> list[tuple[int, float]]:
    """For each sample the number of pairs and the share of them in which `method` is monotone."""
    before, after = nn.Sequential(layer, nn.Flatten()).eval(), nn.Sequential(layer, nn.ReLU(), nn.Flatten()).eval()
    with torch.no_grad():
        fires = forward(after, inputs).double().cpu()
    alive = fires.sum(1) > 0
    weights = torch.where(alive[:, None], fires, 1.0)  # where none fires, any: it is not counted
    drawn = [torch.multinomial(row, 1, generator=stream) for row, stream in zip(weights, streams, strict=True)]
    targets = torch.cat(drawn).to(inputs.device)
    contributions = GradientXInput()(before, inputs, targets).flatten(1).double()
    maps = method(after, inputs, targets).expand_as(inputs).flatten(1).double().abs()
    found = []
    for row, sizes, counts, stream in zip(contributions, maps, alive.tolist(), streams, strict=True):
        chosen = (row > 0).nonzero()[:, 0]
        if len(chosen) > most:
            chosen = chosen[torch.randperm(len(chosen), generator=stream)[:most].to(chosen.device)]
        found.append(_concordant(row[chosen], sizes[chosen]) if counts else (0, float("nan")))
    return found


def _concordant(values: Tensor, sizes: Tensor) -> tuple[int, float]:
    """The pairs i ≠ j with values_i ≥ values_j, and the share of them with sizes_i ≥ sizes_j up to rounding."""
    larger = values[:, None] >= values
    larger.fill_diagonal_(False)
    agree = sizes[:, None] >= sizes * (1 - ROUNDING)
    pairs = int(larger.sum())
    return pairs, int((larger & agree).sum()) / pairs if pairs else float("nan")
