"""Update rules against hand-written formulas and PyTorch; they are pure and keep the dtype."""

import numpy as np
import pytest

from undertow import optim
from undertow.errors import ArgumentError

RNG = np.random.default_rng(1)
W0 = {"W": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2)}
GRADS = [{"W": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2)} for _ in range(5)]
RULES = [optim.sgd(0.1), optim.momentum(0.1, 0.8), optim.adam(0.1, 0.8, 0.95, 1e-3)]


def run(rule, params, grads):
    state = rule.init(params)
    for g in grads:
        params, state = rule.update(g, state, params)
    return params


def by_hand(rule, w, grads):
    """The published algorithms, written with loops over numbers."""
    s, out = rule.settings, np.array(w)
    for index in np.ndindex(out.shape):
        x, m, v = float(w[index]), 0.0, 0.0
        for t, g in enumerate([float(g[index]) for g in grads], 1):
            if rule.name == "sgd":
                x -= s["rate"] * g
            elif rule.name == "momentum":
                v = s["beta"] * v + g
                x -= s["rate"] * v
            else:
                m = s["beta1"] * m + (1 - s["beta1"]) * g
                v = s["beta2"] * v + (1 - s["beta2"]) * g**2
                m_hat, v_hat = m / (1 - s["beta1"] ** t), v / (1 - s["beta2"] ** t)
                x -= s["rate"] * m_hat / (v_hat**0.5 + s["epsilon"])
        out[index] = x
    return out


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_five_steps_are_those_of_the_published_algorithm(rule):
    """Vectorised updates over a tree equal the algorithm carried out number by number."""
    new = run(rule, W0, GRADS)
    for key in W0:
        np.testing.assert_allclose(new[key], by_hand(rule, W0[key], [g[key] for g in GRADS]), rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        (optim.sgd(0.1), lambda torch, p: torch.optim.SGD(p, lr=0.1)),
        (optim.momentum(0.1, 0.8), lambda torch, p: torch.optim.SGD(p, lr=0.1, momentum=0.8)),
        (optim.adam(0.1), lambda torch, p: torch.optim.Adam(p, lr=0.1)),
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_five_steps_are_those_of_torch(rule, make):
    """PyTorch's optimizers of the same settings arrive at the same parameters."""
    torch = pytest.importorskip("torch")
    p = {key: torch.tensor(value, requires_grad=True) for key, value in W0.items()}
    reference = make(torch, list(p.values()))
    for g in GRADS:
        for key in p:
            p[key].grad = torch.tensor(g[key])
        reference.step()
    new = run(rule, W0, GRADS)
    for key in p:
        np.testing.assert_allclose(new[key], p[key].detach().numpy(), rtol=1e-10)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_updates_are_pure_and_keep_the_dtype(rule, dtype):
    """Parameters, gradients and states given are read only, and new ones have their dtype."""
    params, grads = {"W": W0["W"].astype(dtype)}, {"W": GRADS[0]["W"].astype(dtype)}
    for x in (params["W"], grads["W"]):
        x.flags.writeable = False
    state = rule.init(params)
    for _ in range(2):
        params, state = rule.update(grads, state, params)
        assert params["W"].dtype == dtype
        for tree in state:
            if isinstance(tree, dict):
                assert tree["W"].dtype == dtype
                tree["W"].flags.writeable = False


def test_leaves_that_are_functions_are_kept():
    """Activations inside a model's tuple of layers pass through every rule."""
    for rule in RULES:
        new, _ = rule.update((1.0, abs), rule.init((2.0, abs)), (2.0, abs))
        assert new[1] is abs and new[0] < 2.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.sgd(-1),
        lambda: optim.sgd(float("nan")),
        lambda: optim.sgd("fast"),
        lambda: optim.momentum(0.1, 1),
        lambda: optim.adam(beta1=1),
        lambda: optim.adam(beta2=-0.1),
        lambda: optim.adam(epsilon=0),
        lambda: optim.clip_by_value(0),
        lambda: optim.clip_by_global_norm(float("inf")),
        lambda: optim.find_optimizer("adamm"),
        lambda: optim.find_optimizer(3),
    ],
)
def test_settings_out_of_range_are_refused(make):
    """No rule can be made of a setting for which it makes no sense."""
    with pytest.raises(ArgumentError):
        make()
