"""What a reading is: one question, the checks whose rows answer it, and the judgements on each method."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from heatproof.reading.evidence import Evidence
from heatproof.reading.rule import NOTHING, Answer, Estimate, Margin, decide, more_samples
from heatproof.registry import Registry

Told = tuple[str, str]  # a word, and why in a sentence


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one check says of one method, before the verdicts of a column are decided together.

    `decide` gives the answer at a level, `tell` the word and the sentence for an answer; a judgement without `decide`
    is shown and not judged. A `supporting` one withholds nothing where it cannot tell.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["completeness"], out="run", progress=False)
    ...
    >>> evidence = hp.readings.Evidence.of(run.rows(), run.manifest)
    >>> (one,) = hp.readings.Complete().judge(evidence, "gradient-x-input")
    >>> one.question, one.check, one.estimate.n
    ('complete', 'completeness', 4)
    """

    method: str
    question: str
    check: str
    metric: str
    estimate: Estimate
    setting: str = ""
    margin: Margin | None = None
    decide: Callable[[float], Answer] | None = None
    supporting: bool = False
    tell: Callable[[Answer], Told] = field(default=lambda answer: (answer, ""))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer to one question about one method from one check.

    `answer` is "yes", "no", "unknown", or "" where a number is shown and not judged; `word` says it in the question's
    own terms, `why` in a sentence. `mean` over `n` samples has the 95 % interval `low` … `high`; `missing` samples are
    degenerate. `margin` says which values mean yes and no. `more`: about how many samples would tell, where it is
    unknown and so many would.

    >>> run = hp.audit(net, images, labels, methods=["gradient-x-input"],
    ...                checks=["completeness"], out="run", progress=False)
    ...
    >>> verdicts = hp.readings.Verdicts.of(run.rows(), run.manifest)
    >>> finding = verdicts.by_question("gradient-x-input")["complete"]
    >>> finding.answer, finding.n, finding.missing
    ('unknown', 4, 0)
    """

    method: str
    question: str
    answer: Answer
    word: str
    mean: float
    low: float
    high: float
    n: int
    missing: int
    margin: str
    why: str
    check: str
    setting: str
    metric: str
    supporting: bool = False
    more: int | None = None

    @property
    def tone(self) -> str:
        """How a page colors it."""
        return tone(self.answer, self.word)


def tone(answer: str, word: str) -> str:
    """The color of an answer: good, mid, bad, noise, unknown or plain."""
    if word in ("is noise", "noisy"):
        return "noise"
    if "in part" in word and answer == "yes":
        return "mid"
    return {"yes": "good", "no": "bad", "unknown": "unknown"}.get(answer, "plain")


class Reading(ABC):
    """One question, answered from the rows of the checks that it reads.

    Attributes:
        title: the question, as a page asks it.
        reads: the ids of the checks whose rows it answers from.
        other_maps: whether it needs a map of another network, or a second one of the same.
        judges: whether it answers yes or no; what it tells otherwise nobody can be asked to pass.

    >>> hp.readings.get("steady").title, hp.readings.get("steady").reads
    ('Steady?', ('steadiness',))
    """

    title: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    other_maps: ClassVar[bool] = False
    judges: ClassVar[bool] = True

    @abstractmethod
    def judge(self, evidence: Evidence, method: str) -> Iterator[Judgement]:
        """What the run says of a method."""


def no_method(question: str, method: str, check: str) -> Judgement:
    """What can be told of maps that were given, where another one would have to be made: nothing."""
    why = "No method given: its maps were made elsewhere, and of another network, or once more of this, there is none."
    return untold(method, question, check, "", NOTHING, ("no method given", why))


def shown(
    method: str, question: str, check: str, metric: str, estimate: Estimate, told: Told, *, setting: str = ""
) -> Judgement:
    """A number that is shown and not judged, with its word and its sentence."""
    return Judgement(
        method=method,
        question=question,
        check=check,
        metric=metric,
        estimate=estimate,
        setting=setting,
        tell=lambda _: told,
    )


def untold(method: str, question: str, check: str, metric: str, estimate: Estimate, told: Told) -> Judgement:
    """A number that was to be judged and cannot be, at any level, with its word and its sentence."""
    return replace(shown(method, question, check, metric, estimate, told), decide=lambda _: "unknown")


def lacking(found: Judgement, why: str) -> Judgement:
    """The judgement without its yes, where one of the measures tells nothing: what refutes does so by itself."""
    decide = found.decide
    if decide is None:
        return found

    def at(alpha: float) -> Answer:
        answer = decide(alpha)
        return "unknown" if answer == "yes" else answer

    def tell(answer: Answer) -> Told:
        word, said = found.tell(answer)
        return word, why if answer == "unknown" else said

    return replace(found, decide=at, tell=tell)


READINGS: "Registry[Reading]" = Registry("reading", "heatproof.reading")


def judged(
    method: str,
    question: str,
    check: str,
    metric: str,
    estimate: Estimate,
    margin: Margin,
    words: dict[Answer, Told],
    *,
    setting: str = "",
) -> Judgement:
    """A judgement by an interval and a margin, with a word and a sentence for each answer."""

    def tell(answer: Answer) -> Told:
        word, why = words.get(answer, ("cannot be told", ""))
        if answer == "unknown" and (more := more_samples(estimate, margin)):
            why += f"{' ' if why else ''}About {more} samples would tell."
        return word, why

    return Judgement(
        method=method,
        question=question,
        check=check,
        metric=metric,
        estimate=estimate,
        setting=setting,
        margin=margin,
        decide=decide(estimate, margin),
        tell=tell,
    )
