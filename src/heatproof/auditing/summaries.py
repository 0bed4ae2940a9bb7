"""What checks say of the whole data set, once every sample's rows are there."""

from typing import Any

from heatproof.auditing.plan import Plan
from heatproof.auditing.store import Store, read_rows
from heatproof.checks.base import Check
from heatproof.recipes import digest
from heatproof.rows import COLUMNS, Role


def summary_ids(plan: Plan) -> dict[str, str]:
    """By check that has a summary, the id that its rows carry in place of a cell: it hashes all cells they are of."""
    having = [check.label for check in plan.checks if type(check.recipe).summary is not Check.summary]
    cells: dict[str, list[str]] = {label: [] for label in having}
    for key, cell in plan.cells.items():
        if cell.check in cells:
            cells[cell.check].append(key)
    return {label: digest(["summary", sorted(keys)]) for label, keys in cells.items()}


def summarize(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Write what each check says of the whole data set, from the rows that are on disk now; gives the failures."""
    failures: list[dict[str, Any]] = []
    ids = summary_ids(plan)
    if not ids:
        return failures  # nothing to say: large runs need not be read
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    done: set[str] = set()
    for check in (check for check in plan.checks if check.label in ids):
        rows = read_rows(store.run, [check.label])
        ours = rows[rows["cell"] != ids[check.label]].drop(columns=["check", "role", "stage", "cell"])
        try:
            summary = check.recipe.summary(ours) if len(ours) else None
        except Exception as error:  # one check's failure must not cost the others their rows
            said = f"{type(error).__name__}: {error}"
            failures.append({"method": "", "check": check.label, "state": "", "samples": [], "error": said, "count": 1})
            continue
        done.add(ids[check.label])
        if summary is not None:
            summary = summary.assign(check=check.label, role=str(Role.TRAINED), stage="", cell=ids[check.label])
            for name in COLUMNS:
                found[name] += summary[name].tolist()
    store.write_rows("summary", found, done)
    return failures
