"""000, section 3.1: what competition leaves of a logit."""

from heatproof.theory.drawing import Line, chart
from heatproof.theory.page import Claim, Section, spread, told, verdict
from heatproof.theory.two_labels import DELTAS, competition, limit

CLOSE = 0.05


def two_labels(samples: int) -> Section:
    """000, section 3.1."""
    table = competition(samples=samples)
    groups = [(delta, table[table["delta"] == delta]) for delta in DELTAS]
    far = table[table["delta"] >= 0.1]
    ratios = {name: far[name] / far["delta"] for name in ("shared", "rival")}
    limits = {"c1": limit(0.5), "c2": limit(0.0)}
    near = all(
        abs(spread(part[name])[0] - limits[name]) <= CLOSE + spread(part[name])[1]
        for _, part in groups
        for name in limits
    )
    lines = []
    for color, (name, where) in enumerate((("c1", "shared"), ("c2", "unshared"))):
        points = [spread(part[name]) for _, part in groups]
        x = list(DELTAS)
        low, high = [m - h for m, h in points], [m + h for m, h in points]
        lines.append(
            Line(label=f"{name}, {where} half", x=x, y=[m for m, _ in points], low=low, high=high, color=color)
        )
        label = f"limit for large n: {limits[name]:.3f}"
        lines.append(Line(label=label, x=[x[0], x[-1]], y=[limits[name]] * 2, dashed=True, color=color))
    return Section(
        title="Competition between two labels",
        text=f"Gradients and inputs of 10,000 dimensions, {samples} draws for each δ. The paper does not print its n, "
        "and its Fig. 11 and 12 are pictures only, so their curves cannot be compared number by number. That c does "
        "not depend on δ follows from a closed form of ours (dashed; see `heatproof.theory.two_labels.limit`).",
        claims=(
            Claim(
                source="000, 3.1",
                says="(h₁, 0)·x ≈ δ/2",
                verdict=verdict(abs(float(ratios["shared"].mean()) - 0.5) < CLOSE / 2),
                measured=f"{told(ratios['shared'])} of δ, for δ from 0.1",
            ),
            Claim(
                source="000, 3.1",
                says="(h₂, 0)·x ≈ δ/4, reflecting h₁·h₂ = 1/2",
                verdict=verdict(abs(float(ratios["rival"].mean()) - 0.25) < CLOSE / 4),
                measured=f"{told(ratios['rival'])} of δ",
            ),
            Claim(
                source="000, 3.1, Fig. 11, 12",
                says="c₁δ/2 is left of the shared and c₂δ/2 of the other half, where c₁ and c₂ are constants",
                verdict=verdict(near),
                measured="; ".join(
                    f"δ = {delta:g}: c₁ {told(part['c1'], 2)}, c₂ {told(part['c2'], 2)}"
                    for delta, part in groups
                    if delta in (0.1, 0.2, 0.5)
                ),
            ),
        ),
        tables={"competition": table},
        pictures={
            "competition": chart(lines, title="What competition leaves of a logit δ", x="δ", y="sum left, of δ/2")
        },
    )
