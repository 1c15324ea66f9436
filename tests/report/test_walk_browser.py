"""The page of a walk in a browser: keys, buttons, the slider, what is said aloud, accessibility, no request.

Skipped where Playwright or Chromium is missing: `pip install playwright axe-playwright-python`, and the package
`chromium` of the system.
"""

import re

import numpy as np
import pytest

import networks
import undertow as ut
from recorded_flows import make_flow
from undertow import nn
from undertow.report import report_data, walk, walk_model
from undertow.report.html import render_page

playwright = pytest.importorskip("playwright.sync_api")


def make_walk():
    rng = np.random.default_rng(2)
    model = nn.initialize(nn.Sequential(nn.Dense(3, 4), "tanh", nn.Residual(nn.Dense(4, 4), "relu"), nn.Dense(4, 2)), 0)
    X = rng.normal(size=(5, 3)).astype(np.float32)
    return walk_model(model, X, np.array([0, 1, 1, 0, 1]), "categorical_cross_entropy", example=2, update="sgd")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    work = make_walk()
    return work, work.write(tmp_path_factory.mktemp("walk") / "walk.html")


@pytest.fixture
def open_page(visit, made):
    """Open the page of the walk, or another file."""
    return lambda path=None, **options: visit((path or made[1]).as_uri(), **options)


def count(page):
    return [int(x) for x in page.locator(".uw-count").inner_text().split("/")]


def test_keys_step_play_and_jump(open_page, hold_clock):
    page = open_page()
    assert count(page)[0] == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert count(page)[0] == 3
    page.keyboard.press("ArrowLeft")
    assert count(page)[0] == 2
    page.keyboard.press("End")
    now, last = count(page)
    assert now == last and "Update" in page.locator(".uw-what").inner_text()
    page.keyboard.press("Home")
    assert count(page)[0] == 1
    page.get_by_label("Steps a second").select_option("8")
    page.locator(".uw-what").click()
    hold_clock(page)
    page.locator("body").press(" ")
    page.clock.run_for(500)
    assert count(page)[0] == 5 and page.get_by_role("button", name="Pause").count() == 1
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(1000)
    assert count(page)[0] == 5


def test_playing_reaches_the_end_and_stops(open_page):
    page = open_page()
    page.get_by_label("Steps a second").select_option("8")
    page.get_by_role("button", name="Last step").click()
    for _ in range(3):
        page.get_by_role("button", name="Step back").click()
    page.get_by_role("button", name="Play").click()
    playwright.expect(page.locator(".uw-count")).to_have_text(re.compile(r"^(\d+) / \1$"))
    assert page.get_by_role("button", name="Play").count() == 1


def test_every_step_shows_what_the_data_say(made, open_page):
    """In all levels: title, formulas, each table's numbers, and the highlighted lines."""
    page, data = open_page(), made[0].data()
    for number, level in enumerate(data["levels"]):
        page.locator(".uw-levels label").nth(number).click()
        for k, step in enumerate(level["steps"]):
            page.evaluate(f"document.querySelector('.uw').walk.go({k})")
            playwright.expect(page.locator(".uw-panel")).to_have_count(len(step["panels"]))
            assert page.locator(".uw-what").inner_text().endswith(step["title"])
            shown = page.evaluate(
                """() => ((all) => ({
                  formulas: all('.uw-formulas dd:not(.uw-code-line)').map(x => x.textContent),
                  lines: all('.uw-line-now').map(x => [...x.parentNode.children].indexOf(x) + 1),
                  tables: all('.uw-panel').map(x => [x.querySelector('b').textContent,
                    [...x.querySelectorAll('td:not(:empty)')].map(y => y.textContent)]),
                }))((chosen) => [...document.querySelectorAll(chosen)])"""
            )
            assert shown["formulas"] == [text for _, text in step["formulas"]]
            lines = {*([step["line"]] if "line" in step else []), *step.get("also", [])}
            assert shown["lines"] == sorted(lines)
            panels = sorted(step["panels"], key=lambda panel: panel[2] == "operand")
            assert [label for label, _ in shown["tables"]] == [label for label, _, _ in panels]
            for (_, texts), (_, place, _) in zip(shown["tables"], panels, strict=True):
                numbers = [float(text.replace("−", "-")) for text in texts]
                array = data["arrays"][place]
                top = max(map(abs, array["v"]))
                np.testing.assert_allclose(numbers, array["v"], atol=1e-3 * top, rtol=0.051)


