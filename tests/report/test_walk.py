"""A walk shows the numbers that the engine computes, at the lines that compute them, in a page that loads nothing."""

import json
import math
import re

import numpy as np
import pytest

import networks
import undertow as ut
from undertow import nn
from undertow.report import walk, walk_model
from undertow.report.walks.worked import Named, work_out
from undertow.train.derive import make_gradient, number_paths

CASES = networks.cases(np)
ARGUMENTS = networks.arguments()
rng = np.random.default_rng(5)


def lesson_loss(params, X, y):
    W1, b1, W2, b2 = params
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    z2 = h1 @ W2 + b2
    p = np.exp(z2) / np.sum(np.exp(z2), axis=1, keepdims=True)
    return -np.mean(np.sum(y * np.log(p), axis=1))


def lesson(n=5):
    draw = np.random.default_rng(3).normal
    params = (draw(size=(3, 4)), draw(size=4), draw(size=(4, 2)), draw(size=2))
    return lesson_loss, params, draw(size=(n, 3)), np.eye(2)[np.arange(n) % 2]


def read(array):
    """An array of a page as NumPy has it; it was not cut."""
    assert "rows" not in array
    return np.array([float(x) for x in array["v"]]).reshape(array["shape"])


def level(data, name):
    return next(x for x in data["levels"] if x["name"] == name)


def shown(data, name, role):
    """What a level shows in a role, by label."""
    return {
        label: read(data["arrays"][k])
        for step in level(data, name)["steps"]
        for label, k, of in step["panels"]
        if of == role
    }


# Numbers


@pytest.mark.parametrize("name", CASES)
def test_every_value_and_gradient_is_what_the_engine_computes(name):
    bp = ut.backprop(CASES[name], *ARGUMENTS[name])
    values, data = bp.values(), walk(bp).data()
    for part in ("Values", "Operations"):
        found = shown(data, part, "value") | shown(data, part, "operand")
        gradients = {label.split("∂L/∂")[-1]: x for label, x in shown(data, part, "gradient").items()}
        for key in found.keys() & values.keys():
            np.testing.assert_allclose(found[key], values[key], rtol=1e-5, atol=1e-300, err_msg=f"{part}: {key}")
        for key in gradients.keys() - {"L"}:
            if f"d{key}" in values and (name, part, key) != ("gated", "Values", "g"):  # see below
                np.testing.assert_allclose(gradients[key], values[f"d{key}"], rtol=1e-5, atol=1e-300, err_msg=key)
        assert gradients.keys() & {key.removeprefix("d") for key in values if key.startswith("d")}
    # and the gradients by the arguments are those of ut.grad, which differentiates anew
    leaves = [
        np.asarray(x) for x in ut.trees.flatten(ut.grad(CASES[name])(*ARGUMENTS[name]))[0] if not isinstance(x, str)
    ]
    mine = shown(data, "Values", "gradient")
    nodes = [x.name for x in bp.graph.inputs[: len(leaves)]]
    for key, leaf in zip(nodes, leaves, strict=True):
        np.testing.assert_allclose(mine[next(k for k in mine if k.endswith(f"∂L/∂{key}"))], leaf, rtol=2e-5, atol=1e-12)


