"""Writes docs/support.md: which backward methods apply to which networks as they are, and why not.

Rows that are done are kept in a file, so that a run which was stopped goes on: `python docs/support.py [FILE]`.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "propagation"), str(ROOT / "docs")]

import support_trained as trained  # noqa: E402
from more_networks import EVERY, build_any  # noqa: E402

import heatproof as hp  # noqa: E402
from heatproof.errors import HeatproofError, HeatproofWarning  # noqa: E402
from heatproof.methods.base import Linearizable  # noqa: E402
from heatproof.methods.lrp import RelevancePull  # noqa: E402

METHODS = (
    "guided-backprop", "deconvnet", "lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box",
    "lrp-epsilon-alpha2-beta1", "lrp-epsilon-alpha2-beta1-flat", "lrp-alpha1-beta0", "lrp-adaptive-beta", "deep-taylor",
    "deeplift",
)  # fmt: skip
OWN = 5e-4  # smaller losses of a rule's own are not worth a reader's time

HEAD = """# Which backward methods apply to which networks

Written by `python docs/support.py`: every network as its library builds it, with random weights, batch norms
calibrated, layer scales of one half and logits of order one, in float32, on two small inputs.

- A number is the sum rule's gap relative to what the map should sum to: |ΣR − S|/|S| for LRP, with max(S, 0) for deep
  Taylor, and |ΣR − ΔS|/|ΔS| with ΔS = S(x) − S(x̄) for DeepLIFT, from a baseline of zeros; the larger of two samples.
  LRP is not meant to close it where biases count and where the network adds constants.
- Behind the stroke stands the condition number, Σ|R| over the same: by how much rounding is magnified. "!" says that
  DeepLIFT warned: its gap is above 1e-3.
- In parentheses stands what comes on top of the gap because neurons have no contribution of the sign that their rule
  shares among: the rule's own loss, the diagnostic `inherent-gap`.
- "yes" stands for methods without a sum rule, "0" for maps that are zero because deep Taylor explains no negative
  score. A letter is a reason, below.
- In every cell that is no letter the outputs under the engine are equal to the plain ones, bit for bit.
- `clrp`, and `Competitive` around any of these methods, apply where the method does.
"""


def cell(name: str, model: torch.nn.Module, x: torch.Tensor, plain: torch.Tensor) -> str:
    """The gap and the condition number, "yes", or the reason in words."""
    method = hp.methods.get(name)
    assert isinstance(method, Linearizable)
    targets = torch.tensor([0, 1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outputs, pull = method.linearize(model, x)
            explained = pull.explain(targets) if isinstance(pull, RelevancePull) else method.explain(model, x, targets)
        except HeatproofError as error:
            return "because " + _general(str(error))
    assert torch.equal(outputs, plain), name
    said = explained.diagnostics
    gap = next((said[key] for key in ("conservation-gap", "completeness-gap") if key in said), None)
    if gap is None:
        return "yes"
    inherent = said.get("inherent-gap", torch.zeros(2)).nan_to_num()
    promised = explained.maps.flatten(1).sum(1) - gap
    known = promised.abs() > 0
    if not bool(known.any()):
        return "0"
    rest, own = (float((part.abs() / promised.abs())[known].max()) for part in (gap - inherent, inherent))
    warned = "!" if any(issubclass(each.category, HeatproofWarning) for each in caught) else ""
    condition = float(said["condition-number"][known].max())
    return f"{rest:.0e}{warned}" + (f" ({own:.0e})" if own > OWN else "") + f" / {condition:.0e}"


def _general(message: str) -> str:
    return message.split(";")[0].split(". Tell")[0].split(". Choose")[0].rstrip(".")


def lines(name: str) -> list[str]:
    """The cells of a network's row, or the lines of a trained one."""
    if name in trained.CASES:
        return trained.rows(name)
    model, x = build_any(name)
    plain = hp.methods.Gradient().linearize(model, x).outputs
    return [cell(method, model, x, plain) for method in METHODS]


def written(rows: dict[str, list[str]]) -> str:
    """The page."""
    reasons: dict[str, str] = {}
    table = [HEAD, "| network | " + " | ".join(METHODS) + " |", "| --- |" + " --- |" * len(METHODS)]
    for name in (each for each in EVERY if each in rows):
        cells = [
            reasons.setdefault(each.removeprefix("because "), chr(ord("a") + len(reasons)))
            if each.startswith("because ")
            else each
            for each in rows[name]
        ]
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    table += ["", *(f"- **{letter}**: {reason}." for reason, letter in reasons.items())]
    return "\n".join(table) + "\n" + trained.HEAD + "\n".join(
        line for name in trained.CASES if name in rows for line in rows[name]
    ) + "\n"  # fmt: skip


def main() -> None:
    """Try every method on every network and write the tables."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    kept = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    rows = json.loads(kept.read_text(encoding="utf-8")) if kept and kept.exists() else {}
    for name in (*EVERY, *trained.CASES):
        if name in rows:
            continue
        start = time.perf_counter()
        rows[name] = lines(name)
        print(f"{time.perf_counter() - start:.1f} s", name, rows[name], flush=True)
        if kept:
            kept.write_text(json.dumps(rows), encoding="utf-8")
    (ROOT / "docs" / "support.md").write_text(written(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