def test_a_formula_with_numbers_follows_the_chosen_element(made, open_page):
    page, data = open_page(), made[0].data()
    page.locator(".uw-levels label").nth(1).click()
    steps = data["levels"][1]["steps"]
    k = next(i for i, step in enumerate(steps) if step["title"] == "Gradient by W1")
    page.evaluate(f"document.querySelector('.uw').walk.go({k})")
    assert page.locator(".uw-work output").inner_text().startswith("∂L/∂W1[0, 0] = ")
    page.locator(".uw-main td[data-i='2'][data-j='3']").click()
    text = page.locator(".uw-work output").inner_text()
    array = data["arrays"][steps[k]["panels"][0][1]]
    assert text.startswith("∂L/∂W1[2, 3] = ") and "(5 products)" in text
    assert float(text.split("= ")[-1].replace("−", "-")) == pytest.approx(array["v"][11], rel=1e-5)
    assert page.locator(".uw-read").count() == 10  # a column of X and one of δ1
    page.locator(".uw-scroll", has=page.locator(".uw-main")).focus()
    for key in ("ArrowUp", "Shift+ArrowLeft", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator(".uw-work output").inner_text().startswith("∂L/∂W1[1, 1] = ")
    assert "∂L/∂W1[1, 1]" in page.locator("[aria-live=polite]").inner_text()
    page.keyboard.press("ArrowRight")  # without shift the next step, as everywhere
    assert "Gradient by W1" not in page.locator(".uw-what").inner_text()


def test_formulas_with_numbers_come_out(made, open_page):
    """What is written out, computed by Python, is the number that it is said to be."""
    page, data = open_page(), made[0].data()
    names = {"tanh": np.tanh, "exp": np.exp, "log": np.log, "max": max}
    for number, level in enumerate(data["levels"]):
        page.locator(".uw-levels label").nth(number).click()
        written = page.evaluate(
            """() => { const walk = document.querySelector('.uw').walk; return walk.steps.map((step, k) => {
              walk.go(k); return document.querySelector('.uw-work output')?.textContent; }) }"""
        )
        for step, text in zip(level["steps"], written, strict=True):
            assert bool(text) is ("work" in step)
            if text and "…" not in text:
                _, formula, result = text.replace("−", "-").replace("·", "*").replace("²", "**2").split(" = ")
                formula = re.sub(r"^(.*) where (.*), else (.*)$", r"(\1) if \2 else \3", formula)
                assert eval(formula, names) == pytest.approx(float(result), rel=5e-3, abs=2e-4), text
        assert sum(map(bool, written)) > len(written) / 2


def test_the_example_is_chosen_and_highlighted(open_page):
    page = open_page()
    page.keyboard.press("ArrowRight")
    assert set(page.locator("tr.uw-mine th").all_inner_texts()) == {"2"}
    page.get_by_label(re.compile("Example")).select_option("4")
    assert set(page.locator("tr.uw-mine th").all_inner_texts()) == {"4"}
    assert "[4, 0]" in page.locator(".uw-work output").inner_text()


def test_the_slider_the_passes_and_the_boxes_move_as_well(open_page):
    page = open_page()
    slider = page.get_by_label("Step", exact=True)
    slider.focus()
    slider.press("ArrowRight")
    assert count(page)[0] == 2
    assert slider.get_attribute("aria-valuetext").startswith("Step 2 of")
    page.get_by_role("button", name="Backward", exact=True).click()
    assert "Start the backward pass" in page.locator(".uw-what").inner_text()
    page.locator(".uw-node", has_text="tanh").first.click()
    assert "Gradient at tanh" in page.locator(".uw-what").inner_text()


def test_each_step_is_said_in_words(open_page):
    page = open_page()
    page.keyboard.press("ArrowRight")
    live = page.locator("[aria-live=polite]")
    assert re.match(
        r"Step 2 of \d+, forward\. Compute layer 1, Dense\(3, 4\)\. Formula: z1 = X W1 \+ b1\.", live.inner_text()
    )
    assert " z1 is 5 × 4 numbers." in live.inner_text()


def test_a_single_number_is_said_itself_and_an_update_shows_its_line(open_page, tmp_path):
    bp = ut.backprop(lambda b, y: np.mean((b - y) ** 2), np.array([0.25]), np.array([1.0]))
    page = open_page(bp.walk(tmp_path / "walk.html", update=ut.optim.sgd(0.5)))
    steps = page.evaluate("document.querySelector('.uw').walk.steps.map(step => step.title)")
    page.evaluate(f"document.querySelector('.uw').walk.go({steps.index('Gradient by b')})")
    assert " is −1.5." in page.locator("[aria-live=polite]").inner_text()  # 2 (0.25 − 1)
    page.keyboard.press("End")
    assert page.locator(".uw-line-now").inner_text() == "b = b - 0.5 * db"
    panel = page.locator(".uw-panel-update")
    assert panel.inner_text().startswith("Δb update, 1") and "0.75" in panel.inner_text()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing(open_page, settle, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    steps = page.evaluate("document.querySelector('.uw').walk.steps.map(step => step.phase)")
    for phase in ("forward", "backward", "update"):
        page.evaluate(f"document.querySelector('.uw').walk.go({steps.index(phase) + 1})")
        settle(page)
        result = axe.run(page)
        assert result.violations_count == 0, result.generate_report()


def test_stillness_is_kept_for_those_who_ask_for_it(open_page):
    page = open_page(reduced_motion="reduce")
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.querySelector('.uw-node rect')).transitionDuration") == "0s"


def test_on_paper_all_steps_stand_below_each_other(made, open_page):
    page = open_page()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".uw-print > ol > li").count() == len(made[0].data()["levels"][0]["steps"])
    assert page.locator(".uw-print li").first.is_visible() and not page.locator(".uw-controls").is_visible()


