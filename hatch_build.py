"""The README as a package index shows it: pictures and links that lie in the repository alone are left out."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n+", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


def standalone(text: str) -> str:
    """A Markdown text without the pictures and links that are relative: links leave their words."""
    return LINK.sub(r"\1", PICTURE.sub("", text))


class Readme(MetadataHookInterface):
    """Called by hatchling when a wheel or an sdist is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": standalone(text)}
