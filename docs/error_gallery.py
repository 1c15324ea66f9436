"""The calls that docs/errors.md shows, each with a heading; docs/make_pages.py runs them and prints the errors."""

GALLERY: list[tuple[str, list[tuple[str, str]]]] = [
    (
        "Shapes and types",
        [
            (
                "Inner sizes that differ",
                "def loss(params, X):\n    W1, W2 = params\n    h1 = np.tanh(X @ W1)\n    return np.sum(h1 @ W2)\n\n"
                "ut.grad(loss)((np.ones((3, 128)), np.ones((64, 10))), np.ones((5, 3)))",
            ),
            (
                "Shapes that do not broadcast",
                "def loss(w, X):\n    return np.sum(X * w)\n\nut.grad(loss)(np.ones(3), np.ones((5, 4)))",
            ),
            (
                "Labels against a column a class",
                "def loss(W, X, y):\n    return np.mean((X @ W - y) ** 2)\n\n"
                "ut.grad(loss)(np.ones((3, 4)), np.ones((5, 3)), np.array([0, 1, 2, 3, 0]))",
            ),
            (
                "Labels that are texts",
                "def loss(w, X, y):\n    return np.mean((X @ w - y) ** 2)\n\n"
                'ut.grad(loss)(np.ones(3), np.ones((2, 3)), np.array(["no", "yes"]))',
            ),
            ("A gradient by integers", "ut.grad(lambda w: np.sum(w * 0.5))(np.arange(3))"),
            ("An integer inside a tree", 'ut.grad(lambda p: p["w"] * p["k"])({"w": 1.0, "k": 3})'),
            ("Complex numbers", "ut.grad(lambda w: np.sum(w))(np.ones(3) * 1j)"),
            (
                "A loss that is not one number",
                "def loss(w, X):\n    return X @ w\n\nut.grad(loss)(np.ones(3), np.ones((5, 3)))",
            ),
            ("A loss that returns nothing", "def loss(w):\n    w * w\n\nut.grad(loss)(np.ones(3))"),
            (
                "A column against a vector",
                "ut.nn.mean_squared_error(np.ones((3, 1)), np.ones(3))",
            ),
        ],
    ),
    (
        "NumPy functions and options",
        [
            ("A function that is not there", "ut.grad(lambda x: np.sum(np.roots(x).real))(np.ones(4))"),
            ("A Fourier transform", "ut.grad(lambda x: np.sum(np.fft.fft(x).real))(np.ones(4))"),
            ("The option where= of a ufunc", "ut.grad(lambda x: np.sum(np.exp(x, where=x > 0)))(np.ones(3))"),
            ("math of an array", "import math\n\nut.grad(lambda x: np.sum(math.sin(x)))(np.ones(3))"),
            (
                "Writing into an array from outside",
                "out = np.zeros(3)\n\ndef loss(x):\n    out[0] = x[0] ** 2\n    return np.sum(out)\n\n"
                "ut.grad(loss)(np.ones(3))",
            ),
            (
                "Adding to an array from outside",
                "s = np.zeros(3)\n\ndef loss(x):\n    np.add(s, x, out=s)\n    return np.sum(s)\n\n"
                "ut.grad(loss)(np.ones(3))",
            ),
            (
                "A list and an array from outside",
                "a = np.ones(2)\nut.grad(lambda x: np.sum([x[0], x[1]] * a))(np.ones(3))",
            ),
            (
                "A list of numbers",
                "def loss(w, X):\n    return np.sum(X @ w)\n\nut.grad(loss)([1.0, 2.0, 3.0], np.ones((5, 3)))",
            ),
            ("The method of a plain array", "X = np.ones((5, 3))\nut.grad(lambda w: np.sum(X.dot(w)))(np.ones(3))"),
        ],
    ),
    (
        "Python's control flow, while only shapes are known",
        [
            (
                "A branch on values",
                "def loss(w, X):\n    z = np.sum(X @ w)\n    if z > 0:\n        return z\n    return z * z\n\n"
                "ut.backprop(loss, np.ones(3), np.ones((5, 3)))",
            ),
            (
                "As many elements as a mask picks",
                "def loss(x):\n    return np.sum(x[x > 0])\n\nut.backprop(loss, np.ones(3))",
            ),
            (
                "Labels as an index into an array from outside",
                "table = np.eye(3)\n\ndef loss(W, X, y):\n    return np.sum((X @ W - table[y]) ** 2)\n\n"
                "ut.backprop(loss, np.ones((2, 3)), np.ones((4, 2)), np.array([0, 1, 2, 1]))",
            ),
        ],
    ),
    (
        "Arguments of Undertow",
        [
            ("A position that is not there", "ut.grad(lambda w, X: np.sum(X @ w), wrt=2)(np.ones(3), np.ones((5, 3)))"),
            (
                "A name instead of a position",
                'ut.grad(lambda w, X: np.sum(X @ w), wrt="w")(np.ones(3), np.ones((5, 3)))',
            ),
            (
                "An object that is no tree",
                "class Network:\n    def __init__(self):\n        self.W = np.ones(3)\n\n"
                "ut.grad(lambda net: np.sum(net.W))(Network())",
            ),
            (
                "A cotangent of another shape",
                "value, pull = ut.vjp(np.exp, np.ones(3))\npull(np.ones(2))",
            ),
            (
                "A value kept from an earlier call",
                "kept = []\nut.grad(lambda x: kept.append(x) or np.sum(x))(np.ones(3))\n"
                "ut.grad(lambda x: np.sum(x * kept[0]))(np.ones(3))",
            ),
            (
                "A gradient that is wrong",
                "ut.check_gradient(np.sum, np.ones(2), gradient=lambda w: 1.01 * np.ones(2))",
            ),
        ],
    ),
    (
        "Networks and training",
        [
            ("Layers that do not fit", "ut.nn.Sequential(ut.nn.Dense(64, 128), ut.nn.relu, ut.nn.Dense(64, 10))"),
            (
                "A label that is out of range",
                "model = ut.nn.Sequential(ut.nn.Dense(2, 3))\n"
                'ut.train(model, (np.ones((4, 2)), np.array([0, 1, 2, 3])), loss="categorical_cross_entropy")',
            ),
            (
                "NaN in the data",
                "X = np.ones((4, 2))\nX[1, 0] = np.nan\n"
                'ut.train(ut.nn.Sequential(ut.nn.Dense(2, 1)), (X, np.ones(4)), loss="mean_squared_error")',
            ),
        ],
    ),
]
