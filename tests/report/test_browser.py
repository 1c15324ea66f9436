"""A report in a browser, where Chromium and Playwright are there: drawing, clicks and keys, no error, no request."""

import numpy as np
import pytest

import undertow as ut
from recorded_flows import make_flow
from undertow.flow.findings import Evidence, Finding, Remedy
from undertow.flow.record import STATS
from undertow.report import recorded, report_data, write_report
from undertow.report.html import render_page

pytest.importorskip("playwright.sync_api")

EVIL = "<img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>"


@pytest.fixture
def show(visit, tmp_path):
    """Open the page of a text, as a file."""

    def open_page(text, **options):
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        return visit(path.as_uri(), **options)

    return open_page


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def a_finding(flow):
    remedy = Remedy("Use relu.", "ut.nn.relu", "--activation relu")
    evidence = (Evidence("first by last", 1e-7, "between 0.1 and 10"),)
    return Finding("vanishing", "error", "Why.", (flow.layers[0].label,), ("layers[0]",), 7, evidence, (remedy,), "A")


def broken_flow():
    flow = make_flow(40, 4, 2)
    flow.values[20:, :, 0] = np.nan
    flow.values[20:, STATS.index("nonfinite"), 0] = 3
    flow.values[:, STATS.index("delta.rms"), 1] = 0
    flow.scalars["loss"][25:] = np.nan
    return flow


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("make", [make_flow, lambda: make_flow(1, 1, 1), lambda: make_flow(300, 100), broken_flow])
def test_every_section_is_drawn_and_nothing_is_wider_than_the_page(show, make, width):
    page = show(render_page(report_data(make())), viewport={"width": width, "height": 800})
    for name in ("curves", "map", "profile", "distributions"):
        assert page.locator(f"#{name} svg").count() > 0, name
    assert page.locator("#settings table").count() >= 2
    assert not page.locator("#walk").is_visible()
    assert fits(page)
    assert "NaN" not in page.locator("main svg").evaluate_all("nodes => nodes.map((n) => n.outerHTML).join()")


OUTSIDE = """() => [...document.querySelectorAll("main figure svg, #profile svg")].flatMap((svg) => {
  const frame = svg.getBoundingClientRect();
  const isOut = (box) => box.left < frame.left - 0.5 || box.right > frame.right + 0.5;
  return [...svg.querySelectorAll("text")].filter((x) => isOut(x.getBoundingClientRect())).map((x) => x.textContent);
})"""


@pytest.mark.parametrize("width", [1280, 360])
def test_what_stands_beside_an_axis_or_a_line_is_not_cut_off(show, width):
    """Labels of large numbers and of shares that hardly differ are long, and a key may need two lines."""
    flow = make_flow(40, 4, 2)
    flow.scalars["loss"][:] = np.geomspace(1, 1e6, len(flow))
    flow.scalars["grad_norm"][:] = np.linspace(-123456.75, -123456.5, len(flow))
    for i, row in enumerate(flow.history):
        row["accuracy"] = 0.1 + 1e-4 * i
    page = show(render_page(report_data(flow)), viewport={"width": width, "height": 800})
    assert page.evaluate(OUTSIDE) == []
    beyond = "nodes => nodes.filter((x) => x.scrollWidth > x.clientWidth + 1).map((x) => x.textContent)"
    assert page.locator("main figcaption, main .keys, main p").evaluate_all(beyond) == []
    right = "nodes => Math.max(...nodes.map((x) => x.getBoundingClientRect().right))"
    assert page.locator(".key").evaluate_all(right) <= width - 12


def test_steps_stand_below_the_middle_of_their_columns(show):
    page = show(render_page(report_data(make_flow(4, 3, 1))))
    middles = """() => {
      const picture = document.querySelector("#flow image").getBoundingClientRect();
      const labels = document.querySelectorAll("#flow [aria-label='x-axis tick label'] text");
      return [...labels].map((x) => {
        const box = x.getBoundingClientRect();
        return [Number(x.textContent), (4 * ((box.left + box.right) / 2 - picture.left)) / picture.width];
      });
    }"""
    found = page.evaluate(middles)
    assert found and all(place == pytest.approx(step - 0.5, abs=0.02) for step, place in found)


@pytest.mark.parametrize("n_layers", [3, 31, 90])
def test_names_of_layers_stand_beside_the_middle_of_their_rows(show, n_layers):
    """Also where rows are no whole number of pixels high, so that the last name belongs to the last row."""
    page = show(render_page(report_data(make_flow(4, n_layers, 1))))
    middles = """(n) => {
      const picture = document.querySelector("#flow image").getBoundingClientRect();
      const labels = document.querySelectorAll("#flow [aria-label='y-axis tick label'] text");
      return [...labels].map((x) => {
        const box = x.getBoundingClientRect();
        return [parseInt(x.textContent), (n * ((box.top + box.bottom) / 2 - picture.top)) / picture.height];
      });
    }"""
    found = page.evaluate(middles, n_layers)
    assert len(found) > 2 and all(place == pytest.approx(number - 0.5, abs=0.35) for number, place in found)


