"""Update rules against hand-written formulas, PyTorch and optax; they are pure and keep the dtype."""

import numpy as np
import pytest

import optimizer_references as references
from undertow import optim, trees
from undertow.errors import ArgumentError

RNG = np.random.default_rng(1)
W0 = {"W": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2)}
GRADS = [{"W": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2)} for _ in range(5)]
RULES = [optim.sgd(0.1), optim.momentum(0.1, 0.8), optim.adam(0.1, 0.8, 0.95, 1e-3)]
ALL = [make() for make in optim.OPTIMIZERS.values()]
EVERY = [
    *ALL, optim.sgd(0.1, decay=0.1), optim.momentum(optim.cosine(0.1, 5)), optim.radam(0.1, beta2=0.9),
    optim.rmsprop(momentum=0.5, centered=True), optim.lookahead(optim.adam(), 2), optim.averaged(optim.sgd()),
    optim.averaged(optim.sgd(), corrected=False), optim.accumulate(optim.nadam(), 2, optim.clip_by_global_norm(1.0)),
    optim.scaled(optim.lamb(0.1)), optim.grouped(optim.adam(), {"W": optim.lion()}),
]  # fmt: skip
LOOSE = {  # single-precision numbers inside the references, even where the arrays are float64
    "nadam": 1e-7, "nadam, decay": 1e-7,  # PyTorch's product of μ
    "adamw, warm-up": 1e-6, "accumulate": 1e-6,  # optax's rate, and the weight of its running mean
}  # fmt: skip


def check_run(name, expected, dtype=np.float64, rtol=None):
    """Compare a run of ours with another, after each number of steps recorded and for each array."""
    rule, settings = references.CASES[name]
    found = references.run(optim.build_optimizer({"name": rule, **settings}), dtype)
    assert found.keys() == set(references.RECORDED)
    for t, params in found.items():
        for key, value in params.items():
            assert value.dtype == dtype
            rtol = rtol or (2e-5 if dtype == np.float32 else LOOSE.get(name, 1e-12))
            np.testing.assert_allclose(value, expected[t][key], rtol=rtol, atol=rtol / 100, err_msg=f"{name}, step {t}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", references.CASES)
def test_32_steps_are_those_recorded_of_pytorch_and_optax(name, dtype):
    """Every rule, with and without decay, schedule, wrapper and clipping, over 32 steps of three shapes."""
    check_run(name, references.recorded()[name], dtype)


def test_the_record_covers_every_rule():
    """No rule is without a run of another library to compare with."""
    assert {rule for rule, _ in references.CASES.values()} >= optim.OPTIMIZERS.keys()
    assert references.recorded().keys() == references.CASES.keys()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", references.TORCH)
def test_32_steps_are_those_of_torch(name, dtype):
    """Where PyTorch is installed, its optimizers run side by side with ours, in both precisions."""
    torch = pytest.importorskip("torch")
    check_run(name, references.run_torch(torch, name, dtype), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", references.OPTAX)
def test_32_steps_are_those_of_optax(name, dtype):
    """Where optax is installed, its optimizers run side by side with ours, in both precisions."""
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    check_run(name, references.run_optax(jax, optax, name, dtype), dtype)


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


@pytest.mark.parametrize("rule", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_updates_are_pure_and_keep_the_dtype(rule, dtype):
    """Parameters, gradients and states given are read only; new ones have their dtype; numbers stay Python floats."""
    params, grads = {"W": W0["W"].astype(dtype)}, {"W": GRADS[0]["W"].astype(dtype)}
    state = rule.init(params)
    for _ in range(3):
        for x in trees.flatten((params, grads, state))[0]:
            if isinstance(x, np.ndarray):
                x.flags.writeable = False
        params, state = rule.update(grads, state, params)
        assert params["W"].dtype == dtype
        for leaf in trees.flatten(state)[0]:
            assert type(leaf) is float or leaf.dtype == dtype


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_leaves_that_are_functions_are_kept(rule):
    """Activations inside a model's tuple of layers pass through every rule."""
    new, _ = rule.update((1.0, abs), rule.init((2.0, abs)), (2.0, abs))
    assert new[1] is abs and new[0] < 2.0


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_a_gradient_of_zero_moves_nothing(rule):
    """0 / 0 comes up nowhere: with gradients of 0 parameters stay, but for AdamW's decay."""
    params, state = {"W": W0["W"]}, rule.init({"W": W0["W"]})
    for _ in range(3):
        params, state = rule.update({"W": np.zeros((3, 2))}, state, params)
    kept = (1 - 0.001 * 0.01) ** 3 if rule.name == "adamw" else 1.0
    np.testing.assert_allclose(params["W"], W0["W"] * kept, rtol=1e-12)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_steps_are_proportional_to_the_scale(rule):
    """The fourth argument of update multiplies the rate: half of it moves half as far, from the same state."""
    state = rule.init(W0)
    for g in GRADS[:2]:
        _, state = rule.update(g, state, W0)
    whole, after = rule.update(GRADS[2], state, W0)
    half, after_half = rule.update(GRADS[2], state, W0, 0.5)
    for key in W0:
        np.testing.assert_allclose(half[key] - W0[key], (whole[key] - W0[key]) / 2, rtol=1e-9, atol=1e-15)
    for a, b in zip(trees.flatten(after)[0], trees.flatten(after_half)[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.sgd(-1),
        lambda: optim.sgd(float("nan")),
        lambda: optim.sgd("fast"),
        lambda: optim.momentum(0.1, 1),
        lambda: optim.adam(beta1=1),
        lambda: optim.adam(10**400),
        lambda: optim.nesterov(0.1, True),
        lambda: optim.adagrad(initial=-1),
        lambda: optim.rmsprop(centered=1),
        lambda: optim.rmsprop(momentum=1),
        lambda: optim.adadelta(epsilon=0),
        lambda: optim.adamw(decay=-0.1),
        lambda: optim.nadam(slowness=-1),
        lambda: optim.lion(decay=float("inf")),
        lambda: optim.lamb(beta1=1),
        lambda: optim.lookahead("adam"),
        lambda: optim.lookahead(optim.adam(), k=0),
        lambda: optim.lookahead(optim.adam(), alpha=2),
        lambda: optim.averaged(optim.adam(), 1),
        lambda: optim.accumulate(optim.adam(), 2.5),
        lambda: optim.accumulate(optim.adam(), 2, clip=1.0),
        lambda: optim.scaled(None),
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


def test_an_optimizer_that_was_not_called_is_told_by_its_name():
    with pytest.raises(ArgumentError, match=r"is the function adam itself\. Call it: undertow\.optim\.adam\("):
        optim.find_optimizer(optim.adam)
