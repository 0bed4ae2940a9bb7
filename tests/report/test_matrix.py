"""The matrix: one mark a method and question, by shape as well as by color."""

from functools import cache
from pathlib import Path

from heatproof import report
from heatproof.reading import Verdicts
from heatproof.report.content import content
from heatproof.report.matrix import Matrix, answers_of, matrix
from heatproof.runs import read


@cache
def found(run: Path) -> Matrix:
    return matrix(read(run, Verdicts.of))


def test_every_mark_is_told_by_its_shape(whole: Path) -> None:
    shapes = {mark.tone: mark.shown for line in found(whole).lines for mark in line.marks if mark.tone != "plain"}
    assert shapes == {"good": "●", "mid": "◐", "bad": "✕", "noise": "✕", "unknown": "?", "none": "·"}


def test_those_that_pass_stand_first_and_controls_last(whole: Path) -> None:
    lines = found(whole).lines
    assert [line.method for line in lines[:3]] == ["gradient", "grad-cam", "smoothgrad"]
    assert [line.control for line in lines] == [False] * 6 + [True] * 3
    assert [line.answer for line in lines[:6]] == ["yes", "yes", "unknown", "no", "no", "no"]


def test_questions_stand_in_the_order_in_which_belief_needs_them(whole: Path) -> None:
    assert [key for key, _, _ in found(whole).columns] == [
        "believable", "steady", "depends", "faithful", "repeats", "more-than-the-picture", "labels", "localizes",
        "complete", "competition", "complexity", "cost",
    ]  # fmt: skip


def test_what_was_not_asked_differs_from_what_has_no_measure(run: Path, whole: Path) -> None:
    def said(folder: Path, method: str, question: str) -> str:
        line = next(line for line in found(folder).lines if line.method == method)
        return next(mark.said for mark in line.marks if mark.question == question)

    assert said(run, "gradient", "faithful") == "not asked"
    assert said(whole, "gradient", "complete") == "no measure of it"
    assert said(whole, "guided-backprop", "depends") == "surely no: hardly depends"
    assert said(whole, "grad-cam", "depends") == "in part: depends, perhaps in part"


def test_cost_is_a_number_that_sorts_by_seconds(whole: Path) -> None:
    marks = {line.method: line.marks[-1] for line in found(whole).lines}
    assert (marks["gradient"].shown, marks["cgi"].shown) == ("1.0 ×", "3.0 ×")
    assert marks["gradient"].rank < marks["cgi"].rank


def test_a_mark_opens_number_interval_samples_and_rule(whole: Path) -> None:
    (one, *_) = answers_of(read(whole, Verdicts.of))["guided-backprop"]["depends"]
    assert one["word"] == "hardly depends"
    assert one["low"] < one["mean"] < one["high"]
    assert (one["n"], one["margin"]) == (16, "yes below 0.5, no at 0.5 or more")
    assert one["why"].endswith("of its similarity to itself survives, judged by where the map is strong.")


def test_marks_have_names_for_those_who_do_not_see_them(whole: Path) -> None:
    page = report.render(content(whole))
    assert 'aria-label="guided-backprop, depends: surely no: hardly depends"' in page
    assert '<span class="unseen"> no measure of it</span>' in page