def test_two_walks_stand_in_one_page(tmp_path, open_page):
    f = networks.cases(np)["batch_rows"]
    one, two = make_walk().section(), walk(ut.backprop(f, *networks.arguments()["batch_rows"])).section()
    path = tmp_path / "both.html"
    head = f"<!doctype html><meta charset=utf-8><style>{one.css}</style>"
    path.write_text(f"{head}<body>{one.html}{two.html}<script>{one.js}</script>", encoding="utf-8")
    page = open_page(path)
    first, second = page.locator(".uw").nth(0), page.locator(".uw").nth(1)
    page.keyboard.press("ArrowRight")  # where none has the focus, keys are of the one in view
    assert [x.locator(".uw-count").inner_text()[:1] for x in (first, second)] == ["2", "1"]
    second.get_by_role("button", name="Next step").focus()
    page.keyboard.press("ArrowRight")
    assert [x.locator(".uw-count").inner_text()[:1] for x in (first, second)] == ["2", "2"]


@pytest.fixture
def report(made, tmp_path, open_page):
    """A report with the walk in it, as it is opened: nothing has the focus."""
    path = tmp_path / "report.html"
    page = render_page(report_data(make_flow(20, 3, 2)), sections={"walk": made[0].section(3)})
    path.write_text(page, encoding="utf-8")
    return open_page(path, reduced_motion="reduce")


def test_keys_in_a_report_are_of_the_walk_while_it_is_in_view(report):
    page = report
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    assert count(page)[0] == 1  # the page begins far above it, and is what End scrolls
    # It glides. Where it ends may not be the bottom any more: a page that is still drawn grows meanwhile.
    still = "() => { const before = window.before; window.before = scrollY; return scrollY > 0 && scrollY === before; }"
    page.wait_for_function(still, polling=100)
    page.locator(".uw-graph").evaluate("node => node.scrollIntoView({ block: 'center', behavior: 'instant' })")
    stood = page.evaluate("scrollY")
    for press, step in ("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", count(page)[1]), ("Home", 1):
        page.keyboard.press(press)
        assert count(page)[0] == step
    assert page.evaluate("document.activeElement === document.body") and page.evaluate("scrollY") == stood
    page.keyboard.press("Shift+End")
    page.keyboard.press("Control+ArrowRight")
    assert count(page)[0] == 1
    page.locator("#flow").evaluate("node => node.focus({ preventScroll: true })")  # the map, which takes arrows itself
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("End")
    assert count(page)[0] == 1
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")  # which scrolls a page that is long
    assert page.get_by_role("button", name="Pause").count() == 0


