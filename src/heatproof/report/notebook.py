"""A run as a notebook shows it: its sentence, and the matrix of marks."""

from html import escape
from pathlib import Path

from heatproof.reading import Verdicts
from heatproof.report.colors import TONES
from heatproof.report.first_screen import first_screen
from heatproof.report.matrix import GLYPHS, KEY, matrix
from heatproof.runs import read
from heatproof.runs.failures import failures

CELL = "text-align:center;padding:2px 8px"


def html(run: Path) -> str:
    """The run as HTML with styles of its own: notebooks have no style sheet of ours."""
    verdicts = read(run, Verdicts.of)
    found, screen = matrix(verdicts), first_screen(verdicts)
    failed = "".join(f"<li>{escape(line)}</li>" for line in failures(verdicts.evidence.info.manifest))
    head = "".join(
        f'<th style="{CELL}" title="{escape(title)}">{escape(name)}</th>' for _, name, title in found.columns
    )
    body = ""
    for line in found.lines:
        marks = "".join(
            f'<td style="{CELL};color:{TONES.get(mark.tone, "inherit")}" title="{escape(mark.said)}">'
            f"{escape(mark.shown)}</td>"
            for mark in line.marks
        )
        weight = "normal" if line.control else "bold"
        body += f'<tr><th style="text-align:left;font-weight:{weight}">{escape(line.method)}</th>{marks}</tr>'
    key = " &nbsp; ".join(f"{GLYPHS[tone]} {said}" for tone, said in KEY.items())
    return (
        f"<div><p><b>{escape(screen.text)}</b></p>"
        + (f"<p>Failed:</p><ul>{failed}</ul>" if failed else "")
        + f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{key} &nbsp; · not asked. {escape(str(run))}</small></p></div>"
    )
