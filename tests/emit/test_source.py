"""The emitted module runs with NumPy alone, computes what the graph computes, and reads well."""

import collections
import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import undertow as ut
from undertow import trees
from undertow.emit import write_source
from undertow.errors import UndertowError, UnsupportedError
from undertow.graph import CONSTANT, INPUT, Graph, Node, evaluate
from undertow.primitives import REGISTRY, spec_of


@dataclasses.dataclass(frozen=True)
class Affine:
    W: np.ndarray
    b: np.ndarray
    title: str = "affine"


@dataclasses.dataclass
class Net:
    layers: list
    scale: float


Pair = collections.namedtuple("Pair", "a b")


def two_layers(params, X, y):
    W1, b1, W2, b2 = params
    z1 = X @ W1 + b1
    h1 = np.tanh(z1)
    z2 = h1 @ W2 + b2
    p = np.exp(z2) / np.sum(np.exp(z2), axis=1, keepdims=True)
    return -np.mean(np.sum(y * np.log(p), axis=1))


def draw(*shapes, dtype=np.float64):
    random = np.random.default_rng(3)
    return tuple(random.normal(size=shape).astype(dtype) for shape in shapes)


def run_alone(source, code):
    """Run a module in a fresh interpreter that cannot import undertow."""
    program = f"import sys\nsys.modules['undertow'] = None\n{source}\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_same(bp, *args):
    """The source's loss and gradients have the same bits, dtypes and tree as the engine's."""
    loss, cache = bp.forward(*args)
    gradient = bp.backward(cache)
    wanted_loss, wanted = bp(*args)
    assert loss == wanted_loss
    assert trees.same_structure(gradient, wanted)
    for found, want in zip(trees.flatten(gradient)[0], trees.flatten(wanted)[0], strict=True):
        np.testing.assert_array_equal(found, want)
        assert np.asarray(found).dtype == np.asarray(want).dtype
    return gradient


def test_two_layers_read_as_written_by_hand():
    bp = ut.backprop(two_layers, draw((4, 5), 5, (5, 3), 3), *draw((8, 4), (8, 3)))
    start = bp.source.index("def forward")
    code = [line.split("  # ")[0].rstrip() for line in bp.source[start:].splitlines()]
    assert code == [
        "def forward(params, X, y):",
        '    """Return the loss, and what the backward pass needs."""',
        "    W1, b1, W2, b2 = params",
        "",
        "    z1 = X @ W1 + b1",
        "    h1 = np.tanh(z1)",
        "    z2 = h1 @ W2 + b2",
        "    p = softmax(z2, axis=1)",
        "    loss = -np.mean(np.sum(y * log_softmax(z2, axis=1), axis=1))",
        "    return loss, (W2, X, y, h1, p)",
        "",
        "",
        "def backward(cache):",
        '    """Return the gradient of the loss by params."""',
        "    W2, X, y, h1, p = cache",
        "    m = X.shape[0]",
        "",
        "    dz2 = (p * np.sum(y, axis=1, keepdims=True) - y) / m",
        "    db2 = np.sum(dz2, axis=0)",
        "    dh1 = dz2 @ W2.T",
        "    dW2 = h1.T @ dz2",
        "    dz1 = dh1 * (1 - h1 ** 2)",
        "    db1 = np.sum(dz1, axis=0)",
        "    dW1 = X.T @ dz1",
        "    return dW1, db1, dW2, db2",
    ]


def test_lines_carry_shape_and_origin():
    bp = ut.backprop(two_layers, draw((4, 5), 5, (5, 3), 3), *draw((8, 4), (8, 3)))
    lines = {line.strip().split(" = ")[0]: line for line in bp.source.splitlines() if " = " in line}
    assert "# (m, 5)  test_source.py:" in lines["z1"]
    assert "# (m, 5)  through h1 = np.tanh(z1)" in lines["dz1"]
    assert "softmax and cross-entropy: p − y" in lines["dz2"]


