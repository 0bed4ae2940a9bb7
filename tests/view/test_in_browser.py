"""The server in a real browser: the list, a run, a picture that is dropped, and maps that follow the slider."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import Served, served
from toys import a_subject, a_text, net, picture

import heatproof as hp
from heatproof.data import Dataset
from heatproof.features import Pixels
from heatproof.randomization import Cascading
from heatproof.similarity import SSIM, Spearman
from heatproof.view.apart import Apart
from heatproof.view.bench import Bench
from heatproof.view.bundle import bundled
from heatproof.view.drawn import drawn
from heatproof.view.dropped import dropped
from heatproof.view.runs import Runs

pytestmark = pytest.mark.browser
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-extensions"]


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def viewed(several: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Runs, and a network with three samples."""
    folder = Path(shutil.copytree(several, tmp_path_factory.mktemp("viewed") / "runs"))
    generator = torch.Generator().manual_seed(3)
    shown = torch.randint(0, 256, (3, 8, 8, 3), generator=generator, dtype=torch.uint8)
    inputs = shown.permute(0, 3, 1, 2).float() / 255
    targets = torch.tensor([0, 1, 2])
    data = Dataset(name="noise", inputs=inputs.contiguous(), targets=targets, ids=("a", "b", "c"), display=shown)
    yield from served(folder, apart=Apart(Bench(a_subject(samples=hp.data.as_blocks(data)))))


@pytest.fixture
def opened(browser: Any, viewed: Served) -> Iterator[Any]:
    """The list; whatever it complains of, or asks of another server, fails the test."""
    tab, wrong = browser.new_page(viewport={"width": 1280, "height": 900}), []
    own = (f"http://127.0.0.1:{viewed.port}/", "data:")
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
    tab.goto(f"{own[0]}?token={viewed.token}")
    yield tab
    tab.close()
    tab.context.close()
    assert wrong == []


def shown(tab: Any, stage: int) -> None:
    """Wait until everything that is chosen is there."""
    tab.wait_for_function(f"() => (document.body.dataset.shown ?? '').endsWith(' {stage}')")


def settled(tab: Any) -> str:
    tab.wait_for_function("() => document.body.dataset.shown && !document.querySelector('[aria-busy=true]')")
    found: str = tab.evaluate("document.body.dataset.shown")
    return found


def test_list_says_each_runs_sentence_and_the_token_leaves_the_address(opened: Any, viewed: Served) -> None:
    assert opened.url == f"http://127.0.0.1:{viewed.port}/"
    opened.wait_for_function("() => !document.querySelector('[aria-busy]')")
    sentences = opened.locator(".runs .verdict").all_text_contents()
    assert sum(text.startswith(("Show", "Trust")) for text in sentences) == 2
    assert sum(text.startswith("Cannot be opened.") for text in sentences) == 1
    assert opened.evaluate("document.cookie") == ""  # no script reads it


def test_a_run_opens_works_and_can_ask_for_nothing(opened: Any, viewed: Served) -> None:
    opened.locator(".runs a").first.click()
    opened.wait_for_selector("#maps canvas")
    assert opened.evaluate("window.origin") == "null"
    opened.locator("#sample-on").click()
    opened.wait_for_function("() => document.getElementById('sample-now').textContent.startsWith('sample 2')")
    opened.go_back()
    opened.wait_for_selector(".runs a")


def test_chosen_runs_are_compared(opened: Any) -> None:
    button = opened.locator("#compare")
    assert button.is_disabled()
    for box in opened.locator("input[name=compare]").all():
        box.check()
    button.click()
    opened.wait_for_selector("table.matrix")
    assert "2 runs compared" in opened.locator(".brand").inner_text()


