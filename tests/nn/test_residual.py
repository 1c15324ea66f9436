"""Residual blocks with a projection, beside PyTorch and formulas written by hand: values, gradients, training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import undertow as ut
from undertow import nn, optim

RNG = np.random.default_rng(3)
X = RNG.normal(size=(16, 5))
Y = RNG.normal(size=(16, 2))
SCALE = 0.7
RATE, STEPS = 0.05, 12


def make_model() -> Any:
    """h = x P + 0.7 (tanh(x A + a) B + b), then h C + c; in float64."""
    block = nn.Residual(nn.Dense(5, 7), "tanh", nn.Dense(7, 4), projection="auto", scale=SCALE)
    return nn.initialize(nn.Sequential(block, nn.Dense(4, 2)), 0, np.dtype(np.float64))


def read_parameters(model: Any) -> dict[str, Any]:
    block, last = model.layers
    first, _, second = block.layers
    return {"A": first.W, "a": first.b, "B": second.W, "b": second.b, "P": block.projection.W, "C": last.W, "c": last.b}


def loss(model: Any, X: Any, Y: Any) -> Any:
    return np.mean((model(X) - Y) ** 2)


def differentiate_by_hand(p: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The loss and its gradient by the chain rule, written out."""
    t = np.tanh(X @ p["A"] + p["a"])
    h = X @ p["P"] + SCALE * (t @ p["B"] + p["b"])
    e = h @ p["C"] + p["c"] - Y
    de = 2 * e / e.size
    dh = de @ p["C"].T
    df = SCALE * dh
    dz = (df @ p["B"].T) * (1 - t**2)
    found = {"A": X.T @ dz, "a": dz.sum(0), "B": t.T @ df, "b": df.sum(0), "P": X.T @ dh, "C": h.T @ de, "c": de.sum(0)}
    return float(np.mean(e**2)), found


@pytest.mark.parametrize("compile", [False, True])
def test_values_and_gradients_are_those_of_the_chain_rule(compile):
    model = make_model()
    value, gradient = ut.value_and_grad(loss, compile=compile)(model, X, Y)
    wanted, by_hand = differentiate_by_hand(read_parameters(model))
    assert float(value) == pytest.approx(wanted, rel=1e-12)
    for name, found in read_parameters(gradient).items():
        np.testing.assert_allclose(found, by_hand[name], rtol=1e-10, atol=1e-13, err_msg=name)


def train() -> Any:
    """Some steps of gradient descent on all examples at once."""
    return ut.train(
        make_model(), (X, Y), loss=lambda output, y: np.mean((output - y) ** 2),
        optimizer=optim.sgd(RATE), epochs=STEPS, batch_size=len(X),
        validation=None, progress=False, flow=False,
    )  # fmt: skip


def test_training_steps_are_those_of_gradient_descent_by_hand():
    """The projection is trained as the layers are."""
    p = read_parameters(make_model())
    for _ in range(STEPS):
        _, gradient = differentiate_by_hand(p)
        p = {name: value - RATE * gradient[name] for name, value in p.items()}
    for name, found in read_parameters(train().model).items():
        np.testing.assert_allclose(found, p[name], rtol=1e-9, atol=1e-12, err_msg=name)
    assert np.abs(p["P"] - read_parameters(make_model())["P"]).max() > 1e-3


def test_forward_gradient_and_training_are_those_of_torch():
    torch = pytest.importorskip("torch")
    model = make_model()
    p = {name: torch.tensor(np.array(value), requires_grad=True) for name, value in read_parameters(model).items()}
    x, y = torch.tensor(X), torch.tensor(Y)

    def forward():
        inner = torch.nn.functional.linear(
            torch.tanh(torch.nn.functional.linear(x, p["A"].T, p["a"])), p["B"].T, p["b"]
        )
        h = torch.nn.functional.linear(x, p["P"].T) + SCALE * inner
        return torch.nn.functional.linear(h, p["C"].T, p["c"])

    np.testing.assert_allclose(model(X), forward().detach().numpy(), rtol=1e-12)
    value, gradient = ut.value_and_grad(loss)(model, X, Y)
    found = torch.nn.functional.mse_loss(forward(), y)
    found.backward()
    assert float(value) == pytest.approx(float(found), rel=1e-12)
    for name, ours in read_parameters(gradient).items():
        np.testing.assert_allclose(ours, p[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)
    descent = torch.optim.SGD(list(p.values()), lr=RATE)
    for _ in range(STEPS):
        descent.zero_grad()
        torch.nn.functional.mse_loss(forward(), y).backward()
        descent.step()
    for name, ours in read_parameters(train().model).items():
        np.testing.assert_allclose(ours, p[name].detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
