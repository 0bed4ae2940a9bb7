"""What may be required of a run, as one writes it.

- `grad-cam: believable`: the heatmap passes every test that was run, and those that belief needs were run
- `grad-cam: faithful`, `grad-cam: not depends`: the answer to a question is surely yes, or surely no
- `box-ratio > 0.3`: a metric's mean, of every method that is no control; `grad-cam: box-ratio > 0.3` of one
- `bounding-box/box-ratio > 0.3`: the same of one check; `spearman@replicate >= 0.9` in one setting
- `accuracy > 90 %`: of the network
"""

import re
from dataclasses import dataclass

from heatproof.errors import InputError, shown

_COMPARED = re.compile(
    r"(?:(?P<check>[^/@<>=]+)/)?(?P<metric>[^/@<>=]+?)(?:@(?P<setting>[^<>=]+?))?\s*(?P<operator>>=|<=|>|<)\s*"
    r"(?P<number>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(?P<percent>%?)"
)


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One thing required. `method` "" means every method that is no control.

    Either `question` is asked, to be answered "yes", or "no" where `denied`; or the mean of `metric` (of `check`, in
    `setting`, where they are named) must be `operator` `number`.
    """

    text: str
    method: str = ""
    question: str = ""
    denied: bool = False
    check: str = ""
    metric: str = ""
    setting: str = ""
    operator: str = ""
    number: float = 0.0

    def holds(self, low: float, high: float) -> bool | None:
        """Whether a whole interval keeps it: True, False, or None where it cannot be told."""
        kept, broken = {
            ">": (low > self.number, high <= self.number),
            ">=": (low >= self.number, high < self.number),
            "<": (high < self.number, low >= self.number),
            "<=": (high <= self.number, low > self.number),
        }[self.operator]
        return True if kept else False if broken else None


def parse(text: str) -> Requirement:
    """A requirement as it is written. Raises: InputError for what is none."""
    if not isinstance(text, str):
        raise InputError(f"Expected a requirement such as 'grad-cam: believable', but got {shown(text)}.")
    method, _, rest = text.rpartition(":")
    method, rest = method.strip(), rest.strip()
    if compared := _COMPARED.fullmatch(rest):
        found = {name: (value or "").strip() for name, value in compared.groupdict().items()}
        number = float(found["number"]) / (100 if found["percent"] else 1)
        return Requirement(
            text=text,
            method=method,
            check=found["check"],
            metric=found["metric"],
            setting=found["setting"],
            operator=found["operator"],
            number=number,
        )
    denied = rest.startswith("not ")
    question = rest.removeprefix("not ").strip().replace(" ", "-")
    if not method or not re.fullmatch(r"[\w.-]+", question):
        raise InputError(
            f"Expected a requirement such as 'grad-cam: believable', 'grad-cam: not depends' or 'box-ratio > 0.3', but "
            f"got {text!r}."
        )
    return Requirement(text=text, method=method, question=question, denied=denied)