def test_list_is_sieved(browser: Any, run: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four"):
        shutil.copytree(run, tmp_path / name)
    for server in served(tmp_path):
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{server.port}/?token={server.token}")
        tab.fill("#sieve", "tw")
        assert tab.locator(".runs li:visible").count() == 1
        assert tab.locator("#sieve-count").inner_text() == "1 of 4"
        tab.close()


def take_apart(tab: Any) -> None:
    tab.get_by_role("link", name="Take toy apart").click()
    tab.wait_for_selector("#rows article")


def test_a_dropped_picture_its_maps_and_numbers_are_the_librarys(opened: Any) -> None:
    take_apart(opened)
    settled(opened)
    mine = opened.evaluate_handle(
        "bytes => { const held = new DataTransfer();"
        " held.items.add(new File([new Uint8Array(bytes)], 'mine.png', { type: 'image/png' })); return held; }",
        list(picture(seed=5)),
    )
    for event in ("dragenter", "dragover", "drop"):
        opened.dispatch_event("#drop", event, {"dataTransfer": mine})
    opened.wait_for_function("() => document.body.dataset.shown.startsWith('picture')")
    model, method = net(), hp.methods.get("guided-backprop")
    inputs = dropped(picture(seed=5), a_subject().picture).inputs
    label = int(model(inputs).argmax())
    trained = Pixels().pool(method(model, inputs, label), inputs.shape[1:])
    row = opened.locator('article[data-method="guided-backprop"]')
    assert row.locator(".trained .over").get_attribute("src") == drawn(trained[0].double().numpy(), (8, 8))["image"]
    stages = Cascading().stages(model, inputs)
    seen = set()
    for stage in (1, 2):
        opened.locator("#stage").focus()
        opened.keyboard.press("ArrowRight")
        shown(opened, stage)
        with stages[stage - 1]:
            there = Pixels().pool(method(model, inputs, label), inputs.shape[1:])
            share = float(model(inputs).detach().softmax(1)[0, label])
        image = row.locator(".randomized .over").get_attribute("src")
        assert image == drawn(there[0].double().numpy(), (8, 8))["image"]
        value = float(Spearman()(trained, there)[0])
        assert float(row.locator(".meter").get_attribute("data-value")) == value
        assert row.locator(".meter b").inner_text() == f"{value:.2f}".replace("-", "−")
        said = "below 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"
        assert said in opened.locator("#network").inner_text()
        assert opened.locator("#stage-name").inner_text() == f"{stage} of 2: {stages[stage - 1].label}"
        seen |= {image, value}
    assert len(seen) == 4  # both map and number have changed
    opened.select_option("#measure", "ssim")
    ssim = float(SSIM()(trained, there)[0])
    assert float(row.locator(".meter").get_attribute("data-value")) == ssim


def test_methods_are_chosen_and_left_out(opened: Any) -> None:
    take_apart(opened)
    settled(opened)
    opened.locator("details.choice summary").click()
    opened.locator('input[name=method][value="gradient"]').uncheck()
    opened.wait_for_function("() => document.querySelectorAll('#rows article').length === 2")
    opened.locator('input[name=method][value="gradient"]').check()
    opened.wait_for_function("() => document.querySelector('#rows article').dataset.method === 'gradient'")
    opened.wait_for_selector('article[data-method="gradient"] .over')


def test_samples_are_stepped_and_another_label_draw_or_order_gives_another_map(opened: Any) -> None:
    take_apart(opened)
    assert settled(opened) == "sample-0 0"
    opened.click("#on")
    opened.wait_for_function("() => document.body.dataset.shown === 'sample-1 0'")
    assert opened.locator("#place").inner_text() == "b"
    opened.locator("#stage").fill("1")
    shown(opened, 1)
    now = opened.locator('article[data-method="gradient"] .randomized .over')
    maps = [now.get_attribute("src")]
    for change in (
        lambda: opened.locator("#label").select_option(index=1),
        lambda: (opened.fill("#seed", "4"), opened.locator("#seed").press("Tab")),
        lambda: (opened.locator("#stage").fill("2"), opened.select_option("#by", "independent he")),
    ):
        change()
        opened.wait_for_function(
            "before => { const one = document.querySelector('article[data-method=gradient] .randomized .over');"
            " return one && one.src !== before; }",
            arg=maps[-1],
        )
        settled(opened)
        maps.append(now.get_attribute("src"))
    assert len(set(maps)) == 4
    opened.locator("#cover").fill("40")
    assert now.evaluate("one => one.style.opacity") == "0.4"


def test_a_file_that_is_no_picture_is_a_sentence(browser: Any, viewed: Served, tmp_path: Path) -> None:
    tab = browser.new_page()
    tab.goto(f"http://127.0.0.1:{viewed.port}/?token={viewed.token}")
    take_apart(tab)
    settled(tab)
    file = tmp_path / "mine.png"
    file.write_bytes(b"hello")
    tab.set_input_files("#file", file)
    tab.wait_for_selector("#problem:visible")
    assert tab.locator("#problem").inner_text() == "This is no picture: its file is of no kind that is known."
    tab.click("#on")
    tab.wait_for_selector("#problem", state="hidden")
    tab.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (794, "dark"), (1440, "light")])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(browser: Any, viewed: Served, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    # The page's own policy lets no other script in: here it has to.
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tab, found = context.new_page(), []
    tab.goto(f"http://127.0.0.1:{viewed.port}/?token={viewed.token}")
    tab.wait_for_function("() => !document.querySelector('[aria-busy]')")
    for page in ("list", "apart", "refused"):
        if page == "apart":
            take_apart(tab)
            settled(tab)
            tab.locator("#stage").fill("2")
            shown(tab, 2)
            tab.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        if page == "refused":
            tab.goto(f"http://127.0.0.1:{viewed.port}/run/0123456789abcdef")
        tab.evaluate(script)
        found += [(page, one["id"], one["nodes"][0]["html"]) for one in tab.evaluate("axe.run()")["violations"]]
        assert tab.evaluate("document.documentElement.scrollWidth") == width
    context.close()
    assert found == []


def test_a_text_is_colored_word_by_word(browser: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    for server in served(tmp_path, apart=Apart(Bench(a_text()))):
        tab = browser.new_context(bypass_csp=True).new_page()
        tab.goto(f"http://127.0.0.1:{server.port}/?token={server.token}")
        take_apart(tab)
        settled(tab)
        tab.locator("#stage").fill("1")
        shown(tab, 1)
        assert tab.locator("#words").inner_text() == "good <b> [new] <pad> × 5"
        assert "<b>" in tab.locator(".randomized .layers").inner_text()
        ground = "one => getComputedStyle(one).backgroundColor"
        assert tab.locator(".randomized .layers i").first.evaluate(ground) != "rgba(0, 0, 0, 0)"
        assert tab.locator("#file, #label:visible").count() == 0
        tab.locator("details.choice summary").click()
        tab.locator('input[name=method][value="grad-cam"]').check()
        tab.wait_for_selector(".failed")
        assert "Expected" in tab.locator('article[data-method="grad-cam"] .failed').inner_text()
        assert tab.locator('article[data-method="gradient-x-input"] .failed').count() == 0
        tab.evaluate(script)
        assert [one["id"] for one in tab.evaluate("axe.run()")["violations"]] == []
        tab.context.close()


def test_bundle_opens_from_disk_without_a_request(browser: Any, several: Path, tmp_path: Path) -> None:
    index = bundled(Runs(several), tmp_path / "site")
    tab, wrong = browser.new_page(), []
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url))
    tab.goto(index.as_uri())
    tab.locator(".runs a").first.click()
    tab.wait_for_selector("#maps canvas")
    tab.close()
    assert wrong == []
