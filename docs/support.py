"""Writes docs/support.md: which backward methods apply to which networks as they are, and why not."""

import sys
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "propagation"))

from networks import BUILDERS, build  # noqa: E402

import heatproof as hp  # noqa: E402
from heatproof.errors import HeatproofError  # noqa: E402
from heatproof.methods.base import Linearizable  # noqa: E402
from heatproof.methods.lrp import LRP, DeepTaylor, RelevancePull  # noqa: E402

METHODS = (
    "guided-backprop", "deconvnet", "lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-plus-flat", "lrp-epsilon-gamma-box",
    "lrp-epsilon-alpha2-beta1", "lrp-epsilon-alpha2-beta1-flat", "lrp-alpha1-beta0", "lrp-adaptive-beta", "deep-taylor",
    "deeplift",
)  # fmt: skip
REASONS: dict[str, str] = {}
OWN = 5e-4  # smaller losses of a rule's own are not worth a reader's time

HEAD = """# Which backward methods apply to which networks

Written by `python docs/support.py`: every network as its library builds it, with random weights, batch norms calibrated
and logits of order one, in float32, on two small inputs.

- A number is the sum rule's gap, |ΣR − S| for LRP, |ΣR − max(S, 0)| for deep Taylor and |ΣR − (S(x) − S(x̄))| for
  DeepLIFT, divided by Σ|R|: the larger of two samples. LRP is not meant to close it where biases count and where the
  network adds constants.
- In parentheses stands what comes on top of it because neurons have no contribution of the sign that their rule shares
  among: the rule's own loss, the diagnostic `inherent-gap`.
- "yes" stands for methods without a sum rule. A letter is a reason, below.
- In every cell that is no letter the outputs under the engine are equal to the plain ones, bit for bit.
- `clrp`, and `Competitive` around any of these methods, apply where the method does.
"""


def cell(name: str, model: torch.nn.Module, x: torch.Tensor, plain: torch.Tensor) -> str:
    """The gap, "yes", or the letter of the reason."""
    method = hp.methods.get(name)
    assert isinstance(method, Linearizable)
    targets = torch.tensor([0, 1])
    try:
        outputs, pull = method.linearize(model, x)
        explained = pull.explain(targets) if isinstance(pull, RelevancePull) else method.explain(model, x, targets)
    except HeatproofError as error:
        return REASONS.setdefault(_general(str(error)), chr(ord("a") + len(REASONS)))
    assert torch.equal(outputs, plain), name
    gaps = [
        explained.diagnostics[key] for key in ("conservation-gap", "completeness-gap") if key in explained.diagnostics
    ]
    if not gaps:
        return "yes"
    total = explained.maps.abs().flatten(1).sum(1)
    if isinstance(method, LRP | DeepTaylor) and bool((total == 0).any()):
        total = total + explained.diagnostics["score"].abs()
    inherent = explained.diagnostics.get("inherent-gap", torch.zeros(2)).nan_to_num()
    rest, own = (float((part.abs() / total).max()) for part in (gaps[0] - inherent, inherent))
    return f"{rest:.0e} ({own:.0e})" if own > OWN else f"{rest:.0e}"


def _general(message: str) -> str:
    return message.split(";")[0].split(". Tell")[0]


def main() -> None:
    """Try every method on every network and write the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = [HEAD, "| network | " + " | ".join(METHODS) + " |", "| --- |" + " --- |" * len(METHODS)]
    for name in BUILDERS:
        model, x = build(name)
        plain = hp.methods.Gradient().linearize(model, x).outputs
        lines.append(f"| {name} | " + " | ".join(cell(method, model, x, plain) for method in METHODS) + " |")
        print(lines[-1], flush=True)
    lines += ["", *(f"- **{letter}**: {reason}." for reason, letter in REASONS.items()), ""]
    (ROOT / "docs" / "support.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