def test_weight_gradients_agree_with_finite_differences():
    f, params, X, y = lesson()
    gradients = shown(walk(ut.backprop(f, params, X, y)).data(), "Values", "gradient")
    for k, key in enumerate(("W1", "b1", "W2", "b2")):
        expected = np.zeros_like(params[k])
        for index in np.ndindex(expected.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [x.copy() for x in params]
                moved[k][index] += step
                ends.append(f(moved, X, y))
            expected[index] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(gradients[f"∂L/∂{key}"], expected, rtol=1e-5, atol=1e-8)


def test_gradients_by_values_in_the_middle_are_the_chain_rule_done_by_hand():
    f, (W1, b1, W2, b2), X, y = lesson()
    h = np.tanh(X @ W1 + b1)
    z = h @ W2 + b2
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    data = walk(ut.backprop(f, (W1, b1, W2, b2), X, y)).data()
    gradients, local = shown(data, "Values", "gradient"), shown(data, "Values", "local")
    delta2 = (p - y) / 5
    delta1 = delta2 @ W2.T * (1 - h**2)
    np.testing.assert_allclose(gradients["∂L/∂p"], -y / p / 5, rtol=1e-5)
    np.testing.assert_allclose(gradients["δ2 = ∂L/∂z2"], delta2, rtol=1e-5)
    np.testing.assert_allclose(gradients["δ1 = ∂L/∂z1"], delta1, rtol=1e-5)
    np.testing.assert_allclose(local["∂h1/∂z1"], 1 - h**2, rtol=1e-5)
    operations = shown(data, "Operations", "gradient")
    product = next(s for s in level(data, "Operations")["steps"] if s["formulas"][0][1].endswith("= X W1"))
    name = level(data, "Operations")["nodes"][product["node"]]["label"]
    np.testing.assert_allclose(operations[f"∂L/∂{name}"], delta1, rtol=1e-5)  # adding b1 changes no gradient


def test_a_local_derivative_follows_no_other_way_to_the_same_value():
    """In h2 = h1 + tanh(h1 W), the derivative of h2 by h1 with z fixed is 1, though z depends on h1."""

    def f(W, X):
        h1 = np.sin(X)
        z = h1 @ W
        h2 = np.tanh(z)
        s = h1 * h1 + h2
        return np.mean(s)

    X = rng.normal(size=(4, 3))
    local = shown(walk(ut.backprop(lambda P, W: f(W, P), X, np.eye(3) * 2.0)).data(), "Values", "local")
    np.testing.assert_allclose(local["∂s/∂h1"], 2 * np.sin(X), rtol=1e-5)
    np.testing.assert_array_equal(local["∂s/∂h2"], np.ones((4, 3)))


def test_a_gradient_that_the_program_leads_past_a_value_is_shown_whole():
    """1 − σ(z) becomes σ(−z): the program's dg lacks what flows through 1 − g, the chain rule's ∂L/∂g does not."""

    def f(W, X):
        g = 1 / (1 + np.exp(-(X @ W)))
        h = g * np.sin(X) + (1 - g) * np.cos(X)
        return np.mean(h)

    W, X = rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
    data = walk(ut.backprop(f, W, X)).data()
    np.testing.assert_allclose(shown(data, "Values", "gradient")["∂L/∂g"], (np.sin(X) - np.cos(X)) / 12, rtol=1e-5)
    (step,) = [s for s in level(data, "Values")["steps"] if s["title"] == "Gradient by g"]
    assert "goes past g" in step["notes"][0] and "quote" not in step


def test_the_update_is_that_of_the_optimizer():
    f, params, X, y = lesson()
    bp = ut.backprop(f, params, X, y)
    _, gradient = bp()
    optimizer = ut.optim.adam(0.01)
    new, _ = optimizer.update(gradient, optimizer.init(params), params)
    data = walk(bp, update=optimizer).data()
    steps = [s for s in level(data, "Values")["steps"] if s["phase"] == "update"]
    assert [s["title"] for s in steps] == ["Update W1", "Update b1", "Update W2", "Update b2"]
    for step, after in zip(steps, new, strict=True):
        np.testing.assert_allclose(read(data["arrays"][step["panels"][0][1]]), after, rtol=1e-5)
        assert [role for _, _, role in step["panels"]] == ["value", "update", "gradient", "operand"]
        assert data["source"][step["line"] - 1] == "parameters, state = optimizer.update(gradients, state, parameters)"
        assert step["formulas"][1][0] == "adam" and step["quote"]


def test_the_layers_of_a_model_show_what_training_observes():
    """The other way to the same numbers: the gradient that the trainer differentiates, with its layers observed."""
    model = nn.initialize(
        nn.Sequential(
            nn.Dense(6, 8),
            nn.relu,
            nn.BatchNorm(8),
            nn.Residual(nn.LayerNorm(8), nn.Dense(8, 8), nn.tanh),
            nn.Dense(8, 3),
        ),
        1,
        np.float64,
    )
    X, y = rng.normal(size=(7, 6)), rng.integers(0, 3, 7)
    data = walk_model(model, X, y, "categorical_cross_entropy", update="sgd").data()
    gradient = make_gradient(lambda model, X, y: nn.categorical_cross_entropy_with_logits(model(X), y))
    gradient.observe = True
    leaves, rebuild = ut.trees.flatten(model)
    outcome = gradient.of_leaves(leaves, rebuild, X, y)
    layers = level(data, "Layers")
    values, deltas = {}, {}
    for step in layers["steps"]:
        label = layers["nodes"][step["node"]]["about"].split(" ")[0]
        array = read(data["arrays"][step["panels"][0][1]])
        if step["phase"] == "forward" and step["title"] != "Given":
            values[label] = array
        elif step["phase"] == "backward":
            deltas[label] = array
    inner = {f"layers[3].layers[{i}]": name for i, name in enumerate(("v2", "z2", "h2"))}
    names = {"layers[0]": "z1", "layers[1]": "h1", "layers[2]": "v1", **inner, "layers[3]": "v3", "layers[4]": "z3"}
    assert outcome.seen.keys() == names.keys()
    for path, (value, ct) in outcome.seen.items():
        np.testing.assert_allclose(values[names[path]], value, rtol=2e-5, atol=1e-12, err_msg=path)
        np.testing.assert_allclose(deltas[names[path]], ct, rtol=2e-5, atol=1e-12, err_msg=path)
    weights = number_paths(model).index("layers[3].layers[1].W")
    np.testing.assert_allclose(
        shown(data, "Layers", "gradient")["∂L/∂W2"], outcome.grads[weights], rtol=2e-5, atol=1e-12
    )


# Lines


@pytest.mark.parametrize("name", CASES)
def test_the_line_of_a_step_computes_what_it_shows(name):
    data = walk(ut.backprop(CASES[name], *ARGUMENTS[name])).data()
    middle = data["source"].index("def backward(cache):") + 1
    for step in level(data, "Values")["steps"]:
        if not step.get("quote"):
            continue
        text, node = data["source"][step["line"] - 1], level(data, "Values")["nodes"][step["node"]]["label"]
        backward = step["phase"] == "backward"
        assert backward or step["line"] < middle
        if re.match(r"a\d+$", node) is None:
            assert text.strip().startswith(f"{'d' if backward else ''}{node} = ")


def test_every_operation_of_the_program_is_a_box_and_a_step():
    bp = ut.backprop(*lesson())
    operations = level(walk(bp).data(), "Operations")
    forward = [x for x in bp.graph.nodes if x.op.name not in ("input", "constant", "size") and not x.backward]
    assert (
        len([s for s in operations["steps"] if s["phase"] in ("forward", "loss")]) == len(forward) + 2
    )  # Given, and p
    computed = {s["node"] for s in operations["steps"] if s["phase"] in ("forward", "loss")}
    assert all(i in computed for i, node in enumerate(operations["nodes"]) if node["kind"] in ("value", "loss"))


def test_the_source_is_left_as_it_was():
    bp, untouched = ut.backprop(*lesson()), ut.backprop(*lesson()).source
    walk(bp, update="sgd").page()
    del bp.__dict__["source"]
    assert bp.source == untouched


# Large arrays, and numbers that are none


def test_large_arrays_are_cut_and_their_statistics_are_of_all_of_them():
    model = nn.initialize(nn.Sequential(nn.Dense(784, 256), nn.relu, nn.Dense(256, 10)), 0, np.float32)
    X = rng.normal(size=(64, 784)).astype(np.float32)
    page = walk_model(model, X, rng.integers(0, 10, 64), "categorical_cross_entropy", example=40, update="adam")
    data = page.data()
    assert len(page.page()) < 1_500_000
    assert data["examples"] == [0, 1, 2, 3, 4, 5, 6, 7, 40]
    step = level(data, "Values")["steps"][0]
    array = data["arrays"][next(k for label, k, _ in step["panels"] if label == "X")]
    assert (array["rows"], array["columns"]) == (data["examples"], [0, 1, 2, 3, 4, 5, 782, 783])
    np.testing.assert_allclose(np.reshape(array["v"], (9, 8)), X[np.ix_(array["rows"], array["columns"])], rtol=1e-5)
    about = array["about"]
    expected = [X.min(), X.max(), X.astype(float).mean(), math.sqrt((X.astype(float) ** 2).mean())]
    np.testing.assert_allclose([about["min"], about["max"], about["mean"], about["rms"]], expected, rtol=2e-5)
    counts, _ = np.histogram(X, 24)
    assert np.abs(np.array(array["histogram"]["counts"]) - counts).max() <= 1  # of numbers on an edge, either bin


def test_numbers_that_are_not_finite_are_shown_as_such():
    data = walk(ut.backprop(lambda w, x: np.sum(np.log(w) * x), np.array([0.0, -1.0, 2.0]), np.ones(3))).data()
    text = json.dumps(data, allow_nan=False)
    assert '"-Infinity"' in text and '"NaN"' in text
    logs = next(array for array in data["arrays"] if array["v"][:2] == ["-Infinity", "NaN"])
    assert logs["about"]["nonfinite"] == 2


def test_the_example_is_a_row_or_a_column():
    f = lambda W, X, y: np.mean((np.tanh(W @ X) - y) ** 2)  # examples in columns
    data = walk(
        ut.backprop(f, rng.normal(size=(2, 3)), rng.normal(size=(3, 7)), rng.normal(size=(2, 7))), example=6
    ).data()
    X = next(a for a in data["arrays"] if a["shape"] == [3, 7])
    assert (data["batch"], data["example"], X["across"]) == (7, 6, True)
    g = lambda W, X: np.mean(np.tanh(X @ W))
    data = walk(ut.backprop(g, rng.normal(size=(3, 2)), rng.normal(size=(5, 4, 3)))).data()
    assert next(a for a in data["arrays"] if a["shape"] == [5, 4, 3])["block"] == 4


# Numbers in formulas


WORKED = (
    "gated",
    "method_dot",
    "penalised",
    "residual",
    "attention",
    "softmax_naive",
    "picked_classes",
    "label_probabilities",
)


def test_a_formula_with_numbers_gives_the_number_shown():
    """Each template, computed by Python at every element, is the array that it belongs to."""
    names = {name: getattr(math, name) for name in ("tanh", "exp", "log", "sin", "cos", "sqrt")} | {
        "max": max,
        "σ": lambda x: 1 / (1 + math.exp(-x)),
    }
    checked = set()
    for case in (
        lesson(),
        *((CASES[name], *ARGUMENTS[name]) for name in WORKED),
    ):
        data = walk(ut.backprop(*case), update=ut.optim.sgd(0.5)).data()
        for step in (s for part in data["levels"] for s in part["steps"] if "work" in s):
            array = data["arrays"][step["panels"][0][1]]
            result = read(array).reshape(array["n"], array["k"])
            for i, j in np.ndindex(result.shape):
                text = "".join(_number(part, data["arrays"], i, j) for part in step["work"][1])
                text = (
                    text.replace("−", "-").replace("√", "sqrt").replace("·", "*").replace("^", "**").replace("²", "**2")
                )
                text = re.sub(r"^(.*) where (.*), else (.*)$", r"(\1) if \2 else \3", text)
                value = eval(re.sub(r"\|(.*?)\|", r"abs(\1)", text), names)
                assert value == pytest.approx(result[i, j], rel=1e-3, abs=2e-5), (step["formulas"], text)
            checked.add(step["title"])
    assert len(checked) > 40


def _number(part, arrays, i, j):
    if isinstance(part, str):
        return part
    kind, a, *rest = part
    table = read(arrays[a]).reshape(arrays[a]["n"], arrays[a]["k"])
    if kind == "v":
        return f"({table[0 if len(table) == 1 else i, 0 if table.shape[1] == 1 else j]!r})".replace("np.float64", "")
    if kind == "r":
        return f"({float(table[:, j].sum())!r})"
    row = table[:, 0] if table.shape[1] == 1 else table[0 if len(table) == 1 else i]
    if kind == "f":
        p = np.exp(row[j]) / np.exp(row).sum()
        return f"({float(np.log(p) if rest[0] else p)!r})"
    if kind in "qe":
        return f"({float(row.sum() if kind == 'q' else row.mean())!r})"
    b, s, t = rest
    other = read(arrays[b]).reshape(arrays[b]["n"], arrays[b]["k"])
    return f"({float(((table.T if s else table) @ (other.T if t else other))[i, j])!r})"


@pytest.mark.parametrize(
    ("formula", "parts"),
    [
        ("h1ᵀ δ2", [["d", 0, 1, 1, 0]]),
        ("(∂L/∂a) W2ᵀ + c", None),  # shapes that do not go together
        ("softmax(z)", None),
        ("x[0, 1]", None),
        ("Σ x", None),
        ("x where z > 0, else 0", [["v", 3], " where ", ["v", 4], " > 0, else 0"]),
        ("x where everything else", None),
        ("softmax(x) − z", [["f", 3, 0], " − ", ["v", 4]]),
        ("Σ x ⊙ z", None),
        ("−x / m", ["−", ["v", 3], " / 5"]),
        ("max(x, 0)", ["max(", ["v", 3], ", 0)"]),
    ],
)
def test_only_what_holds_element_by_element_is_written_out(formula, parts):
    shapes = {"h1": (5, 4), "δ2": (5, 2), "W2": (9, 9), "x": (4, 2), "z": (4, 2), "∂L/∂a": (4, 2), "c": (2,)}
    known = {name: Named(i, shape) for i, (name, shape) in enumerate(shapes.items())}
    assert work_out(formula, (4, 2), known, {"m": 5}, {("softmax", "x")}) == parts


# The page


def convolution(W, X, y):
    windows = np.lib.stride_tricks.sliding_window_view(X, (3, 3), axis=(1, 2))
    h = np.maximum(np.reshape(windows, (X.shape[0], -1, 9)) @ W, 0)
    return np.mean((h.mean(axis=(1, 2)) - y) ** 2)


def gathers(E, words, y):
    h = np.tanh(E[words].sum(axis=1))
    return np.mean((h[:, 0] - y) ** 2)


MORE = {
    "convolution": lambda: (convolution, rng.normal(size=(9, 2)), rng.normal(size=(3, 6, 5)), rng.normal(size=3)),
    "gathers": lambda: (gathers, rng.normal(size=(11, 4)), rng.integers(0, 11, (5, 3)), rng.normal(size=5)),
    "one number": lambda: (lambda w: w * w, 3.0),
    "nothing named": lambda: (lambda w, x: np.sum(np.exp(w * x)), np.ones(3), np.ones(3)),
    "not reached": lambda: (lambda p, x: np.sum(p[0] * x), (np.ones(3), np.ones(2)), np.ones(3)),
    "empty": lambda: (lambda w, x: np.sum(w * x), np.zeros(0), np.zeros(0)),
    "several": lambda: (lambda a, b, x: np.mean((x @ a - b) ** 2), np.ones(2), np.ones(3), np.ones((3, 2))),
}


@pytest.mark.parametrize("name", [*CASES, *MORE])
def test_every_network_gives_a_page_that_loads_nothing(name):
    case = (CASES[name], *ARGUMENTS[name]) if name in CASES else MORE[name]()
    bp = ut.backprop(*case, wrt=(0, 1)) if name == "several" else ut.backprop(*case)
    text = walk(bp, update="momentum").page()
    page = re.sub(r"http://www\.w3\.org/2000/svg", "", text)  # the name of SVG, which nobody fetches
    assert not re.search(r"https?:|//[a-z]|\bsrc=|@import|url\((?!#)|href=\"(?!data:,)", page)
    found = json.loads(re.search(r'class="uw-data">(.*?)</script>', text, re.DOTALL)[1])
    for part in found["levels"]:
        assert part["steps"][0]["title"] == "Given"
        phases = [step["phase"] for step in part["steps"]]
        assert phases == sorted(phases, key=["forward", "loss", "backward", "update"].index)
        assert {"loss", "backward"} <= set(phases)
        assert all(0 <= step["node"] < len(part["nodes"]) for step in part["steps"])
        places = [(node["x"], node["y"]) for node in part["nodes"]]
        assert len(set(places)) == len(places)  # no box covers another
        assert all(places[a][0] < places[b][0] for a, b, _ in part["edges"])  # all edges lead to the right


def test_names_are_text_wherever_they_come_from():
    evil = '</script><script>alert("1")</script><!--'

    def loss(params, x):
        return np.sum(params[evil] * x)

    loss.__name__ = "<img/onerror=alert(2)>"
    text = walk(ut.backprop(loss, {evil: np.ones(2)}, np.ones(2))).page()
    assert text.count("<script") == 2 and text.count("</script>") == 2  # the data and the code, no other
    assert "<img" not in text and "<!--" not in text
    assert "script-src 'sha256-" in text


def test_a_section_can_stand_in_another_page():
    section = walk(ut.backprop(*lesson())).section(heading=3)
    assert section.html.startswith('<section class="uw"') and "<h3 " in section.html and "<h1" not in section.html
    assert json.loads(section.json)["title"] == "lesson_loss"
    assert "{" not in re.sub(r"<script.*?</script>|<noscript>.*?</noscript>", "", section.html, flags=re.DOTALL)
    selectors = re.findall(
        r"^([^{@}]+)\{", re.sub(r"/\*.*?\*/|\([^()]*\)", "", section.css, flags=re.DOTALL), re.MULTILINE
    )
    assert all("uw" in one for chosen in selectors for one in chosen.split(",") if one.strip())
    assert len(section.js.encode()) < 60_000


def test_a_backward_pass_writes_its_page(tmp_path):
    path = ut.backprop(*lesson()).walk(tmp_path / "walk.html", example=2, update="sgd")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_faults_are_told():
    bp = ut.backprop(*lesson())
    with pytest.raises(ut.ArgumentError, match=r"example=5: the batch has 5 rows\. Give a row from 0 to 4\."):
        walk(bp, example=5)
    with pytest.raises(ut.ArgumentError, match="walk takes a backward pass, got Sequential"):
        walk(nn.Sequential(nn.Dense(2, 3)))
    with pytest.raises(ut.ArgumentError, match="'sdg'"):
        walk(bp, update="sdg")
    with pytest.raises(ut.ShapeError, match=r"X has 3 rows and y has 4\."):
        walk_model(nn.Sequential(nn.Dense(2, 1)), np.ones((3, 2)), np.ones((4, 1)), "mean_squared_error")
