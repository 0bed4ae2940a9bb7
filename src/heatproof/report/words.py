"""How a run's randomizations are spoken of: by what was run, never by what is usual."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from heatproof.reading.run_info import RunInfo


class Order(NamedTuple):
    """An order of randomization: as a way through the network, below the axis, and before the name of a layer."""

    way: str
    axis: str
    stage: str


ORDERS = {
    "cascading": Order("from the output down", "randomized from the output down to …", "randomized down to"),
    "bottom-up": Order("from the input up", "randomized from the input up to …", "randomized up to"),
    "independent": Order("one layer at a time", "layer that is randomized, alone", "randomized alone:"),
}
UNKNOWN = Order("stage by stage", "layer that was randomized last", "randomized last:")
Manifest = Mapping[str, Any]


def order(group: str) -> Order:
    """The order that a randomization such as `bottom-up he` goes by: its first word."""
    return ORDERS.get(group.partition(" ")[0], UNKNOWN)


def ways(randomized: Sequence[str]) -> str:
    """The different orders of these randomizations, in words."""
    return " or ".join(dict.fromkeys(order(group).way for group in randomized))


def title(manifest: Mapping[str, Any]) -> str:
    """What a run is called: by its own title, else by its network and its data."""
    return str(manifest.get("title") or f"{manifest['model']['name']} on {manifest['data']['name']}")


def axes(manifest: Mapping[str, Any]) -> str:
    """What the axes of samples are: leads by name, positions a second, spacing; "" where nothing is known."""
    known = manifest["data"].get("axes") or {}
    spacing = " × ".join(f"{one:g}" for one in known.get("spacing") or ())
    parts = [
        f"leads {', '.join(known['leads'])}" if known.get("leads") else "",
        f"{known['rate']:g} positions a second" if known.get("rate") else "",
        f"{spacing} {known.get('unit', '')} between positions".replace("  ", " ") if spacing else "",
    ]
    return "; ".join(filter(None, parts))


def lead(manifest: Manifest) -> str:
    """What was done to the network, and what follows from it."""
    info = RunInfo(manifest)
    everything, some = info.complete_randomizations, info.randomizations
    if everything:
        return (
            f"Every layer of the network was randomized, step by step {ways(everything)}: a heatmap that stays the "
            "same shows the input, not what was learned. A map that changes has passed this one test; noise changes "
            "too."
        )
    anew = any(state["kind"] == "retrained" for state in manifest["states"])
    if anew and not some:
        return (
            "The network was trained anew on permuted labels, which can only be learned by heart: a heatmap that stays "
            "the same shows the input, not what was learned. No layer was randomized."
        )
    if some:
        return (
            f"Layers of the network were randomized {ways(some)}, but never all of them together: how much each map "
            "changes is shown below, and not judged."
        )
    return "No layer of the network was randomized: nothing here says whether a heatmap shows what was learned."


def unjudged(manifest: Manifest) -> str:
    """Which randomizations are shown only; empty if none."""
    info = RunInfo(manifest)
    only = [f"{group}, {why}" for group in info.randomizations if (why := info.unfinished(group))]
    return f"Shown, not judged: {'; '.join(only)}." if only else ""


TREATED = {"refit": "fitted anew", "reuse": "used as it is", "exclude": "left out"}


def learned(method: Manifest, manifest: Manifest) -> str:
    """What a method has learned from, and what was done to it where the network was changed; empty for most."""
    parts = []
    for one in method.get("learns", ()):
        samples, data = one.get("facts", {}).get("samples"), manifest.get("training_data")
        on = f"Fitted on {samples} samples" if samples else "Not fitted yet"
        of = f" of {data['name']}" if samples and data and not one["given"] else ""
        layer = f" at {one['facts']['layer']}" if "layer" in one.get("facts", {}) else ""
        parts.append(f"{on}{of}{layer}; on a changed network {TREATED[one['changed']]}: {one['because']}.")
    return " ".join(dict.fromkeys(parts))
