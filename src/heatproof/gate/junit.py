"""Outcomes as JUnit's XML, which every service for automatic builds reads."""

from collections.abc import Sequence
from xml.etree import ElementTree

from heatproof.gate.outcome import Outcome


def junit(outcomes: Sequence[Outcome], suite: str) -> str:
    """A test case for each outcome; what is not kept is a failure with its reason."""
    failed = sum(not one.kept for one in outcomes)
    root = ElementTree.Element("testsuites")
    tests = ElementTree.SubElement(
        root, "testsuite", name=suite, tests=str(len(outcomes)), failures=str(failed), errors="0", skipped="0"
    )
    for one in outcomes:
        case = ElementTree.SubElement(tests, "testcase", classname=f"heatproof.{suite}", name=_allowed(one.name))
        if not one.kept:
            ElementTree.SubElement(case, "failure", message=_allowed(one.why)).text = _allowed(one.why)
        else:
            ElementTree.SubElement(case, "system-out").text = _allowed(one.why)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def broken(message: str, suite: str) -> str:
    """A gate that could not be asked, as one error: what an older file says must not stand."""
    root = ElementTree.Element("testsuites")
    tests = ElementTree.SubElement(root, "testsuite", name=suite, tests="1", failures="0", errors="1", skipped="0")
    case = ElementTree.SubElement(tests, "testcase", classname=f"heatproof.{suite}", name="the gate")
    ElementTree.SubElement(case, "error", message=_allowed(message)).text = _allowed(message)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _allowed(text: str) -> str:
    """Without the control characters that XML has no way to write."""
    return "".join(c for c in text if c in "\t\n" or ord(c) >= 32)
