"""What meets the eye first: one sentence, which heatmaps to use and which not and why, and what stands behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from heatproof.reading import Verdicts
from heatproof.reading.base import Finding
from heatproof.reading.shares import listed, percent, sentence
from heatproof.report.following import following, would_tell
from heatproof.report.questions import QUESTIONS, fails, few, passes, short
from heatproof.report.sentences import lasting, plural, rounded, spelled
from heatproof.rows import Role

QUESTION = "Can these heatmaps be believed?"
# Of several tests that a method fails this one is told: the first leaves least of it.
GRAVEST = tuple(QUESTIONS)
SHARES = ("depends", "labels", "more-than-the-picture")  # their mean is the share of a map that survives
MOST_NAMED = 3


class Said(NamedTuple):
    """A piece of a sentence; `tone` colors it, "" for plain."""

    text: str
    tone: str = ""


class Advice(NamedTuple):
    """Methods that share a reason: each name with a number beside it ("" for none), and the reason."""

    names: Sequence[tuple[str, str]]
    why: str


@dataclass(frozen=True, kw_only=True)
class FirstScreen:
    """The first screen. `network`, `sure`, `following` and `cost` answer the four questions that come next."""

    sentence: Sequence[Said]
    use: Sequence[Advice]
    unknown: Sequence[Advice]
    avoid: Sequence[Advice]
    network: str
    sure: str
    following: Sequence[str]
    cost: str

    @property
    def text(self) -> str:
        """The sentence without its colors."""
        return "".join(said.text for said in self.sentence)


def first_screen(verdicts: Verdicts) -> FirstScreen:
    """What the first screen says of a run."""
    info = verdicts.evidence.info
    by_answer: dict[str, list[str]] = {"yes": [], "unknown": [], "no": []}
    for method in info.methods:
        if not method.control:
            by_answer[verdicts.believable(method.label).answer].append(method.label)
    use, unknown, avoid = by_answer.values()
    return FirstScreen(
        sentence=_sentence(verdicts, use, unknown, avoid),
        use=_passing(verdicts, use),
        unknown=_untold(verdicts, unknown),
        avoid=_failing(verdicts, avoid),
        network=_network(verdicts, failed=bool(avoid)),
        sure=_sure(verdicts),
        following=following(verdicts, unknown),
        cost=_cost(info.manifest),
    )


def _sentence(verdicts: Verdicts, use: list[str], unknown: list[str], avoid: list[str]) -> list[Said]:
    if not (use or unknown or avoid):
        return [Said("No heatmap was judged: every method is a control.")]
    if verdicts.evidence.info.withheld:
        why = ": this network is not known to have learned anything."
        return [Said("Trust none of these heatmaps", "bad"), Said(why)]
    said = _shown(use) if use else [Said("Show "), Said("none", "unknown" if unknown else "bad"), Said(" of these")]
    said += [Said("." if use or not unknown else " yet.")]
    if avoid:
        others = " others" if use and len(avoid) > 1 else " other" if use else f" of {spelled(_all(verdicts))}"
        count = f"{spelled(len(avoid))}{others}" if use or unknown else "both" if len(avoid) == 2 else "all of them"
        count = "the only one" if not use and not unknown and len(avoid) == 1 else count
        verb = "fails" if len(avoid) == 1 else "fail"
        said += [Said(" "), Said(f"{sentence(count)} {verb}", "bad"), Said(f": {_commonest(verdicts, avoid)}.")]
    if unknown:
        which = "the others" if use or avoid else "whether they can be believed"
        which = "the other" if len(unknown) == 1 and (use or avoid) else which
        said += [
            Said(f" {sentence(which)} "),
            Said("cannot be told", "unknown"),
            Said(f": {_want(verdicts, unknown)}."),
        ]
    return said


def _all(verdicts: Verdicts) -> int:
    return sum(not method.control for method in verdicts.evidence.info.methods)


def _shown(use: Sequence[str]) -> list[Said]:
    named = [Said(name, "good") for name in (use if len(use) <= MOST_NAMED + 1 else use[:MOST_NAMED])]
    if len(use) > len(named):
        named += [Said(f"{spelled(len(use) - len(named))} more", "good")]
    said = [Said("Show ")]
    for k, part in enumerate(named):
        said += [*([Said(" or " if k == len(named) - 1 else ", ")] if k else []), part]
    return said


def _commonest(verdicts: Verdicts, avoid: Sequence[str]) -> str:
    """What most of the failing maps fail, in words."""
    failed = [_failed(verdicts, label) for label in avoid]
    counts = {question: sum(question in ours for ours in failed) for ours in failed for question in ours}
    question = max(counts, key=lambda name: (counts[name], -_gravity(name)))
    count = counts[question]
    if len(avoid) == 1:
        return f"it {fails(question)}"
    whole = "they" if count == len(avoid) else f"{spelled(count)} of them"
    return f"{whole} {few(question) if count > 1 else fails(question)}"


def _failed(verdicts: Verdicts, label: str) -> list[str]:
    found = verdicts.by_question(label)
    return sorted((q for q, one in found.items() if q in verdicts.counted and one.answer == "no"), key=_gravity)


def _gravity(question: str) -> int:
    return GRAVEST.index(question) if question in GRAVEST else len(GRAVEST)


def _open(verdicts: Verdicts, label: str) -> tuple[list[str], list[str]]:
    """The questions that a map was asked and that could not be told, and those that it needs and was not asked."""
    found = verdicts.by_question(label)
    untold = [q for q, one in found.items() if q in verdicts.counted and one.answer == "unknown"]
    answered = {q for q, one in found.items() if one.answer}
    return untold, [q for q in verdicts.needed if q not in answered]


def _want(verdicts: Verdicts, unknown: Sequence[str]) -> str:
    """What keeps most of these from being told."""
    never = [q for q in verdicts.needed if all(q in _open(verdicts, label)[1] for label in unknown)]
    if never:
        return f"whether they {listed([passes(q) for q in never])} was not asked"
    n, more = verdicts.evidence.samples, sum(would_tell(verdicts, label) is not None for label in unknown)
    few = f"{plural(n, 'sample')} {'is' if n == 1 else 'are'} too few"
    if more == len(unknown):
        return few
    if more:
        return f"{few} for {spelled(more)} of them, and more would not tell all of the rest"
    some = any(one.more for label in unknown for one in verdicts.by_question(label).values())
    return f"{few}, and more would not tell everything" if some else "more samples would not tell"


def _passing(verdicts: Verdicts, labels: Sequence[str]) -> list[Advice]:
    reasons: dict[str, list[tuple[str, str]]] = {}
    for label in labels:
        found = verdicts.by_question(label)
        passed = [one for q, one in found.items() if q in verdicts.counted and one.answer == "yes"]
        some = [short(one.question) for one in passed if one.tone == "mid"]
        why = f"passes {'all ' if len(passed) > 1 else ''}{spelled(len(passed))} tests that were run"
        reasons.setdefault(f"{why}; {listed(some)} in part" if some else why, []).append((label, _price(found)))
    return [
        Advice(names, why if len(names) == 1 else why.replace("passes", "pass", 1)) for why, names in reasons.items()
    ]


def _price(found: Mapping[str, Finding]) -> str:
    return found["cost"].word if "cost" in found else ""


def _untold(verdicts: Verdicts, labels: Sequence[str]) -> list[Advice]:
    reasons: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for label in labels:
        untold, missing = _open(verdicts, label)
        reasons.setdefault((tuple(untold), tuple(missing)), []).append(label)
    found = []
    for (unanswered, absent), ours in reasons.items():
        parts = (
            [f"{listed([_by_how_many(verdicts, q, ours) for q in unanswered])} cannot be told"] if unanswered else []
        )
        if absent:
            parts.append(f"{listed([short(q) for q in absent])} {'was' if len(absent) == 1 else 'were'} not asked")
        found.append(Advice([(label, "") for label in ours], "; ".join(parts)))
    return sorted(found, key=lambda advice: -len(advice.names))


def _by_how_many(verdicts: Verdicts, question: str, labels: Sequence[str]) -> str:
    """A question with how many samples would tell it of these maps, as far as that is known."""
    more = sorted(number for label in labels if (number := verdicts.by_question(label)[question].more))
    if not more:
        return short(question)
    about = listed(list(dict.fromkeys([rounded(more[0]), rounded(more[-1])])), "to")
    some = "" if len(more) == len(labels) else f" for {spelled(len(more))} of them"
    return f"{short(question)} (by about {about} samples{some})"


def _failing(verdicts: Verdicts, labels: Sequence[str]) -> list[Advice]:
    reasons: dict[str, list[tuple[str, str]]] = {}
    for label in labels:
        question = _failed(verdicts, label)[0]
        one = verdicts.by_question(label)[question]
        number = f"{percent(min(one.mean, 1.0))} of it stays" if question in SHARES and one.mean == one.mean else ""
        reasons.setdefault(question, []).append((label, number))
    found = [Advice(ours, few(question) if len(ours) > 1 else fails(question)) for question, ours in reasons.items()]
    return sorted(found, key=lambda advice: -len(advice.names))


def _network(verdicts: Verdicts, *, failed: bool) -> str:
    info = verdicts.evidence.info
    if info.known and info.withheld:
        return f"{info.known} What fails here may be the network's fault, and what passes is no merit."
    if info.known:
        return f"{info.known}" + (" So what fails here is the method, not the network." if failed else "")
    said = info.unmeasured or "How often the network is right is not known."
    return f"{said} So a heatmap may fail here for the network's sake: give true labels."


def _sure(verdicts: Verdicts) -> str:
    info = verdicts.evidence.info
    networks = {(s.group, s.seed) for s in info.states if s.role is Role.RANDOMIZED and s.complete}
    drawn = f" and {plural(len(networks), 'random network')}" if networks else ""
    marks = [
        one
        for method in info.methods
        for q, one in verdicts.by_question(method.label).items()
        if q in verdicts.counted and one.answer
    ]
    untold = sum(one.answer == "unknown" for one in marks)
    return (
        f"{plural(verdicts.evidence.samples, 'sample')}{drawn}, 95 % intervals: a yes or no needs all of one beyond a "
        f"stated margin, and 5 % at most of them are expected to be wrong. {untold} of {plural(len(marks), 'answer')} "
        "cannot be told."
    )


def _cost(manifest: Mapping[str, Any]) -> str:
    costs = manifest.get("costs") or {}
    seconds, maps = (sum(one[name] for one in costs.values()) for name in ("seconds", "maps"))
    place = manifest.get("environment") or {}
    where = f" on {place['device']}" if place.get("device") else ""
    threads = place.get("threads")
    where += f" with {plural(threads, 'thread')}" if threads and str(place.get("device")).startswith("cpu") else ""
    each = [one["seconds"] / one["maps"] for one in costs.values() if one.get("maps")]
    if not each:
        return "No map was computed."
    return (
        f"{plural(maps, 'map')} in {lasting(seconds)}{where}, without the checks' own passes; the dearest "
        f"{lasting(max(each))} a map."
    )