def test_the_source_needs_only_numpy():
    bp = ut.backprop(two_layers, draw((4, 5), 5, (5, 3), 3), *draw((8, 4), (8, 3)))
    code = (
        "r = np.random.default_rng(0)\n"
        "P = [r.normal(size=s) for s in ((4, 5), 5, (5, 3), 3)]\n"
        "X, y = r.normal(size=(6, 4)), r.normal(size=(6, 3))\n"
        "loss, cache = forward(P, X, y)\n"
        "print(float(loss).hex(), *[float(g.sum()).hex() for g in backward(cache)])"
    )
    r = np.random.default_rng(0)
    params = tuple(r.normal(size=s) for s in ((4, 5), 5, (5, 3), 3))
    X, y = r.normal(size=(6, 4)), r.normal(size=(6, 3))
    loss, gradient = bp(params, X, y)
    wanted = [float(loss).hex(), *[float(g.sum()).hex() for g in gradient]]
    assert run_alone(bp.source, code).split() == wanted


def test_another_batch_size_needs_no_new_source():
    params = draw((4, 5), 5, (5, 3), 3)
    bp = ut.backprop(two_layers, params, *draw((8, 4), (8, 3)))
    assert_same(bp, params, *draw((3, 4), (3, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trees_of_every_kind_nested_deep(dtype):
    def loss(params, X, y):
        d, (u, [v, w]), pair, net = params
        h = np.maximum(X @ d["W"] + d["b"], 0) * u
        for layer in net.layers:
            z = h @ layer.W + layer.b
            h = np.tanh(z)
        q = h * v + w + pair.a * pair.b[0]["k"][0][0]
        return np.mean((q - y) ** 2) * net.scale + 0.5 * np.sum(d["W"] ** 2)

    W, b, u, v, w, a, k, W2, b2, X, y = draw((4, 5), 5, 5, 5, (1, 5), 5, 5, (5, 5), 5, (8, 4), (8, 5), dtype=dtype)
    params = (
        {"b": b, "W": W},
        (u, [v, w]),
        Pair(a, ({"k": [(k,)]},)),
        Net([Affine(W2, b2), Affine(W2 * dtype(2), b2)], 0.5),
    )
    bp = ut.backprop(loss, params, X, y)
    gradient = assert_same(bp, params, X, y)
    assert isinstance(gradient[2], Pair)
    assert gradient[3].layers[0].title == "affine"
    assert gradient[0]["b"].shape == (5,) and gradient[0]["W"].shape == (4, 5)


def test_several_arguments_and_a_python_number():
    def loss(x, s):
        return np.sum(np.sin(x) * s + x * (x - s) + x * (s / x))

    bp = ut.backprop(loss, draw(4)[0], 2.5, wrt=(0, 1))
    assert_same(bp, draw(4)[0], 2.5)
    assert isinstance(bp.backward(bp.forward(draw(4)[0], 2.5)[1]), tuple)


def test_names_that_mean_something_in_python_or_in_the_module():
    def loss(np_, lam, softmax, m):
        cache = np_ * lam
        type = np.tanh(cache) + ut.softmax(np_, axis=0) * softmax
        sigmoid = np.sum(type * cache) * m
        return sigmoid

    args = (*draw(4, 4, 4), 2.0)
    bp = ut.backprop(loss, *args)
    assert_same(bp, *args)


def test_constants_keep_every_bit():
    small = np.array([0.1, 1 / 3, -np.inf, np.nan], dtype=np.float32)
    large = draw((4, 40), dtype=np.float32)[0]
    mask = np.array([True, True, False, False])

    def loss(x):
        y = np.where(mask, x + small, x)
        return np.sum(np.tanh(y @ large) * np.float32(0.1)) + np.sum(y[1:3] @ np.eye(2, dtype=np.float32))

    x = draw(4, dtype=np.float32)[0]
    bp = ut.backprop(loss, x)
    assert_same(bp, x)
    assert "C1 = np.frombuffer" in bp.source
    assert "np.array([0.1, 0.33333334, -np.inf, np.nan], dtype=np.float32)" in bp.source


def test_a_huge_constant_is_refused_with_the_way_out():
    huge = np.random.default_rng(0).normal(size=(400, 400))
    with pytest.raises(UndertowError, match=r"\(400, 400\) \(1.3 MB\).*Pass it to the function as an argument"):
        _ = ut.backprop(lambda x: np.sum(x @ huge), draw(400)[0]).source


def test_a_container_without_source_form_is_refused():
    x = Node(INPUT, (), {}, spec_of(np.ones(2)))
    total = Node(REGISTRY["sum"], (x,), {"axis": (0,), "keepdims": False}, spec_of(np.float64(1)))
    graph = Graph((x,), (total, x))
    with pytest.raises(UnsupportedError, match="deque"):
        write_source(graph, [("x", collections.deque([x]))])


def test_gradients_that_are_zero_or_an_argument():
    def loss(params, x):
        w, _ = params
        return np.sum(w * x)

    params = draw(3, (2, 2))
    bp = ut.backprop(loss, params, draw(3)[0] * 2)
    gradient = assert_same(bp, params, draw(3)[0])
    assert not gradient[1].any()


def test_grouping_keeps_the_order_of_additions_and_products():
    def loss(x, a, b):
        return np.sum((x + (a + b)) * (a * (b / x)) - (a - (b - x)) ** 2 - x @ (a * b))

    args = draw(5, 5, 5, dtype=np.float32)
    bp = ut.backprop(loss, *args, wrt=(0, 1, 2))
    assert_same(bp, *args)


def test_a_model_made_of_layers():
    model = ut.nn.initialize(
        ut.nn.Sequential(ut.nn.Dense(6, 8), ut.nn.Residual(ut.nn.Dense(8, 8), ut.nn.tanh), ut.nn.Dense(8, 3)), 0
    )

    def loss(model, X, t):
        return -np.mean(np.sum(ut.one_hot(t, 3) * ut.log_softmax(model(X), axis=1), axis=1))

    X, t = draw((8, 6))[0], np.arange(8) % 3
    assert_same(ut.backprop(loss, model, X, t), model, X, t)


def test_sixty_layers():
    def loss(params, X, y):
        h = X
        for W, b in params:
            h = h + np.tanh(h @ W + b)
        return np.mean((h - y) ** 2)

    W, b, X, y = draw((4, 4), 4, (5, 4), (5, 4))
    params = [(W * 0.1 * (i % 3), b) for i in range(60)]
    bp = ut.backprop(loss, params, X, y)
    assert_same(bp, params, X, y)
    assert max(map(len, bp.source.splitlines())) < 160


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_primitive_is_spelled_as_it_computes(name):
    """A module made of one operation gives what the operation gives, to the bit but for two, for all its samples."""
    primitive = REGISTRY[name]
    for sample in primitive.samples():
        for dtype in (np.float64, np.float32):
            args = [
                x.astype(dtype) if isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f" else x
                for x in sample.args
            ]
            inputs = tuple(Node(INPUT, (), {}, spec_of(x)) for x in args)
            for i, x in enumerate(inputs):
                x.name = f"x{i}"
            node = Node(primitive, inputs, sample.params, primitive.infer(*[x.spec for x in inputs], **sample.params))
            graph = Graph(inputs, (node,))
            module: dict = {}
            exec(write_source(graph, [(x.name, x) for x in inputs], ()), module)
            with np.errstate(all="ignore"):
                found, _ = module["forward"](*args)
                (wanted,) = evaluate(graph, args)
            assert np.shape(found) == np.shape(wanted), sample.note
            assert np.asarray(found).dtype == np.asarray(wanted).dtype, sample.note
            if name == "power":  # x ** 0.5 is computed as a square root, and so on
                np.testing.assert_allclose(found, wanted, rtol=1e-6)
            elif name == "normal_cdf":  # source calls erfc(-x/√2), whose tail feels that argument's rounding: x² ε/2
                np.testing.assert_allclose(found, wanted, rtol=2e-13 if dtype == np.float64 else 1e-6)
            else:
                np.testing.assert_array_equal(found, wanted, err_msg=sample.note)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((2, 3)), "np.zeros((2, 3))"),
        (np.ones(3, np.float32), "np.ones(3, dtype=np.float32)"),
        (np.full(2, -0.0), "np.full(2, -0.0)"),
        (np.arange(9), "np.arange(9)"),
        (np.arange(200).reshape(2, 100), "np.arange(200).reshape(2, 100)"),
        (np.arange(2**40, 2**40 + 100)[None], "np.arange(1099511627776, 1099511627876).reshape(1, 100)"),
        (np.arange(90, -10, -5, np.int32), "np.arange(90, -10, -5, dtype=np.int32)"),
        (np.array([7, 9, 11]), "np.array([7, 9, 11])"),
        (np.array([250, 252, 254], np.uint8), "np.array([250, 252, 254], dtype=np.uint8)"),
        (np.array([-(2**63), 0, 2**63 - 1]), "np.array([-9223372036854775808, 0, 9223372036854775807])"),
        (np.eye(3), "np.eye(3)"),
        (np.tri(12, dtype=bool), "np.tril(np.ones((12, 12), dtype=bool))"),
        (np.triu(np.full((9, 9), -np.inf), 1), "np.triu(np.full((9, 9), -np.inf), 1)"),
        (np.tri(9, 10, -1, np.float32), "np.tril(np.ones((9, 10), dtype=np.float32), -1)"),
        (~np.eye(12, dtype=bool), "~np.eye(12, dtype=bool)"),
        (np.tri(2, dtype=int), "np.array([[1, 0], [1, 1]])"),
        (np.array([True, False]), "np.array([True, False])"),
        (np.array([1, 2], np.int32), "np.array([1, 2], dtype=np.int32)"),
    ],
)
def test_array_constants_as_people_write_them(value, text):
    x = Node(INPUT, (), {}, spec_of(value))
    constant = Node(CONSTANT, (), {}, spec_of(value), value)
    op = REGISTRY["equal"]
    graph = Graph((x,), (Node(op, (x, constant), {}, op.infer(x.spec, constant.spec)),))
    x.name = "x"
    source = write_source(graph, [("x", x)], ())
    assert text in source
    copy = eval(text, {"np": np})
    assert copy.dtype == value.dtype and copy.tobytes() == value.tobytes()


