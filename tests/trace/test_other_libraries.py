"""Functions of PyTorch, JAX and scikit-learn where a function is traced: the error says whose. Tables of pandas."""

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


@pytest.fixture
def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, -1.0, 4.0], "name": list("xyz")})


@pytest.mark.parametrize(
    "f",
    [
        lambda w, t: np.sum((t["a"] * w - t["b"]) ** 2),
        lambda w, t: np.sum((t["b"] - w * t["a"]) ** 2),
        lambda w, t: np.sum(t["a"] / (1 + np.exp(w)) + t.b**2 * w),
        lambda w, t: np.sum(np.multiply(t["a"], w) ** 3),
        lambda w, t: np.sum(np.where(t["a"] > w, t["b"] * w, 0.0)),
        lambda w, t: np.sum(t[["a", "b"]] * w),
        lambda w, t: np.mean(t["a"] ** w),
    ],
)
def test_columns_of_pandas_stand_on_either_side(f, frame):
    arrays = {name: frame[name].to_numpy() for name in frame}

    class Plain:
        b = arrays["b"]

        def __getitem__(self, key):
            return np.stack([arrays[name] for name in key], axis=1) if isinstance(key, list) else arrays[key]

    value, slope = ut.value_and_grad(f)(1.3, frame)
    assert value == pytest.approx(f(1.3, Plain()), rel=1e-14)
    h = 1e-6
    assert slope == pytest.approx((f(1.3 + h, Plain()) - f(1.3 - h, Plain())) / (2 * h), rel=1e-6)


def test_a_product_of_a_table_names_the_part_to_convert(frame):
    with pytest.raises(ut.InPlaceError, match=r"Write `t\[\['a', 'b'\]\].to_numpy\(\)` in place of"):
        ut.grad(lambda w, t: np.sum(t[["a", "b"]] @ w))(np.ones(2), frame)
    numbers = frame[["a", "b"]]
    with pytest.raises(ut.InPlaceError, match=r"Pass t.to_numpy\(\) to the function"):
        ut.grad(lambda w, t: np.sum(t @ w))(np.ones(2), numbers)
    np.testing.assert_array_equal(
        ut.grad(lambda w, t: np.sum(t[["a", "b"]].to_numpy() @ w))(np.ones(2), frame), numbers.to_numpy().sum(axis=0)
    )
