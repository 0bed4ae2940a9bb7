"""The judgement on what survives a change that should leave nothing: the rule of `depends` and of `labels`."""

from heatproof.reading.base import Judgement, Told
from heatproof.reading.rule import Answer, Margin, more_samples
from heatproof.reading.shares import percent, sentence
from heatproof.reading.support import NEVER
from heatproof.reading.survival import HALF, JUDGED, Survival, graded, worst

MARGIN = Margin(good="below", yes=HALF, no=HALF)


def by_survival(question: str, method: str, check: str, setting: str, grades: dict[str, Survival]) -> Judgement:
    """The judgement on what survives by all measures: the one under which most does counts, and yes needs all."""
    metric = worst(grades)
    grade = grades[metric]

    def decide(alpha: float) -> Answer:
        if all(one.unchanged for one in grades.values()):
            return "no"
        answers = [answered(one, alpha) for one in grades.values()]
        if "no" in answers:
            return "no"
        return "yes" if answers == ["yes"] * len(JUDGED) else "unknown"

    def tell(answer: Answer) -> Told:
        return _tell(answer, grades, metric)

    return Judgement(
        method=method,
        question=question,
        check=check,
        metric=metric,
        estimate=grade.share,
        setting=setting,
        margin=MARGIN,
        decide=decide,
        tell=tell,
    )


def untold(
    question: str, method: str, check: str, setting: str, grades: dict[str, Survival], word: str, why: str
) -> Judgement:
    """Nothing can be told, for a reason that is not the method's: a network that died, a method left out."""
    metric = next(iter(grades))
    return Judgement(
        method=method,
        question=question,
        check=check,
        metric=metric,
        estimate=grades[metric].share,
        setting=setting,
        decide=lambda _: "unknown",
        supporting=True,
        tell=lambda _: (word, why),
    )


def answered(grade: Survival, alpha: float) -> Answer:
    """Whether a map depends by one measure, at a level: yes surely below one half, no surely above.

    A share that is the same in all samples counts as well: a map with its signs turned keeps all of it in each.
    """
    if grade.noise or grade.reason:
        return "unknown"
    return MARGIN.answer(*grade.share.at(alpha))


def _tell(answer: Answer, grades: dict[str, Survival], metric: str) -> Told:
    grade = grades[metric]
    if all(one.unchanged for one in grades.values()):
        told = "Exactly the same map whatever the network is: it cannot say anything of it."
        return NEVER, told + (f" How much of it survives has no number: {grade.untold}." if grade.untold else "")
    if answer == "unknown":
        if all(one.noise for one in grades.values()):
            return "is noise", f"{sentence(grade.untold)}: a low similarity is noise."
        reasons = [one.reason for one in grades.values() if one.reason]
        if not reasons and len(grades) < len(JUDGED):
            reasons = ["only one of the two measures was taken"]
        if not reasons:
            more = more_samples(grade.share, MARGIN)
            between = f"{percent(max(grade.share.low, 0.0))[:-2]} to {percent(min(grade.share.high, 1.0))}"
            reasons = [f"{between} of it may survive" + (f"; about {more} samples would tell" if more else "")]
        return "cannot be told", f"Not enough to go by: {reasons[0]}."
    words = {name: graded(one.share.low, one.share.high) for name, one in grades.items()}
    word = words[metric]
    if word == "cannot be told":  # the widened interval decided; the plain one straddles a margin of the words alone
        word = "hardly depends" if answer == "no" else "depends, perhaps in part"
    lead = ""
    if len(set(words.values())) > 1:
        parts = "; ".join(f"{JUDGED[name]}: {one}" for name, one in words.items())
        lead = f"{sentence(parts)}. "
    return word, f"{lead}{sentence(grade.told)} of its similarity to itself survives, judged by {JUDGED[metric]}."
