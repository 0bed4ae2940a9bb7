"""Writes docs/census.md: what networks of torchvision, timm and transformers call, and which have no rule.

Run by hand: `python docs/census.py [library …]`, about ten minutes on one core. Every network has random weights; one
that takes longer than its share of time, or is too large, is named.
"""

import contextlib
import gc
import re
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from census_networks import LIBRARIES, Built
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

import heatproof as hp
from heatproof.errors import HeatproofError, HeatproofWarning
from heatproof.methods.base import Linearizable
from heatproof.propagation.operations import identify, key

PAGE = Path(__file__).resolve().parent / "census.md"
METHODS = ("lrp-epsilon", "deeplift", "guided-backprop")
SECONDS = 8
RAW, WARNED = "not refused, but broken:", "a warning:"
QUIET = frozenset(("independent", "leak", "iterate"))


class TooLongError(Exception):
    """A network took longer than its share of time."""


class Recorder(TorchFunctionMode):
    """The operations on the way from one tensor to the outputs, by name, with their kinds."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        self._marks = WeakIdKeyDictionary()
        self._marks[x] = True

    def __torch_function__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if any(isinstance(leaf, Tensor) and leaf in self._marks for leaf in tree_leaves((args, kwargs))):
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            operation = identify(key(function))
            if any(leaf.is_floating_point() or leaf.is_complex() for leaf in made) and operation.kind not in QUIET:
                self.seen[operation.name] = operation.kind
                for leaf in made:
                    self._marks[leaf] = True
        return result


@dataclass
class Census:
    """What was found: the networks that ran and those that did not, who calls what, and what methods answered."""

    ran: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    kinds: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    refused: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def take(self, library: str, name: str, build: Callable[[], Built]) -> None:
        """Build one network, run it once, and try every method."""
        try:
            with within(SECONDS), torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model, x = build()
                recorder = Recorder(x)
                with torch.no_grad(), recorder:
                    hp.models.forward(model, x)
                plain = hp.models.forward(model, x).detach()
        except TooLongError:
            self.left_out[f"longer than {SECONDS} s"].append(name)
            return
        except Exception as error:  # a census asks whatever a library built; what breaks is named
            self.left_out[_reason(error)].append(name)
            return
        self.ran[library].append(name)
        self.kinds |= recorder.seen
        for operation in recorder.seen:
            self.calls[operation][library] += 1
        for method in METHODS:
            answer = attempt(method, model, x, plain)
            self.answers[method][library, "works" if not answer else "refused"] += 1
            if answer:
                self.refused[method, answer].append(name)


def attempt(method: str, model: nn.Module, x: Tensor, plain: Tensor) -> str:
    """ "" where the method gives a finite map, or the sentence that it refuses or warns with."""
    explainer = hp.methods.get(method)
    assert isinstance(explainer, Linearizable)
    targets = plain.argmax(-1)
    outputs = plain
    try:
        with within(2 * SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error", HeatproofWarning)
            if method == "deeplift":
                maps = explainer.explain(model, x, targets).maps
            else:
                outputs, pull = explainer.linearize(model, x)
                maps = pull(torch.nn.functional.one_hot(targets, outputs.shape[-1]).to(outputs.dtype))
    except TooLongError:
        return f"it takes longer than {2 * SECONDS} s"
    except HeatproofWarning:
        return f"{WARNED} the sum is off by more than 0.1 % of S(x) − S(x̄)"
    except HeatproofError as error:
        return _sentence(str(error))
    except Exception as error:  # a raw error of torch is a fault of ours, and is counted
        return f"{RAW} {type(error).__name__}: {str(error).splitlines()[0][:120]}"
    if not torch.equal(outputs, plain):
        return f"{RAW} its outputs are not the network's, bit for bit"
    return "" if bool(maps.isfinite().all()) else f"{RAW} its map is not finite"


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise `TooLongError` after so many seconds of computing."""

    def late(*_: Any) -> None:
        raise TooLongError

    signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _reason(error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else ""
    return re.sub(r"[0-9]+", "N", first.split(". ")[0])[:100].replace("|", "/") or type(error).__name__


def _sentence(message: str) -> str:
    """The refusal without the module's name and without what to do instead."""
    message = re.sub(r"(in|but) (module '[^']*' \([^)]*\)|the model itself \([^)]*\))", r"\1 a module", message)
    message = re.sub(r"in \d+ of \d+ places", "in some places", message)
    return re.sub(r"\s+", " ", message.split(". ")[0].split("; ")[0])[:220]


def main() -> None:
    """Ask every network, and write the page."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    census, start = Census(), time.time()
    for library in sys.argv[1:] or LIBRARIES:
        for name, build in LIBRARIES[library]():
            began = time.time()
            census.take(library, name, build)
            gc.collect()
            if len(census.ran[library]) % 20 == 0:
                write(census)
            print(f"{time.time() - start:6.0f} {time.time() - began:5.1f} {name}", flush=True)
        write(census)


HEAD = """# What networks call

Written by `python docs/census.py`: networks as their libraries build them, small and with random weights, each run once
under a recorder, then explained by one method of each family. An operation counts for a network if it stands on the way
from the explained input to the outputs and makes numbers; texts are explained from their embedding on. A warning counts
as a refusal; DeepLIFT's gaps are measured in [support.md](support.md).
"""


def write(census: Census) -> None:
    """The page."""
    libraries = list(census.ran)
    total = sum(len(names) for names in census.ran.values())
    page = [
        HEAD,
        "## Networks",
        "",
        f"| | {' | '.join(libraries)} | all |",
        "| --- |" + " --- |" * (len(libraries) + 1),
    ]
    page.append(f"| networks | {' | '.join(str(len(census.ran[each])) for each in libraries)} | {total} |")
    for method in METHODS:
        works = [census.answers[method][each, "works"] for each in libraries]
        page.append(f"| {method} works | {' | '.join(map(str, works))} | {sum(works)} |")
    page += ["", "## What was refused", "", "| method | networks | sentence | which |", "| --- | --- | --- | --- |"]
    for (method, sentence), names in sorted(census.refused.items(), key=lambda item: (item[0][0], -len(item[1]))):
        page.append(f"| {method} | {len(names)} | {sentence} | {_listed(names)} |")
    operations = sorted(census.calls, key=lambda name: (-sum(census.calls[name].values()), name))
    unknown = [name for name in operations if not census.kinds[name]]
    page += [
        "",
        "## Operations",
        "",
        f"{len(operations)} operations; without a rule: {', '.join(unknown) or 'none'}.",
        "",
    ]
    page += [f"| operation | kind | {' | '.join(libraries)} |", "| --- | --- |" + " --- |" * len(libraries)]
    for name in operations:
        counts = " | ".join(str(census.calls[name][each] or "") for each in libraries)
        page.append(f"| `{name}` | {census.kinds[name] or '**none**'} | {counts} |")
    page += ["", "## Networks that did not run", "", "| reason | networks |", "| --- | --- |"]
    for reason, names in sorted(census.left_out.items(), key=lambda item: -len(item[1])):
        page.append(f"| {reason} | {_listed(names, 60)} |")
    PAGE.write_text("\n".join([*page, ""]), encoding="utf-8")


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(name.split("/")[-1] for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


if __name__ == "__main__":
    main()
