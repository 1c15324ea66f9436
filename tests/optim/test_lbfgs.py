"""L-BFGS over trees finds the minima of known functions, reports, and ends in good order."""

import sys

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

import undertow as ut
from undertow import nn, optim
from undertow.errors import ArgumentError, DTypeError, TrainingError


def rosenbrock(params):
    x = params["x"]
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


@pytest.mark.parametrize("compile", [True, False])
def test_it_goes_the_way_of_scipy(compile):
    """Rosenbrock's valley in 6 dimensions: as many iterations and evaluations as SciPy with its own derivative."""
    start = np.full(6, -1.2)
    params, report = optim.minimize_lbfgs(rosenbrock, {"x": start}, tolerance=1e-6, compile=compile)
    options = {"gtol": 1e-6, "ftol": 1e-9, "maxcor": 10}
    expected = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options=options)
    np.testing.assert_allclose(params["x"], 1.0, atol=1e-4)
    assert report.converged and report.loss == pytest.approx(rosen(params["x"]), rel=1e-9)
    assert abs(report.iterations - expected.nit) <= 2
    assert report.evaluations <= expected.nfev + 4
    assert len(report.losses) == report.iterations + 1 and report.losses == sorted(report.losses, reverse=True)
    assert (start == -1.2).all()


def test_each_iteration_of_a_network_is_that_of_scipy():
    """The same parameters, loss and evaluations, where SciPy is given the gradient written out by hand."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal((40, 1))
    model = nn.initialize(nn.Sequential(nn.Dense(3, 6), "tanh", nn.Dense(6, 1)), 0, np.dtype(np.float64))
    loss = lambda model, X, y: np.mean((model(X) - y) ** 2) + 0.01 * np.sum(model.layers[0].W ** 2)
    shapes = [(3, 6), (6,), (6, 1), (1,)]

    def by_hand(flat):
        W, b, V, c = (part.reshape(s) for part, s in zip(np.split(flat, np.cumsum([18, 6, 6])), shapes, strict=True))
        h = np.tanh(X @ W + b)
        e = h @ V + c - y
        dz = (2 * e / e.size) @ V.T * (1 - h**2)
        parts = [X.T @ dz + 0.02 * W, dz.sum(0), h.T @ (2 * e / e.size), (2 * e / e.size).sum(0)]
        return np.mean(e**2) + 0.01 * np.sum(W**2), np.concatenate([part.ravel() for part in parts])

    first, _, last = model.layers
    start = np.concatenate([np.ravel(part) for part in (first.W, first.b, last.W, last.b)])
    losses = [by_hand(start)[0]]
    expected = minimize(
        by_hand, start, jac=True, method="L-BFGS-B", callback=lambda x: losses.append(by_hand(x)[0]),
        options={"gtol": 1e-7, "ftol": 1e-10, "maxcor": 5, "maxiter": 25},
    )  # fmt: skip
    found, report = optim.minimize_lbfgs(loss, model, X, y, tolerance=1e-7, history=5, max_iterations=25)
    assert (report.iterations, report.evaluations) == (expected.nit, expected.nfev + 1)  # of the start, for the report
    np.testing.assert_allclose(report.losses, losses, rtol=1e-7)
    first, _, last = found.layers
    flat = np.concatenate([np.ravel(part) for part in (first.W, first.b, last.W, last.b)])
    np.testing.assert_allclose(flat, expected.x, rtol=1e-4, atol=1e-6)


def test_a_model_with_functions_and_float32_comes_back_as_it_was():
    """Linear regression by a float32 layer in a tuple: dtypes, functions and plain floats stay what they were."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3)).astype(np.float32)
    w = np.array([1.0, -2.0, 0.5])
    loss = lambda model, X, y: np.mean((model[2](X @ model[0]) + model[1] - y) ** 2)
    model = np.zeros(3, np.float32), 0.0, nn.identity if hasattr(nn, "identity") else abs
    model = (*model[:2], lambda x: x)
    (found, bias, function), report = optim.minimize_lbfgs(loss, model, X, X @ w + 0.25)
    assert found.dtype == np.float32 and type(bias) is float and function is model[2]
    np.testing.assert_allclose(found, w, atol=1e-4)
    assert bias == pytest.approx(0.25, abs=1e-4) and report.loss < 1e-8


def test_a_network_is_trained():
    """A model of undertow.nn, one batch: the loss of the report is that of the model returned."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((64, 2))
    y = np.tanh(X @ np.ones((2, 1)))
    model = nn.initialize(nn.Sequential(nn.Dense(2, 8), nn.tanh, nn.Dense(8, 1)), 0, np.dtype(np.float64))
    loss = lambda model, X, y: np.mean((model(X) - y) ** 2)
    trained, report = optim.minimize_lbfgs(loss, model, X, y, max_iterations=60)
    assert float(loss(trained, X, y)) == pytest.approx(report.loss, rel=1e-9)
    assert report.loss < 1e-3 * report.losses[0]


def test_iterations_are_limited():
    """The limit ends it, and says that it did not converge."""
    _, report = optim.minimize_lbfgs(rosenbrock, {"x": np.full(6, -1.2)}, max_iterations=3)
    assert (report.iterations, report.converged) == (3, False) and "LIMIT" in report.message


def test_ctrl_c_keeps_the_best_so_far():
    """An interrupt in the middle of an evaluation returns what was best before it."""
    calls = []

    def loss(w):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return rosenbrock({"x": w})

    start = np.full(4, -1.2)
    w, report = optim.minimize_lbfgs(loss, start, compile=False)
    assert report.message == "interrupted" and not report.converged
    assert rosen(w) == pytest.approx(report.loss) and report.loss < rosen(start)
    assert report.evaluations == 5


def test_a_loss_that_is_not_finite():
    """At the start it is an error; on the way the line search comes back from there."""
    with pytest.raises(TrainingError, match="the loss is nan at the parameters given"):
        optim.minimize_lbfgs(lambda w: np.sum(np.log(w)), np.array([-1.0]), compile=False)
    w, report = optim.minimize_lbfgs(lambda w: np.sum(w - np.log(w)), np.array([1e-3]), compile=False)
    assert w == pytest.approx(1.0, abs=1e-3) and np.isfinite(report.losses).all()


@pytest.mark.parametrize("options", [{"max_iterations": 0}, {"tolerance": -1}, {"tolerance": "a"}, {"history": 0.5}])
def test_settings_are_read(options):
    """Each out of range is named."""
    with pytest.raises(ArgumentError, match=f"minimize_lbfgs: {next(iter(options))} must be"):
        optim.minimize_lbfgs(rosenbrock, {"x": np.zeros(3)}, **options)


def test_parameters_are_wanted():
    """A tree without numbers has nothing to change, and whole numbers cannot be changed by degrees."""
    for params in ((abs,), np.zeros(0), ()):
        with pytest.raises(ArgumentError, match="hold no arrays"):
            optim.minimize_lbfgs(lambda f: 1.0, params)
    with pytest.raises(DTypeError, match=r"n is int64, .* Give floats"):
        optim.minimize_lbfgs(lambda p: np.sum(p["n"]), {"n": np.arange(3)})


def test_without_scipy_the_extra_is_named(monkeypatch):
    """What to install stands in the message."""
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ArgumentError, match=r"pip install scipy"):
        optim.minimize_lbfgs(rosenbrock, {"x": np.zeros(3)})
    assert ut.optim is optim