def test_the_profile_is_of_the_layers_that_have_the_quantity(show):
    """Watched values have no weights, and parameters no delta: each has the whole width for its own."""

    def loss(params, X, y):
        z = ut.watch(X @ params[0], "z")
        return np.mean((ut.watch(np.tanh(z) @ params[1], "p") - y) ** 2)

    measured, params = ut.flow.recorded(loss), [np.full((4, 4), 0.1), np.full((4, 1), 0.1)]
    for _ in range(9):
        _, gradient = measured(params, np.eye(4), np.ones((4, 1)))
        params = [x - 0.1 * g for x, g in zip(params, gradient, strict=True)]
    page = show(render_page(report_data(measured)))
    dots = page.locator("#profile-chart circle")
    middles = "nodes => nodes.map((x) => x.getBoundingClientRect().left)"
    for quantity in ("delta", "dW"):
        page.check(f"#quantity-{quantity}")
        page.wait_for_function("(name) => document.getElementById('profile-lead').textContent.startsWith(name)",
                               arg={"delta": "delta", "dW": "weight"}[quantity])  # fmt: skip
        dots.first.wait_for()
        left, right = dots.evaluate_all(middles)
        assert right - left > 0.8 * page.locator("#profile-chart").bounding_box()["width"]


def test_a_loop_of_ones_own_has_a_report(show):
    """Without calls of a training that there is not, and without a word of how it ended."""

    def loss(w, X, y):
        h = X
        for i in range(8):
            h = np.tanh(ut.watch(h @ w, f"z{i}"))
        return np.mean((h - y) ** 2)

    measured, w = ut.flow.recorded(loss), np.random.default_rng(0).normal(size=(4, 4)) * 0.05
    X = np.random.default_rng(1).normal(size=(32, 4))
    for _ in range(60):
        _, gradient = measured(w, X, np.sign(X))
        w = w - 0.01 * gradient
    page = show(render_page(report_data(measured)))
    text = page.inner_text("main")
    assert "59 steps of a loop of your own were recorded, with 8 watched values and 1 parameter." in text
    assert "Vanishing gradient" in text and "ut.train" not in text and "not ended" not in text
    assert "epoch" not in text.lower()


def test_the_map_opens_with_what_there_is(show):
    """Of a loop whose values have no names there is no gradient by them; what a person chooses holds."""
    measured, w = ut.flow.recorded(lambda w, X, y: np.mean((np.tanh(X * w[0]) * w[1] - y) ** 2)), [np.eye(4), np.eye(4)]
    for _ in range(9):
        _, gradient = measured(w, np.eye(4), np.ones((4, 4)))
        w = [x - 0.1 * g for x, g in zip(w, gradient, strict=True)]
    page = show(render_page(report_data(measured)))
    assert page.is_checked("#quantity-dW") and "none" not in page.inner_text("#map")
    page.check("#quantity-delta")
    assert page.is_checked("#quantity-delta") and "none delta" in page.inner_text("#map")
    assert show(render_page(report_data(make_flow()))).is_checked("#quantity-delta")


def test_a_run_without_a_record_has_no_map(show):
    from undertow.train import Run

    page = show(render_page(report_data(Run(None, [{"epoch": 1, "loss": 0.5}]))))
    assert not page.locator("#map").is_visible()
    assert "Train with flow=True" in page.inner_text("#findings")
    assert page.locator("#contents a").all_inner_texts() == ["Summary", "Findings", "Loss", "Predictions", "Settings"]


def test_texts_of_users_run_nothing(show):
    import dataclasses

    flow = make_flow(20, 3, 2)
    flow.layers = tuple(dataclasses.replace(layer, name=EVIL) for layer in flow.layers)
    flow.settings["loss"] = EVIL
    data = report_data(flow)
    data["outcome"] = {
        "kind": "classes", "n": 2, "right": 1, "n_classes": 2, "labels": [EVIL, "b"], "matrix": [[1, 1], [0, 0]],
        "confusions": [{"true": EVIL, "predicted": "b", "n": 1}],
    }  # fmt: skip
    page = show(render_page(data))
    assert page.evaluate("window.hacked") is None and page.locator("img").count() == 0
    assert EVIL in page.inner_text("#outcome") and EVIL in page.inner_text("#flow-readout")


