"""Functions of PyTorch, JAX and scikit-learn in a function that is traced: the error says whose they are."""

import importlib
import re

import numpy as np
import pytest

import undertow as ut

W = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("run", [lambda f: ut.grad(f)(W), lambda f: ut.backprop(f, W)], ids=["values", "shapes"])
@pytest.mark.parametrize(
    ("library", "name", "code"),
    [
        ("torch", "PyTorch", "exp(w * 2)"),
        ("torch", "PyTorch", "tensor(w)"),
        ("torch", "PyTorch", "nn.functional.mse_loss(w, w)"),
        ("torch", "PyTorch", "nn.MSELoss()(w, w)"),
        ("jax.numpy", "JAX", "sum(w)"),
        ("jax.numpy", "JAX", "asarray(w)"),
        ("jax", "JAX", "nn.relu(w)"),
        ("sklearn.metrics", "scikit-learn", "mean_squared_error(w, w)"),
    ],
)
def test_a_function_of_another_library_is_named_with_the_users_line(run, library, name, code, tmp_path, monkeypatch):
    pytest.importorskip(library)
    called = code.rpartition("(")[0] if code.count("(") == 1 else "nn.MSELoss()"
    file = tmp_path / f"model_{abs(hash(code))}.py"
    file.write_text(f"import {library} as lib\n\ndef loss(w):\n    p = lib.{code}\n    return p.sum()\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(file.stem)
    with pytest.raises(ut.errors.UnsupportedError) as found:
        run(module.loss)
    start = (
        rf"{file.name}:4, `p = lib\.{re.escape(code)}`: lib\.{re.escape(called)} is {name}'s and cannot compute with a"
    )
    assert re.match(start, str(found.value))
    assert "ut.custom_vjp" in str(found.value)


def test_a_loss_of_another_library_has_no_line_of_the_users():
    torch = pytest.importorskip("torch")
    with pytest.raises(ut.errors.UnsupportedError, match=r"^your function: PyTorch cannot compute"):
        ut.grad(torch.nn.MSELoss(), wrt=0)(W, W)


def test_an_error_of_another_library_about_plain_numbers_stays_as_it_is():
    metrics = pytest.importorskip("sklearn.metrics")

    def loss(w):
        return np.sum(w) * metrics.accuracy_score([0, 1], [0, 1, 1])

    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ut.grad(loss)(W)


def test_what_a_library_computes_of_plain_numbers_takes_part():
    metrics = pytest.importorskip("sklearn.metrics")
    share = metrics.accuracy_score([0, 1], [0, 0])
    np.testing.assert_array_equal(ut.grad(lambda w: np.sum(w) * metrics.accuracy_score([0, 1], [0, 0]))(W), share)


def test_a_function_of_scipys_that_asks_for_a_number_is_named():
    """It is called with a function of the user's, whose result is traced."""
    integrate = pytest.importorskip("scipy.integrate")
    with pytest.raises(ut.errors.UnsupportedError, match=r"SciPy's quad makes .*Use np\.trapezoid .*custom_vjp"):
        ut.grad(lambda k: integrate.quad(lambda y: y * k, 0, 2)[0])(0.5)
    y = np.linspace(0, 2, 101)
    assert ut.grad(lambda k: np.trapezoid(y * k, y))(0.5) == pytest.approx(2.0)
