"""000, section 3.1: what competition leaves of a logit in features that two labels share, simulated."""

from functools import partial
from pathlib import Path

from heatproof.papers.claims import all_near
from heatproof.papers.measure import Measured, Results, over_samples
from heatproof.papers.paper import Answer, Claim, Picture, Table, all_of, positive
from heatproof.papers.pictures import Line, chart
from heatproof.theory import competition
from heatproof.theory.two_labels import limit

FAR = 0.1  # the least logit that the paper finds of chosen labels on real data; below it x is nearly all noise
CLOSE = 0.05
PARTS = {"c1": ("Fig. 11", "shared", limit(0.5)), "c2": ("Fig. 12", "unshared", limit(0.0))}


def _each(results: Results, part: str) -> dict[float, Measured]:
    rows = results.rows
    return {delta: over_samples(rows[rows["delta"] == delta], part) for delta in sorted(rows["delta"].unique())}


def _is_left(part: str, results: Results) -> Answer:
    """c is above 0 for every δ: something is left of each half."""
    found = _each(results, part)
    told = ", ".join(f"δ = {delta:g}: {figure.text(digits=3)}" for delta, figure in found.items())
    return Answer(told, all_of([positive(figure) for figure in found.values()]))


def _is_constant(results: Results) -> Answer:
    told, verdicts = [], []
    for part, (_, _, value) in PARTS.items():
        far = [figure for delta, figure in _each(results, part).items() if delta >= FAR]
        verdicts.append(all_near(far, value, CLOSE))
        least, most = min(far), max(far)
        told.append(f"{part} from {least.text(digits=3)} to {most.text(digits=3)}, its limit {value:.3f}")
    return Answer(f"{'; '.join(told)}; asked is ± {CLOSE}, for δ from {FAR}", all_of(verdicts))


def _share(column: str, value: float, results: Results) -> Answer:
    """A sum over the shared half is this share of δ, to a twentieth of it."""
    rows = results.rows[results.rows["delta"] >= FAR]
    found = over_samples(rows.assign(share=rows[column] / rows["delta"]), "share")
    return Answer(
        f"{found.text(digits=3)} of δ, for δ from {FAR}; asked is {value} ± {value / 20:g}",
        all_near([found], value, value / 20),
    )


def _draw(results: Results, file: Path) -> None:
    lines = []
    for color, (part, (_, half, value)) in enumerate(PARTS.items()):
        found = _each(results, part)
        deltas, (mean, low, high) = [*found], ([figure[k] for figure in found.values()] for k in range(3))
        lines.append(Line(f"{part}, {half} half", deltas, mean, low, high, color=color))
        ends = [deltas[0], deltas[-1]]
        lines.append(Line(f"{part}, its limit {value:.3f}", ends, [value] * 2, style="theory", color=color))
    chart(file, {"": lines}, x="δ", y="sum left, of δ/2")


TABLE = Table(name="simulation", compute=competition)
CLAIMS = (
    *(
        Claim(
            where=figure,
            text=f"competition leaves {part}·δ/2 of the {half} features",
            paper="“at least c₁δ/2 left … at least c₂δ/2” (100 samples; its n is not printed)",
            steps=("simulation",),
            answer=partial(_is_left, part),
        )
        for part, (figure, half, _) in PARTS.items()
    ),
    Claim(
        where="Fig. 11, 12",
        text="c₁ and c₂ do not depend on δ",
        paper="“some constants”, in pictures only; the limits for large n are ours, in closed form",
        steps=("simulation",),
        answer=_is_constant,
    ),
    *(
        Claim(where="3.1", text=text, paper=words, steps=("simulation",), answer=partial(_share, column, value))
        for column, value, text, words in (
            ("shared", 0.5, "half of the logit comes from the shared features", "“(h₁, 0) · x ≈ δ/2”"),
            ("rival", 0.25, "they give the other label half as much", "“(h₂, 0) · x ≈ δ/4”"),
        )
    ),
)
PICTURE = Picture(
    name="simulation",
    caption="simulation: what competition leaves of a logit δ, of 100 samples in 10,000 dimensions (Fig. 11, 12).",
    steps=("simulation",),
    draw=_draw,
)