def test_the_mean_over_all_pairs_is_divided_by_plain_numbers():
    """A square (m, m) has a size that is a product, and no 1.0 with a dtype stands beside it."""

    def loss(w, X, y):
        return np.mean((X @ w - y) ** 2)

    X, y, w = np.arange(12.0).reshape(4, 3), np.arange(4.0)[:, None], np.ones(3)
    bp = ut.backprop(loss, w, X, y)
    assert "1 / (m * m)" in bp.source and "float64(" not in bp.source
    module = {}
    exec(bp.source, module)
    found = module["backward"](module["forward"](w, X, y)[1])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 2 * X.T @ (X @ w - y).sum(axis=0) / 16)


def test_zeros_that_a_recurrent_network_begins_with_are_no_gradient():
    """They are a gradient too, of what they are multiplied by; the forward pass does not call them one."""

    def loss(params, X):
        W, U = params
        h = np.zeros((len(X), 3))
        for t in range(X.shape[1]):
            z = np.tanh(np.concatenate([X[:, t], h], axis=1) @ W)
            h = (1 - z) * np.tanh((z * h) @ U) + z * h
        return np.mean(h**2)

    rng = np.random.default_rng(0)
    params, X = (rng.normal(size=(5, 3)), rng.normal(size=(3, 3))), rng.normal(size=(4, 2, 2))
    source = ut.backprop(loss, params, X).source
    forward = source[source.index("def forward") : source.index("def backward")]
    assert "np.zeros((m, 3))" in forward
    assert " dz" not in forward and "collected terms" not in forward


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_layer_that_is_clipped_in_place_reads_as_a_choice(dtype):
    """``z[z < 0] = 0`` is np.where(z < 0, 0, z), its gradient the other way round; no dtype is added or lost."""

    def loss(W, X):
        z = X @ W
        z[z < 0] = 0
        return np.mean(z**2)

    rng = np.random.default_rng(0)
    W, X = rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(5, 3)).astype(dtype)
    source = ut.backprop(loss, W, X).source
    assert "t1 = z1 < 0 " in source and "np.where(t1, 0, z1)" in source and "np.where(t1, 0, dz2)" in source
    module = {}
    exec(source, module)
    found = module["backward"](module["forward"](W, X)[1])
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, X.T @ (2 * np.maximum(X @ W, 0) / 20), rtol=1e-5 if dtype == np.float32 else 1e-12
    )
