"""The lines that a walk shows for a step of plain descent."""

import numpy as np

import undertow as ut
from undertow.report import walk


def test_the_lines_of_plain_descent_compute_the_new_parameters():
    """They are run as they stand, on the gradients of the backward pass."""
    draw = np.random.default_rng(3).normal
    params = (draw(size=(3, 2)), draw(size=2))
    bp = ut.backprop(lambda W, b, X, y: np.mean((np.tanh(X @ W + b) - y) ** 2), *params, draw(size=(5, 3)),
                     draw(size=(5, 2)), wrt=(0, 1))  # fmt: skip
    data = walk(bp, update=ut.optim.sgd(0.5)).data()
    assert "# one step of sgd(rate=0.5)" in data["source"]
    (values,) = (part for part in data["levels"] if part["name"] == "Values")
    steps = [step for step in values["steps"] if step["phase"] == "update"]
    assert [step["title"] for step in steps] == ["Update W", "Update b"]
    gradients = bp()[1]
    space = {"W": params[0], "b": params[1], "dW": gradients[0], "db": gradients[1]}
    for name, step in zip("Wb", steps, strict=True):
        assert step["formulas"] == [["sgd", f"{name} ← {name} − 0.5 · ∂L/∂{name}"]]
        exec(data["source"][step["line"] - 1], space)
        shown = data["arrays"][step["panels"][0][1]]
        np.testing.assert_allclose(np.reshape(shown["v"], shown["shape"]), space[name], rtol=1e-5)
