"""Pages made when they are asked for, and kept in memory while the run's files stay as they are."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from heatproof.errors import HeatproofError, StoreError
from heatproof.reading import Verdicts
from heatproof.report import SCRIPTS as OF_REPORTS
from heatproof.report import comparing, page
from heatproof.report import render as report
from heatproof.report.content import content
from heatproof.report.first_screen import first_screen
from heatproof.runs import read
from heatproof.view.runs import Found, Runs

MOST_KEPT = 2**27  # bytes of pages in memory
OWN = "heatproof.view"
log = logging.getLogger("heatproof.view")
OF_LIST, OF_APART = ("list.js",), ("apart.js",)

T = TypeVar("T")


class Pages:
    """What is shown of the runs of a folder. One page is made at a time."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._kept: OrderedDict[tuple[str, ...], str] = OrderedDict()
        self._one = Lock()

    def report(self, found: Found) -> str:
        """The page of a run. Raises: StoreError for a run that cannot be read."""
        return self._made(("report", found.id, self.runs.stamp(found)), found.path, lambda run: report(content(run)))

    def headline(self, found: Found) -> str:
        """The one sentence of a run: which of its heatmaps to show. Raises: as `report`."""
        return self._made(("headline", found.id, self.runs.stamp(found)), found.path, headline)

    def comparison(self, several: list[Found]) -> str:
        """Several runs on one page. Raises: as `report`; InputError for fewer than two."""
        comparing.check(len(several))
        stamps = [part for found in several for part in (found.id, self.runs.stamp(found))]
        paths = [found.path for found in several]
        return self._made(
            ("comparison", *stamps),
            self.runs.root,
            lambda _: page.render("comparison.html", comparing.content(paths), scripts=()),
        )

    def _made(self, key: tuple[str, ...], run: Path, make: Callable[[Path], str]) -> str:
        with self._one:
            if key not in self._kept:
                for old in [kept for kept in self._kept if kept[:2] == key[:2]]:
                    del self._kept[old]  # of the run as it was before
                self._kept[key] = readable(make, run)
            self._kept.move_to_end(key)
            while sum(map(len, self._kept.values())) > MOST_KEPT and len(self._kept) > 1:
                self._kept.popitem(last=False)
            return self._kept[key]


def readable(make: Callable[[Path], T], run: Path) -> T:
    """What `make` makes of a run. Raises: StoreError for whatever is wrong with it."""
    try:
        return make(run)
    except HeatproofError:
        raise
    except Exception as error:  # files that are no run's, or those of another version: whatever reading them raises
        log.debug("A run cannot be shown", exc_info=True)
        raise StoreError(f"This run cannot be shown ({type(error).__name__}: {error}).") from error


def headline(run: Path) -> str:
    """The sentence that a run's page begins with."""
    return first_screen(read(run, Verdicts.of)).text


def listing(runs: Runs, *, model: str = "") -> str:
    """The page that lists runs; it asks for their sentences. `model` is the network that can be taken apart, if any."""
    return page.render("list.html", listed(runs, model=model), scripts=OF_LIST, own=OWN, asks=True)


def listed(runs: Runs, **more: Any) -> dict[str, Any]:
    """What `list.html` is rendered with."""
    found = runs.summaries()
    usual = {"folder": runs.root.name or str(runs.root), "runs": found, "left_out": runs.left_out}
    return {**usual, "served": True, "model": "", "links": {}, "said": {}, **more}


def refusal(title: str, sentence: str) -> str:
    """A page that says why there is none."""
    return page.render("refusal.html", {"title": title, "sentence": sentence}, scripts=(), own=OWN)


POLICIES = {
    "list": page.policy(OF_LIST, own=OWN, asks=True),
    "apart": page.policy(OF_APART, own=OWN, asks=True),
    "report": page.policy(OF_REPORTS) + "; sandbox allow-scripts allow-downloads allow-modals",
    "plain": page.policy(()),
}
