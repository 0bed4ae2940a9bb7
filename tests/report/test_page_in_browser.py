"""The page in a real browser: pictures are painted, curves are drawn, nothing is fetched, names stay text."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic

from heatproof import report

pytestmark = pytest.mark.browser
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-extensions"]
COLORS = """canvas => {
  const d = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const seen = new Set();
  for (let i = 0; i < d.length; i += 4) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]);
  return seen.size;
}"""
PIXELS = "canvas => canvas.toDataURL()"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Any]:
    """The page, opened from disk; whatever it complains of or asks the network for fails the test."""
    tab, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    tab.set_default_timeout(10_000)
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector("#maps canvas")
    yield tab
    tab.close()
    assert wrong == []


def cell(tab: Any, method: int, stage: int) -> Any:
    return tab.locator("#maps tbody tr").nth(method).locator("canvas").nth(stage)


def test_every_method_has_its_curve_and_both_yardsticks_a_band(opened: Any) -> None:
    methods = len(synthetic.METHODS) + len(synthetic.CONTROL_METHODS)
    assert opened.locator("#chart .series").count() == methods
    lengths = opened.locator("#chart .curve").evaluate_all("paths => paths.map(p => p.getTotalLength())")
    assert min(lengths) > 300
    assert opened.locator("#chart rect.noise").count() == 1
    assert opened.locator("#chart rect.control").count() == 1
    assert opened.locator("#legend button").count() == methods
    assert opened.locator("#panels h3").all_text_contents()[0] == "Zero in both maps"


def test_another_measure_draws_other_curves(opened: Any) -> None:
    path = "p => p.getAttribute('d')"
    curve = opened.locator("#chart [data-method=gradient-x-input] .curve")
    before = curve.evaluate(path)
    opened.click("#metric [data-metric=spearman]")
    assert curve.evaluate(path) != before


def test_pointing_at_a_method_dims_the_others_and_shows_its_own_bands(opened: Any) -> None:
    opened.hover("#legend [data-method=smoothgrad]")
    opened.wait_for_selector("#chart .series.focus")
    assert opened.locator("#chart .series.dim").count() == 8
    assert opened.locator("#chart circle.yardstick").count() == 2  # its two floors
    assert opened.locator("#chart rect.control").count() == 2


def test_leaving_a_method_draws_once_and_shows_all_again(opened: Any) -> None:
    opened.hover("#legend [data-method=smoothgrad]")
    opened.wait_for_selector("#chart .series.dim")
    opened.evaluate("""() => {
      window.drawn = 0;
      const watch = new MutationObserver((all) => { window.drawn += all.length; });
      watch.observe(document.getElementById("chart"), { childList: true });
    }""")
    opened.mouse.move(2, 2)
    opened.wait_for_function("document.querySelectorAll('#chart .series.dim').length === 0")
    opened.wait_for_timeout(50)
    assert opened.evaluate("window.drawn") == 1
    assert opened.locator("#legend button").count() == 9


def test_a_method_is_kept_by_its_legend_and_by_its_curve_and_let_go_again(opened: Any) -> None:
    legend = opened.locator("#legend [data-method=cgi]")
    legend.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("#chart .series.focus").get_attribute("data-method") == "cgi"
    assert opened.locator("#legend [aria-pressed=true]").get_attribute("data-method") == "cgi"
    assert opened.evaluate("document.activeElement.dataset.method") == "cgi"
    opened.keyboard.press("Enter")
    assert opened.locator("#legend [aria-pressed=true]").count() == 0
    wide = opened.locator("#chart svg").bounding_box()["width"]
    opened.locator("#chart svg").click(position={"x": wide - 20, "y": 15})  # the top of the last stage
    kept = opened.locator("#legend [aria-pressed=true]").get_attribute("data-method")
    assert kept in synthetic.CONTROL_METHODS  # which never change
    assert opened.locator("#stage-now").inner_text() == "stage 4: conv1"  # the maps follow


def test_pointing_at_a_curve_tells_its_numbers(opened: Any) -> None:
    opened.hover("#chart svg", position={"x": 400, "y": 30})
    assert "samples" in opened.locator("#tip").inner_text()


def test_maps_are_painted(opened: Any) -> None:
    colors = opened.locator("#maps canvas").evaluate_all(f"all => all.map({COLORS})")
    assert len(colors) == 9 * 5
    assert min(colors) > 10
    shown = opened.locator(".hero img").evaluate_all("all => all.map(i => [i.complete, i.naturalWidth])")
    assert shown == [[True, synthetic.SIDE]] * 5


def test_colors_follow_the_sign(opened: Any) -> None:
    middle = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
    names = opened.locator("#maps tbody th").all_text_contents()
    corner = cell(opened, names.index("gradient-x-input"), 0).evaluate(middle)
    assert corner == [245, 245, 245, 255]  # zero on the digit's background


def test_stepping_samples_repaints_and_stepping_stages_moves_the_mark(opened: Any) -> None:
    first = cell(opened, 0, 1).evaluate(PIXELS)
    opened.keyboard.press("j")
    opened.wait_for_function("document.getElementById('sample-now').textContent.startsWith('sample 2')")
    second = cell(opened, 0, 1).evaluate(PIXELS)
    assert second != first
    opened.click("#sample-back")
    opened.wait_for_function("document.getElementById('sample-now').textContent.startsWith('sample 1')")
    assert cell(opened, 0, 1).evaluate(PIXELS) == first
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("document.getElementById('stage-now').textContent === 'stage 1: fc2'")
    assert opened.locator("#maps thead .now").inner_text() == "fc2"
    assert opened.locator("#legend .head").inner_text() == "at fc2"  # the curves follow


def test_maps_that_must_differ_differ_and_the_edge_detector_does_not(opened: Any) -> None:
    names = opened.locator("#maps tbody th").all_text_contents()
    edges, plain = names.index("edge-detector"), names.index("gradient")
    assert cell(opened, edges, 0).evaluate(PIXELS) == cell(opened, edges, 4).evaluate(PIXELS)
    assert cell(opened, plain, 0).evaluate(PIXELS) != cell(opened, plain, 4).evaluate(PIXELS)


def test_large_view_opens_steps_and_closes(opened: Any) -> None:
    cell(opened, 0, 0).click()
    opened.wait_for_selector("#large[open] canvas")
    large = opened.locator("#large canvas").nth(1)
    before = large.evaluate(PIXELS)
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function("document.querySelector('#large').innerText.includes('randomized down to fc2')")
    assert opened.locator("#large canvas").nth(1).evaluate(PIXELS) != before
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#large:not([open])", state="attached")


def test_input_shows_through_when_asked(opened: Any) -> None:
    before = cell(opened, 0, 0).evaluate(PIXELS)
    opened.locator("#overlay").fill("60")
    opened.wait_for_function("before => document.querySelector('#maps canvas').toDataURL() !== before", arg=before)


def test_every_mark_opens_and_closes_by_button_and_by_its_ground(opened: Any) -> None:
    for close in ("#mark button >> nth=0", None):
        opened.locator('tr[data-method="gradient"] button[data-question="depends"]').click()
        opened.wait_for_selector("#mark[open]")
        if close:
            opened.click(close)
        else:
            opened.mouse.click(4, 4)
        opened.wait_for_selector("#mark:not([open])", state="attached")


def test_the_large_view_steps_by_its_buttons_and_closes_by_its_ground(opened: Any) -> None:
    cell(opened, 0, 0).click()
    opened.wait_for_selector("#large[open] canvas")
    for name, id_, said in (
        ("stage ›", "stage-now", "stage 1: fc2"),
        ("‹ stage", "stage-now", "trained"),
        ("sample ›", "sample-now", "sample 2 of 4: digit 1"),
        ("‹ sample", "sample-now", f"sample 1 of 4: {synthetic.EVIL}"),
    ):
        opened.locator("#large button", has_text=name).click()
        opened.wait_for_function("([id, said]) => document.getElementById(id).textContent === said", arg=[id_, said])
    opened.mouse.click(4, 4)
    opened.wait_for_selector("#large:not([open])", state="attached")


def test_samples_and_stages_are_chosen_by_their_buttons(opened: Any) -> None:
    opened.locator("#samples button").nth(2).click()
    opened.wait_for_function("document.getElementById('sample-now').textContent.startsWith('sample 3')")
    assert opened.locator("#samples [aria-pressed=true]").count() == 1
    for button, said in (("#sample-on", "sample 4"), ("#sample-on", "sample 1"), ("#sample-back", "sample 4")):
        opened.click(button)
        opened.wait_for_function("said => document.getElementById('sample-now').textContent.startsWith(said)", arg=said)
    for button, said in (("#stage-on", "stage 1: fc2"), ("#stage-back", "trained"), ("#stage-back", "stage 4: conv1")):
        opened.click(button)
        opened.wait_for_function("said => document.getElementById('stage-now').textContent === said", arg=said)
    opened.keyboard.press("k")
    opened.wait_for_function("document.getElementById('sample-now').textContent.startsWith('sample 3')")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_function("document.getElementById('stage-now').textContent === 'stage 3: conv2'")


def test_every_fold_opens_and_closes(opened: Any) -> None:
    every = opened.locator("details:visible")
    for k in range(every.count()):
        one = every.nth(k)
        before = one.evaluate("d => d.open")
        one.locator("summary").first.click()
        assert one.evaluate("d => d.open") is not before


def test_numbers_behind_the_curves_are_those_of_the_stages(opened: Any) -> None:
    opened.locator("summary", has_text="The numbers behind these curves").click()
    head = opened.locator("#numbers thead th").all_text_contents()
    assert head == ["Spearman, absolute", "trained", *synthetic.LAYERS]
    edges = opened.locator("#numbers tbody tr", has_text="edge-detector").locator("td").all_text_contents()
    assert edges[0] == "1.00"
    assert edges[-1].startswith("1.00")


def test_findings_are_downloaded_as_a_table(opened: Any, tmp_path: Path) -> None:
    with opened.expect_download() as waiting:
        opened.click("#download")
    waiting.value.save_as(tmp_path / "found.csv")
    table = pd.read_csv(tmp_path / "found.csv")
    assert waiting.value.suggested_filename == "heatproof-findings.csv"
    assert {"method", "question", "answer", "mean"} <= set(table.columns)
    assert set(table["method"]) == {*synthetic.METHODS, *synthetic.CONTROL_METHODS}


def test_links_of_the_bar_lead_to_their_sections(opened: Any) -> None:
    for link in opened.locator("nav a").all():
        target = link.get_attribute("href")
        link.click()
        assert opened.evaluate("location.hash") == target
        assert opened.locator(target).count() == 1


@pytest.fixture
def asked(browser: Any, whole: Path) -> Iterator[Any]:
    """The page of a run in which every question was asked, on a phone."""
    if not (whole / "report.html").exists():
        report.write(whole)
    tab = browser.new_page(viewport={"width": 390, "height": 800})
    tab.goto((whole / "report.html").as_uri())
    tab.wait_for_selector("#maps canvas")
    yield tab
    tab.close()


def test_on_a_phone_questions_are_folded_and_a_mark_leads_to_its_panel(asked: Any) -> None:
    assert asked.locator("details.fold").evaluate_all("all => all.every(d => !d.open)")
    asked.locator('tr[data-method="gradient"] button[data-question="faithful"]').click()
    asked.locator("#mark a").click()
    asked.wait_for_function("document.querySelector('#q-faithful .fold').open")
    assert asked.locator("details.fold").evaluate_all("all => all.filter(d => d.open).length") == 1
    assert asked.locator("#q-faithful figure:visible").count() >= 9


def test_everything_of_the_matrix_is_within_a_phone_when_every_question_was_asked(asked: Any) -> None:
    right = asked.locator(".matrix tbody tr td:last-child > *").evaluate_all(
        "all => Math.max(...all.map(e => e.getBoundingClientRect().right))"
    )
    assert right <= 390
    assert asked.evaluate("document.documentElement.scrollWidth") == 390


def test_names_with_markup_are_inert(opened: Any) -> None:
    assert opened.evaluate("window.hacked") is None
    assert synthetic.EVIL in opened.locator("#samples button").first.inner_text()


@pytest.fixture
def odd(browser: Any, run: Path, tmp_path: Path) -> Iterator[Any]:
    """A page of a model with one output, randomized from the input up and never completely."""
    folder = Path(shutil.copytree(run, tmp_path / "odd"))
    (folder / "report.html").unlink(missing_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    group = "bottom-up truncated-normal"
    for state in manifest["states"]:
        state.update(group=group if state["group"] else "", complete=False)
    for sample in manifest["data"]["samples"]:
        sample["probability"] = None
    (folder / "manifest.json").write_text(json.dumps(manifest))
    rows = pd.read_parquet(folder / "rows" / "all.parquet")
    rows["setting"] = rows["setting"].str.replace(synthetic.GROUP, group)
    synthetic.write_rows(folder, rows)
    tab, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(report.write(folder).as_uri())
    tab.wait_for_selector("#maps canvas")
    yield tab
    tab.close()
    assert wrong == []


def test_no_probability_is_not_zero(odd: Any) -> None:
    assert "sure" not in odd.locator("#samples").inner_text()
    assert odd.locator("#samples button").nth(1).get_attribute("title") == "digit 1; predicted digit 1"


def test_order_is_named_on_the_axis_and_under_the_maps(odd: Any) -> None:
    assert "randomized from the input up to …" in odd.locator("#chart").inner_text()
    assert "randomized up to conv1" in cell(odd, 0, 4).locator("..").get_attribute("title")


def test_partly_random_network_is_never_shown_as_a_random_one(odd: Any) -> None:
    assert odd.locator(".hero").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 794, 1440])
def test_axe_finds_nothing(browser: Any, whole: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page = whole / "report.html"
    if not page.exists():
        report.write(whole)
    # The page's own policy lets no other script in: here it has to.
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("#maps canvas")
    tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    tab.evaluate(script)
    found = tab.evaluate("axe.run()")["violations"]
    tab.locator('tr[data-method="guided-backprop"] button[data-question="depends"]').click()
    found += tab.evaluate("axe.run(document.querySelector('#mark'))")["violations"]
    context.close()
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []


def test_prints_on_a4_without_losing_the_matrix(browser: Any, whole: Path, tmp_path: Path) -> None:
    if not (whole / "report.html").exists():
        report.write(whole)
    tab = browser.new_page()
    tab.goto((whole / "report.html").as_uri())
    tab.wait_for_selector("#maps canvas")
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins, at 96 dots an inch
    assert tab.evaluate("document.documentElement.scrollWidth") <= 718
    assert tab.locator(".matrix tbody tr:visible").count() == 9
    assert tab.locator("nav:visible, .bar:visible").count() == 0
    tab.pdf(path=str(tmp_path / "page.pdf"), format="A4")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    tab.close()


def methods_shown(tab: Any) -> list[str]:
    found: list[str] = tab.locator(".matrix tbody tr:visible").evaluate_all("all => all.map(r => r.dataset.method)")
    return found


def test_matrix_is_sorted_by_a_column_with_controls_below(opened: Any) -> None:
    first = methods_shown(opened)
    assert first[-3:] == ["edge-detector", "input-x-random-gradient", "random"]
    cost = opened.locator('.matrix thead th[data-question="cost"] button')
    cost.click()
    assert methods_shown(opened)[:6] == list(synthetic.METHODS)  # made up to cost more one by one
    assert opened.locator('.matrix th[aria-sort="ascending"]').get_attribute("data-question") == "cost"
    cost.press("Enter")
    assert methods_shown(opened)[:6] == list(synthetic.METHODS)[::-1]
    assert set(methods_shown(opened)[6:]) == set(synthetic.CONTROL_METHODS)
    opened.locator(".matrix thead button").first.click()
    assert methods_shown(opened) == first


def test_matrix_is_sieved_by_name_and_answer(opened: Any) -> None:
    opened.fill("#sieve-name", "Grad-")
    assert methods_shown(opened) == ["grad-cam"]
    assert opened.locator("#sieve-count").inner_text() == "1 of 9 methods"
    opened.fill("#sieve-name", "")
    opened.click("#sieve-answer [data-answer=no]")
    opened.uncheck("#sieve-controls")
    assert methods_shown(opened) == ["guided-backprop"]
    opened.click("#sieve-answer [data-answer=all]")
    assert len(methods_shown(opened)) == 6


def test_a_mark_tells_its_number_interval_and_rule_by_keyboard_too(opened: Any) -> None:
    opened.locator('tr[data-method="guided-backprop"] button[data-question="depends"]').focus()
    opened.keyboard.press("Enter")
    opened.wait_for_selector("#mark[open]")
    said = opened.locator("#mark").inner_text()
    for part in ("guided-backprop: depends", "95 % interval", "16 samples", "yes below 0.5", "What it cannot tell:"):
        assert part in said
    opened.keyboard.press("Escape")
    opened.wait_for_selector("#mark:not([open])", state="attached")
    focused = opened.evaluate("document.activeElement.dataset.question")
    assert focused == "depends"


def test_powers_of_ten_are_read_as_numbers(opened: Any) -> None:
    assert opened.evaluate("[-0.5, 0, 1.5, -4, 6].map(power)") == ["0.32", "1", "32", "1e-4", "1e6"]


def test_matrix_stays_a_matrix_on_a_phone(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 800})
    tops = (
        opened.locator(".matrix tbody tr")
        .first.locator("th:visible, td:visible")
        .evaluate_all("cells => cells.map(c => Math.round(c.getBoundingClientRect().top))")
    )
    assert len(set(tops)) == 1
    wide = opened.locator(".matrix").evaluate("t => [t.offsetWidth, t.parentElement.clientWidth]")
    assert wide[0] <= wide[1]


@pytest.mark.parametrize("width", [390, 1440])
def test_page_never_scrolls_sideways(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.wait_for_timeout(250)
    assert opened.evaluate("document.documentElement.scrollWidth") == width
