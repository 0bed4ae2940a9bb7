"""A spec of a model and a place with data, for who has written none."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heatproof.auditing.spec import AuditSpec, parse_beside
from heatproof.data import long_rows
from heatproof.data.pictures import ENDINGS
from heatproof.data.text_rows import JSON_LINES
from heatproof.errors import InputError
from heatproof.paths import given_path

METHODS = ("gradient-x-input", "integrated-gradients", "random")
CHECKS = ("steadiness", "parameter-randomization", "degradation")
TABLES = (*long_rows.TABLES, *JSON_LINES)


def spec_of(
    model: str,
    data: str,
    *,
    weights: str | None = None,
    methods: Sequence[str] = (),
    checks: Sequence[str] = (),
    limit: int | None = None,
    trusted: Sequence[str] = (),
) -> AuditSpec:
    """The audit of `model` (torchvision:NAME, timm:NAME, hf:FOLDER or module:factory) on the samples in `data`.

    What kind of samples these are is told by what lies there: pictures, .txt files, a table (of texts for a network of
    Hugging Face), a NumPy archive. By default the methods and checks that a first look needs. `limit` draws so many of
    all samples, always the same: the first ones of a folder are those of one label.

    Raises: InputError for data of no known kind, and as a spec does.
    """
    from_hub = model.startswith("hf:")
    table: dict[str, Any] = {
        "model": {"name": model} | ({"weights": str(Path(weights).resolve())} if weights else {}),
        "data": _data(data, from_hub=from_hub) | ({"limit": limit, "shuffle": 0} if limit else {}),
        "methods": list(methods or METHODS),
        "checks": list(checks or CHECKS),
        "out": f"runs/{_name(model)}",
    }
    return parse_beside(table, Path.cwd(), trusted)


def _name(model: str) -> str:
    """What the run of a model is called."""
    last = model.partition(":")[2] or model
    return Path(last).name or "model"


def _data(data: str, *, from_hub: bool) -> dict[str, Any]:
    """The source that reads what lies at a place."""
    path = given_path(data)
    ends = "".join(path.suffixes).lower()
    if path.is_dir():
        texts, pictures = _holds(path)
        if not texts and not pictures:
            raise InputError(
                f"Expected pictures or .txt files in {data!r}, but found neither; write a spec for others."
            )
        return {"name": "image-folder", "root": str(path)} if pictures else {"name": "text", "path": str(path)}
    if not path.is_file():
        raise InputError(f"Expected a folder or file of samples at {data!r}, but there is none.")
    if ends.endswith(ENDINGS):
        return {"name": "image-file", "path": str(path)}
    if any(end in ends for end in TABLES):
        return {"name": "text" if from_hub else "table", "path": str(path)}
    if ends.endswith(".npz"):
        return {"name": "npz", "path": str(path)}
    raise InputError(
        f"Expected pictures, texts ({', '.join(TABLES)}, a folder of .txt files), a table or an .npz archive, but got "
        f"{data!r}; write a spec that names its source."
    )


def _holds(root: Path) -> tuple[bool, bool]:
    """Whether there are text files, and pictures, in a folder or below."""
    texts = pictures = False
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        texts = texts or any(name.endswith(".txt") for name in files)
        pictures = pictures or any(name.lower().endswith(ENDINGS) for name in files)
    return texts, pictures