def test_each_press_is_one_step(report, hold_clock):
    """Whatever has the focus, and while it plays too."""
    page = report
    following = page.get_by_role("button", name="Next step")
    following.focus()
    for press, step in (" ", 2), ("Enter", 3), ("ArrowRight", 4), (" ", 5), ("ArrowLeft", 4):
        page.keyboard.press(press)
        assert count(page)[0] == step
    assert page.get_by_role("button", name="Pause").count() == 0
    slider = page.locator(".uw-slider")
    slider.focus()
    for press, step in ("ArrowRight", 5), ("Home", 1), ("End", count(page)[1]):
        page.keyboard.press(press)
        assert count(page)[0] == step
    page.keyboard.press("Home")
    page.get_by_label("Steps a second").select_option("0.5")
    hold_clock(page)
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press(" ")
    assert page.get_by_role("button", name="Pause").count() == 1
    following.click()  # by hand: it no longer plays, so nothing comes on top
    assert count(page)[0] == 2 and page.get_by_role("button", name="Play").count() == 1
    page.locator(".uw-graph").focus()
    page.evaluate("""() => { for (const repeat of [false, true, true]) document.activeElement.dispatchEvent(
      new KeyboardEvent('keydown', { key: ' ', repeat, bubbles: true, cancelable: true })) }""")
    assert page.get_by_role("button", name="Pause").count() == 1  # held down, it does not turn to and fro


def test_the_focus_stays_in_numbers_that_are_drawn_anew(report):
    page = report
    page.locator(".uw-graph").evaluate("node => node.scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.keyboard.press("ArrowRight")
    page.locator(".uw-main td").first.click()
    for step in (3, 4):
        page.keyboard.press("ArrowRight")
        assert count(page)[0] == step
        assert page.evaluate("document.activeElement.matches('.uw-told *, .uw-told')")
    first = page.locator(".uw-levels input").first
    first.focus()
    page.keyboard.press("End")  # means nothing to a choice, whose arrows choose
    now, last = count(page)
    assert now == last and first.is_checked()


def test_names_do_not_become_markup(tmp_path, open_page):
    evil = '"><img src=x onerror=console.log(1)></script><script>console.log(2)</script>'

    def loss(params, x):
        return np.sum(np.tanh(params[evil] * x))

    loss.__name__ = "<b>loss</b>"
    page = open_page(walk(ut.backprop(loss, {evil: np.ones(2)}, np.ones(2))).write(tmp_path / "evil.html"))
    for _ in range(page.evaluate("document.querySelector('.uw').walk.steps.length")):
        page.keyboard.press("ArrowRight")
    assert page.locator("main img, main b:has-text('loss') > *").count() == 0


def test_what_a_box_says_stays_within_it(open_page, tmp_path):
    def loss(params, X, y):
        W, b = params
        z = X @ W + b
        p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
        return -np.mean(np.log(p[np.arange(len(y)), y]))

    rng = np.random.default_rng(0)
    params = rng.normal(size=(4, 3)), np.zeros(3)
    bp = ut.backprop(loss, params, rng.normal(size=(8, 4)), rng.integers(0, 3, 8))
    page = open_page(bp.walk(tmp_path / "walk.html"))
    over = page.evaluate(
        """() => [...document.querySelectorAll(".uw-node")].map((node) => {
          const box = node.querySelector("rect").getBBox();
          return [...node.querySelectorAll("text")].map((text) => text.getBBox().width - box.width);
        }).flat()"""
    )
    assert len(over) > 10 and max(over) <= 0
    assert any(text.endswith("…") for text in page.locator(".uw-node > text.uw-about").all_text_contents())
