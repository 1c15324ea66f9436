"""The derivation names every step, in text and in LaTeX that balances."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import undertow as ut
from networks import arguments, cases
from undertow.emit.words import fill
from undertow.errors import ArgumentError


def two_layers(params, X, y):
    W1, b1, W2, b2 = params
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    z2 = h1 @ W2 + b2
    p = np.exp(z2) / np.sum(np.exp(z2), axis=1, keepdims=True)
    return -np.mean(np.sum(y * np.log(p), axis=1))


def residual(params, X, y):
    h = X
    for W, b in params["layers"]:
        z = h @ W + b
        h = h + np.where(z > 0, z, 0.01 * z)
        h = (h - np.mean(h, axis=1, keepdims=True)) / np.sqrt(np.var(h, axis=1, keepdims=True) + 1e-5)
    return np.mean(np.log(1 + np.exp(-y * (h @ params["out"]))))


def picking(k, x_in):
    w = np.stack([x_in[:, i : i + 5] for i in range(3)], axis=2) @ k
    return np.max(np.abs(w), axis=1).sum() / np.sqrt(np.sum(k**2))


def draw(*shapes):
    random = np.random.default_rng(3)
    return tuple(random.normal(size=shape) for shape in shapes)


@pytest.fixture
def bp():
    return ut.backprop(two_layers, draw((4, 5), 5, (5, 3), 3), *draw((8, 4), (8, 3)))


@pytest.fixture(params=["two_layers", "residual", "picking"])
def any_bp(request, bp):
    if request.param == "residual":
        params = {"out": draw(6)[0], "layers": [draw((6, 6), 6) for _ in range(2)]}
        return ut.backprop(residual, params, *draw((8, 6), 8))
    return bp if request.param == "two_layers" else ut.backprop(picking, *draw(3, (4, 7)))


def test_the_lesson_of_a_hidden_layer(bp):
    text = bp.derivation()
    assert "δ1 = ∂L/∂z1 = ∂L/∂h1 ⊙ ∂h1/∂z1\n                = ∂L/∂h1 ⊙ (1 − h1²)" in text
    assert "∂L/∂W2 = ∂L/∂z2 · ∂z2/∂W2\n           = h1ᵀ δ2" in text
    assert "∂L/∂h1 = ∂L/∂z2 · ∂z2/∂h1\n           = δ2 W2ᵀ" in text
    assert "(b1 was added to each of the m rows, so its gradient sums over them)" in text
    assert "in the program: dz1 = dh1 * (1 - h1 ** 2)" in text


def test_every_argument_and_every_named_value_has_a_step(bp):
    text = bp.derivation()
    steps = re.findall(r"^ ?\d+\. (\w+) ", text, re.M)
    assert set(steps) == {"L", "p", "z2", "W2", "b2", "h1", "z1", "W1", "b1"}
    assert steps.index("z2") < steps.index("h1") < steps.index("z1") < steps.index("W1")


def test_a_value_used_twice_gets_the_sum():
    def loss(x):
        h = np.tanh(x)
        a = h * 2.0
        b = np.sin(h)
        return np.sum(a) + np.sum(b)

    text = ut.backprop(loss, draw(3)[0]).derivation()
    assert "used 2 times in a = " in text
    assert "What flows back along each use adds up." in text
    assert "∂L/∂h = ∂L/∂a ⊙ ∂a/∂h + ∂L/∂b ⊙ ∂b/∂h" in text


def test_a_bias_that_is_not_broadcast_has_its_step():
    def loss(params, x):
        W, b = params
        z = W @ x + b
        return np.sum(np.tanh(z))

    assert "∂L/∂b = ∂L/∂z ⊙ ∂z/∂b" in ut.backprop(loss, draw((3, 4), 3), draw(4)[0]).derivation()


def test_rules_are_told_with_equation_and_reason(bp):
    text = bp.derivation()
    assert "softmax: exp(z) / Σ exp(z) = softmax(z)" in text
    assert "finite where the original overflows" in text


def test_values_are_shown_on_demand(bp):
    text = bp.derivation(values=True)
    assert f"loss = {np.array2string(np.asarray(bp()[0]), precision=4)}" in text
    assert "dz1 = [[" in text and "dz1 = [[" not in bp.derivation()
    assert "..." in text  # large arrays are shown in part


def test_long_formulas_are_cut_at_values_with_names(any_bp):
    formulas = [line for line in any_bp.derivation().splitlines() if re.match(r" +(δ\d* |∂\S+ )?=", line)]
    assert max(map(len, formulas)) < 200


def other_letters(params, X, y):
    θ, β = params
    ŷ = np.tanh(X @ θ) + β
    ж = ŷ - y
    return np.mean(ж**2)


NETWORKS, ARGUMENTS = {**cases(np), "other_letters": other_letters}, arguments()
ARGUMENTS["other_letters"] = (draw((3, 2), 2), *draw((5, 3), (5, 2)))


@pytest.mark.parametrize("name", NETWORKS)
def test_latex_balances_and_is_ascii(name):
    """Braces, environments and dollars balance; nothing has two exponents or two indices; only ASCII is left."""
    text = ut.backprop(NETWORKS[name], *ARGUMENTS[name]).derivation(values=True, format="latex")
    assert text.isascii()
    assert "…" not in text and "?" not in text
    body = re.sub(r"\\begin{verbatim}.*?\\end{verbatim}", "", text, flags=re.S).replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for c in body:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    stack = []
    for kind, name in re.findall(r"\\(begin|end){(\w+\*?)}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name
    assert not stack
    for block in re.findall(r"\\begin{align\*}\n(.*?)\n\\end{align\*}", text, re.S):
        assert "\n\n" not in block and "$" not in block
    prose = re.sub(r"\\begin{(verbatim|align\*)}.*?\\end{\1}", "", text, flags=re.S).replace(r"\$", "")
    assert prose.count("$") % 2 == 0
    once = re.compile(r"[\^_](?:\{[^{}]*\}|\\\w+|\w)\s*([\^_])(?:\{[^{}]*\}|\\\w+|\w)")
    for found in once.finditer(body):
        assert found[0][0] != found[1], found[0]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", NETWORKS)
def test_latex_compiles(name, tmp_path):
    """pdflatex takes the document, with amsmath alone."""
    bp = ut.backprop(NETWORKS[name], *ARGUMENTS[name])
    (tmp_path / "d.tex").write_text(bp.derivation(values=True, format="latex"))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_an_unknown_format_is_refused(bp):
    with pytest.raises(ArgumentError, match="'text' and 'latex'"):
        bp.derivation(format="html")


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{ct} ⊙ (1 − {out}²)", {"ct": "a + b", "out": "h"}, "(a + b) ⊙ (1 − h²)"),
        ("{0} − {1}", {"0": "a − b", "1": "c − d"}, "a − b − (c − d)"),
        ("tanh({0})", {"0": "x + b"}, "tanh(x + b)"),
        ("{0}ᵀ {ct}", {"0": "a b", "ct": "δ"}, "(a b)ᵀ δ"),
        ("{ct} / {0}", {"ct": "−1", "0": "a b"}, "−1 / (a b)"),
        ("max({0}, {1})", {"0": "a + b", "1": "0"}, "max(a + b, 0)"),
        ("{ct} ⊙ {out}", {"ct": "g where c, else 0", "out": "h"}, "(g where c, else 0) ⊙ h"),
        ("{ct} ⊙ {0}", {"ct": "1", "0": "y"}, "y"),
        (r"\frac{{{0}}}{{{1}}}", {"0": "a + b", "1": "c"}, r"\frac{a + b}{c}"),
        (r"{0}^{{{1}}}", {"0": "a + b", "1": "y - 1"}, "{(a + b)}^{y - 1}"),
    ],
)
def test_parentheses_stand_where_they_are_needed(template, values, text):
    assert fill(template, values) == text


def test_a_variance_names_its_count():
    """∂var/∂x = 2 (x − mean) / (n − ddof), with the numbers of this array."""
    text = ut.backprop(lambda x: np.var(x, ddof=1) + np.sum(np.std(x, axis=0)), draw((4, 3))[0]).derivation()
    assert "2(x − mean(x)) / (12 − 1)" in text
    assert "/ (4 std(x))" in text
    latex = ut.backprop(lambda x: np.sum(np.var(x, axis=1)), draw((4, 3))[0]).derivation(format="latex")
    assert r"\tfrac{2}{3} (" in latex


def test_rules_about_signs_are_no_news():
    """They are named in the last line of the derivation, and mark no line of the source."""

    def loss(w, x):
        z = x @ w
        return np.sum(np.exp(-z) / (1 + np.exp(-z))) - np.sum(np.sin(z))

    bp = ut.backprop(loss, *draw((3, 3), (4, 3)))
    small = [rule.name for rule in bp.rules if rule.routine]
    assert {"signs", "sign of a product"} & set(small)
    for name in small:
        assert f"simplified: {name}" not in bp.source
        assert f"- {name}:" not in bp.derivation()


def test_minus_minus_leaves_no_parentheses_behind():
    assert fill("−{0}", {"0": "−(X W + b)"}) == "X W + b"
    assert fill("σ({0})", {"0": fill("−{0}", {"0": "−(X W + b)"})}) == "σ(X W + b)"
    assert fill("−{0} y", {"0": "−(a + b)"}) == "(a + b) y"
    assert fill("−{0}", {"0": "−(a + b) (c + d)"}) == "(a + b) (c + d)"
    bp = ut.backprop(lambda W, X: np.mean(1 / (1 + np.exp(-(X @ W + 1.0)))), np.ones((3, 2)), np.ones((5, 3)))
    assert "((" not in bp.derivation()


def test_every_name_in_the_program_is_told_before_it_is_read():
    """g1 and the like, which are the program's own: each is defined once, before the first line that reads it."""

    def loss(params, X, y):
        W1, b1, W2, b2 = params
        h = ut.nn.gelu(X @ W1 + b1)
        return np.mean((h @ W2 + b2 - y) ** 2)

    rng = np.random.default_rng(0)
    params = rng.normal(size=(3, 4)), np.zeros(4), rng.normal(size=(4, 1)), np.zeros(1)
    text = ut.backprop(loss, params, rng.normal(size=(5, 3)), np.ones((5, 1))).derivation(values=True)
    told = {"X", "y", "h", "z", "W1", "b1", "W2", "b2", "m", "np", "axis", "normal_cdf"}
    lines = re.findall(r"^    (?:in the program:| {15}) (\w+) = (.*)$", text, re.MULTILINE)
    for name, code in lines:
        assert name not in told
        assert set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", code)) <= told, (name, told)
        told.add(name)
    assert [name for name, _ in lines if name[0] != "d"] == ["t2", "g1", "t1"]


def test_numbers_have_four_digits_however_small_they_are():
    """As Python rounds each to four significant digits."""

    def loss(w, X):
        return np.sum(X * w)

    X = np.array([[0.00182745, -0.00049281, 0.0, 12.34567, 1.23456e-9]])
    text = ut.backprop(loss, np.zeros(5), X).derivation(values=True)
    shown = re.search(r"dw = \[(.*)\]", text)[1].split()
    assert [float(x) for x in shown] == [float(f"{x:.3e}") for x in X[0]]
