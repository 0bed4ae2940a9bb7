"""Outcomes as JUnit's XML, which every service for automatic builds reads."""

from collections.abc import Sequence
from xml.etree import ElementTree

from heatproof.gate.outcome import Outcome


def junit(outcomes: Sequence[Outcome], suite: str) -> str:
    """A test case for each outcome; what is not kept is a failure with its reason."""
    return _written(suite, [(one.name, "system-out" if one.kept else "failure", one.why) for one in outcomes])


def broken(message: str, suite: str) -> str:
    """A gate that could not be asked, as one error: what an older file says must not stand."""
    return _written(suite, [("the gate", "error", message)])


def _written(suite: str, cases: Sequence[tuple[str, str, str]]) -> str:
    """The file of test cases, each with its name, what became of it, and why."""
    ends = [end for _, end, _ in cases]
    failed, broke = str(ends.count("failure")), str(ends.count("error"))
    root = ElementTree.Element("testsuites")
    tests = ElementTree.SubElement(
        root, "testsuite", name=suite, tests=str(len(cases)), failures=failed, errors=broke, skipped="0"
    )
    for name, end, why in cases:
        case = ElementTree.SubElement(tests, "testcase", classname=f"heatproof.{suite}", name=_allowed(name))
        message = {} if end == "system-out" else {"message": _allowed(why)}
        ElementTree.SubElement(case, end, message).text = _allowed(why)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _allowed(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(c for c in text if c in "\t\n" or ord(c) >= 32)