@pytest.mark.parametrize("labels", [["cat", "dog"], [f"k{i}" for i in range(20)]])
def test_the_axes_of_the_confusion_matrix_are_told(show, labels):
    """In words on the page, and as heads of the table, so that each cell is heard with both its classes."""
    n = len(labels)
    data = report_data(make_flow(20, 3, 2))
    counts = np.arange(n * n).reshape(n, n)
    data["outcome"] = {
        "kind": "classes", "n": int(counts.sum()), "right": int(np.trace(counts)), "n_classes": n, "labels": labels,
        "matrix": counts.tolist(), "confusions": [],
    }  # fmt: skip
    page = show(render_page(data))
    first, second = (page.locator(f"#outcome thead tr:nth-child({i}) > *") for i in (1, 2))
    assert [x.strip() for x in first.all_text_contents()] == ["", "Predicted class →"]
    assert first.nth(1).get_attribute("scope") == "colgroup" and first.nth(1).get_attribute("colspan") == str(n)
    assert second.all_text_contents() == ["True class ↓", *(f"predicted {label}" for label in labels)]
    rows = page.locator("#outcome tbody th")
    assert rows.all_text_contents() == [f"true {label}" for label in labels]
    assert {x.get_attribute("scope") for x in rows.all()} == {"row"}
    assert page.locator("#outcome tbody tr:nth-child(2) td:nth-child(2)").inner_text() == str(n)
    name = page.locator("#outcome table").first.aria_snapshot().splitlines()[0]
    assert "a row for each true class, a column for each predicted one" in name
    assert page.locator("#outcome p.small").first.is_visible() and fits(page)


def test_a_cell_is_chosen_with_keys_pointer_and_slider(show, settle):
    flow = make_flow(30, 5, 3)
    page = show(render_page(report_data(flow)), reduced_motion="reduce")  # scrolls at once

    def told():
        return page.inner_text("#flow-readout")

    def number():
        return float(told().split()[0].replace("−", "-"))

    assert "layer 1, Dense(64, 64), step 30, epoch 3" in told()
    page.focus("#flow")
    for key in ("Home", "ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert "layer 3, Dense(64, 64), step 2, epoch 1" in told()
    assert number() == pytest.approx(flow.stat("delta.rms")[1, 2], rel=0.01)
    assert page.inner_text("#announce") == told()
    page.focus("#flow-step")
    page.keyboard.press("End")
    assert "step 30" in told()
    page.locator("#flow").scroll_into_view_if_needed()
    settle(page)
    box = page.locator("#flow svg").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.45 * box["height"])
    assert "layer 3" in told() and page.inner_text("#flow-steps").startswith("step 1")
    page.focus("#quantity-delta")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert "weight gradient" in told() and "weight gradient" in page.inner_text("#profile-lead")


def test_a_finding_leads_to_its_step_and_copies_its_code(show, monkeypatch):
    flow = make_flow(30, 5, 3)
    monkeypatch.setattr(recorded, "_diagnose", lambda found: [a_finding(flow)])
    page = show(render_page(report_data(flow)), permissions=["clipboard-read", "clipboard-write"])
    page.click("text=step 7")
    assert "step 7, epoch 1" in page.inner_text("#flow-readout")
    page.click("[aria-label='Copy the code']")
    page.wait_for_function("document.getElementById('announce').textContent.startsWith('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == "ut.nn.relu"


def test_new_data_is_drawn_and_what_was_chosen_stays(show):
    page = show(render_page(report_data(make_flow(30, 5, 3))))
    page.focus("#flow")
    page.keyboard.press("Home")
    page.click("#curves details summary")
    page.wait_for_selector("#curves details[open] table")
    page.evaluate("data => undertowReport.render(data)", report_data(make_flow(60, 5, 4)))
    assert "step 1, epoch 1" in page.inner_text("#flow-readout")
    assert page.evaluate("document.activeElement.id") == "flow" or page.locator("#curves details[open]").count() == 1
    page.focus("#flow")
    page.keyboard.press("End")
    page.evaluate("data => undertowReport.render(data)", report_data(make_flow(90, 5, 4)))
    assert "step 90" in page.inner_text("#flow-readout")  # the latest step is followed


def test_new_data_waits_while_a_slider_is_dragged(show, settle):
    page = show(render_page(report_data(make_flow(30, 5, 3))), reduced_motion="reduce")  # scrolls at once
    page.locator("#flow-step").scroll_into_view_if_needed()
    settle(page)
    box = page.locator("#flow-step").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.evaluate("data => undertowReport.render(data)", report_data(make_flow(60, 5, 4)))
    assert page.get_attribute("#flow-step", "max") == "29"
    page.mouse.up()
    assert page.get_attribute("#flow-step", "max") == "59"


def test_dark_and_light(show):
    page = show(render_page(report_data(make_flow(30, 5, 3))), color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(new_page, settle, tmp_path, monkeypatch, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    flow = make_flow(60, 20, 3)
    monkeypatch.setattr(recorded, "_diagnose", lambda found: [a_finding(flow)])
    path = write_report(flow, tmp_path / "report.html")
    page = new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    settle(page)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
