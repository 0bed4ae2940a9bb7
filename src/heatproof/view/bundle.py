"""A static site: the list, and the page of each run, to be copied anywhere. It opens from disk and asks for nothing."""

import re
from pathlib import Path

from heatproof.errors import HeatproofError, InputError, StoreError
from heatproof.report import page, render
from heatproof.report.content import content
from heatproof.view.pages import OWN, listed, readable
from heatproof.view.runs import Runs

INDEX, FOLDER = "index.html", "runs"


def bundled(runs: Runs, out: Path) -> Path:
    """Write `index.html` and `runs/NAME.html` into the folder `out`, and return the path of the first.

    What lies there already and is called otherwise stays. A run that cannot be read is listed with the reason.

    Raises: InputError where `out` is no folder; StoreError if it cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"Expected a folder to write to, but {str(out)!r} is a file.")
    values = listed(runs, served=False)
    links, said, summaries = {}, {}, []
    try:
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Could not write {out}: {error.strerror or error}.") from None
    for one in values["runs"]:
        found = runs.get(one.id)
        if found is not None and not one.problem:
            try:
                sentence, text = readable(_read, found.path)
                target = page.save(text, out / FOLDER / f"{_slug(one.name)}-{one.id[:6]}.html")
                said[one.id], links[one.id] = sentence, f"{FOLDER}/{target.name}"
            except HeatproofError as error:
                one = one._replace(problem=str(error))
        summaries.append(one)
    values |= {"links": links, "said": said, "runs": summaries}
    return page.save(page.render("list.html", values, scripts=(), own=OWN), out / INDEX)


def _read(run: Path) -> tuple[str, str]:
    """The sentence that a run's page begins with, and the page: its rows are read once."""
    values = content(run)
    return values["screen"].text, render(values)


def _slug(name: str) -> str:
    """A run's name as a file's, on any system and in any address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-60:] or "run"
