"""What a training step did besides, an exported one does too: class weights, mixup, bound norms, left-out steps."""

from __future__ import annotations

import numpy as np
import pytest

import undertow as ut
from exported import draw, load_source
from undertow import nn, optim, trees
from undertow.cli import main
from undertow.export import export_source
from undertow.train import Plan, make_step
from undertow.train.derive import number_paths, numbers_of, put_numbers, trained_numbers
from undertow.train.objective import Objective, Target

X = draw(48, 6)
LABELS = np.repeat([0, 1, 2], [30, 12, 6])
COUNTED = 48 / (3 * np.array([30, 12, 6]))  # scikit-learn's "balanced"
BINARY = (LABELS > 0).astype(np.int64)
NETWORKS = {
    "plain": lambda k: nn.Sequential(nn.Dense(6, 5), "tanh", nn.Dense(5, k)),
    "statistics and dropout": lambda k: nn.Sequential(
        nn.Dense(6, 5), nn.BatchNorm(5), "relu", nn.Dropout(0.2), nn.Dense(5, k)
    ),
}


def trained(model, y, loss, **settings):
    more = {"epochs": 2, "batch_size": 16, "validation": None, "progress": False, "flow": False, **settings}
    return ut.train(model, (X, y), loss=loss, **more)


def compare(run, module, y, plan, weights=None, mix=None, X=X, steps=4):
    """Exported steps and those that training makes, from the same parameters and random numbers."""
    loss = nn.LOSSES[run.settings["loss"]]
    objective = Objective(loss, run.settings.get("l1", 0.0), run.settings.get("l2", 0.0))
    step = make_step(objective, *plan.rule(), plan.non_finite, plan.project())
    model, rebuild, paths = run.model, trees.flatten(run.model)[1], number_paths(run.model)
    y_read = y if loss.task == "categorical" else y[:, None].astype(np.float32)
    state, params, memory = step.init(model), module.PARAMS, module.init_state(module.PARAMS)
    for number in range(steps):
        keys = nn.example_keys(0, number, len(X)) if "Dropout" in repr(model) else None
        numbers = numbers_of(trees.flatten(model)[0])
        target = Target(y_read, weights, keys, mix)
        with np.errstate(all="ignore"):
            wanted, grads, replaced, seen = step.gradient.of_leaves(numbers_like(model), rebuild, X, target)
            grads = {paths[i]: g for i, g in grads.items()}
            now = {paths[i]: numbers[i] for i in trained_numbers(model)}
            results, new, state, _ = step.apply(wanted, grads, state, now, seen)
            kept = step.keep_statistics(
                {**results, "loss": wanted}, [*replaced.values()], [numbers[i] for i in replaced]
            )
            renewed = dict(zip(replaced, kept, strict=True))
            values = [renewed.get(i, new.get(paths[i], x)) for i, x in enumerate(numbers)]
            model = rebuild(put_numbers(trees.flatten(model)[0], values))
            given = {name: value for name, value in (("keys", keys), ("mix", mix)) if value is not None}
            found, params, memory = module.step(params, memory, X, y, **given)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for name, value in zip(module.PARAMS, numbers_of(trees.flatten(model)[0]), strict=True):
        np.testing.assert_allclose(params[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.asarray(params[name]).dtype == np.asarray(module.PARAMS[name]).dtype
    return params


def numbers_like(model):
    return trees.flatten(model)[0]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_all_of_it_together(network, l2, tmp_path):
    more = {"class_weights": "balanced", "mixup": 0.3, "max_norm": 0.8, "non_finite": "skip", "l2": l2}
    run = trained(NETWORKS[network](3), LABELS, "categorical_cross_entropy", optimizer=optim.adam(0.01), **more)
    path = export_source(run, tmp_path / "model.py")
    module = load_source(path)
    assert "leaves out" not in path.read_text() and "def bound(w):" in path.read_text()
    weights = COUNTED[LABELS].astype(np.float32)
    mix = np.random.default_rng(1).beta(0.3, 0.3, 48).astype(np.float32)
    plan = Plan(loss="categorical_cross_entropy", optimizer=optim.adam(0.01), max_norm=0.8, non_finite="skip")
    params = compare(run, module, LABELS, plan, weights, mix)
    for name in module.BOUND:
        assert np.linalg.norm(params[name], axis=0).max() <= 0.8 * (1 + 1e-6)
    assert [*module.BOUND] == [name for name, value in params.items() if np.ndim(value) == 2]


@pytest.mark.parametrize(
    ("wanted", "classes"), [("balanced", COUNTED), ({1: 5.0}, [1, 5, 1]), ([3.0, 1.0, 0.5], [3, 1, 0.5])]
)
def test_weights_of_classes(wanted, classes, tmp_path):
    """Those that were counted stand in the file; weights of examples multiply them."""
    run = trained(NETWORKS["plain"](3), LABELS, "categorical_cross_entropy", class_weights=wanted)
    module = load_source(export_source(run, tmp_path / "model.py"))
    np.testing.assert_allclose(module.CLASS_WEIGHTS, classes, rtol=1e-6)
    weights = np.asarray(classes, np.float32)[LABELS]
    compare(run, module, LABELS, Plan(loss="categorical_cross_entropy"), weights)
    p = run.predict_probability(X)[np.arange(48), LABELS]
    own = np.random.default_rng(0).uniform(size=48)
    loss = module.step(module.PARAMS, module.init_state(module.PARAMS), X, LABELS, own)[0]
    assert loss == pytest.approx(np.sum(-np.log(p) * own * weights) / np.sum(own * weights), rel=1e-5)
    assert module.step(module.PARAMS, module.init_state(module.PARAMS), X, LABELS, np.zeros(48))[0] == 0


def test_weights_of_two_classes_with_one_output(tmp_path):
    run = trained(NETWORKS["plain"](1), BINARY, "binary_cross_entropy", class_weights="balanced")
    module = load_source(export_source(run, tmp_path / "model.py"))
    np.testing.assert_allclose(module.CLASS_WEIGHTS, [48 / 60, 48 / 36], rtol=1e-6)
    compare(run, module, BINARY, Plan(loss="binary_cross_entropy"), module.CLASS_WEIGHTS[BINARY].astype(np.float32))


def test_frozen_weights_are_not_bound(tmp_path):
    """As in training: a norm is held where a parameter moves."""
    rule = optim.grouped(optim.sgd(0.1), {"layers[0]*": None})
    model = nn.initialize(NETWORKS["plain"](3))
    model.layers[0].W *= 9
    run = trained(model, LABELS, "categorical_cross_entropy", optimizer=rule, max_norm=0.5)
    module = load_source(export_source(run, tmp_path / "model.py"))
    assert len(module.BOUND) == 1 and np.linalg.norm(module.PARAMS["W1"], axis=0).max() > 1
    plan = Plan(loss="categorical_cross_entropy", optimizer=rule, max_norm=0.5)
    assert np.array_equal(compare(run, module, LABELS, plan)["W1"], module.PARAMS["W1"])


@pytest.mark.parametrize("frozen", ["*.b", "layers[0]*", "layers[2].W"])
@pytest.mark.parametrize("clip", [make(0.01) for make in optim.CLIPS.values()], ids=lambda clip: clip.name)
def test_gradients_of_frozen_parameters_count_in_no_norm(clip, frozen, tmp_path):
    """As in training: what does not move is not part of what is clipped."""
    rule = optim.grouped(optim.momentum(0.1), {frozen: None})
    run = trained(NETWORKS["plain"](3), LABELS, "categorical_cross_entropy", optimizer=rule, clip=clip)
    module = load_source(export_source(run, tmp_path / "model.py"))
    params = compare(run, module, LABELS, Plan(loss="categorical_cross_entropy", optimizer=rule, clip=clip))
    still = {name for name, value in params.items() if np.array_equal(value, module.PARAMS[name])}
    assert still == {"*.b": {"b1", "b2"}, "layers[0]*": {"W1", "b1"}, "layers[2].W": {"W2"}}[frozen]


@pytest.mark.parametrize("policy", ["skip", "zero"])
@pytest.mark.parametrize("network", NETWORKS)
def test_steps_that_are_not_finite(policy, network, tmp_path):
    """Left out altogether, or without the entries: as training does, for a batch with an infinite number."""
    run = trained(NETWORKS[network](3), LABELS, "categorical_cross_entropy", non_finite=policy)
    module = load_source(export_source(run, tmp_path / "model.py"))
    plan = Plan(loss="categorical_cross_entropy", non_finite=policy)
    bad = X.copy()
    bad[5, 0] = np.inf
    params = compare(run, module, LABELS, plan, X=bad)
    assert all(np.isfinite(value).all() for value in params.values())
    stays = all(np.array_equal(params[name], module.PARAMS[name]) for name in params)
    assert stays == (policy == "skip" or network != "plain")  # normalised by the batch, no entry is finite


def test_drawn_shares_are_beta_and_differ(tmp_path):
    run = trained(NETWORKS["plain"](3), LABELS, "categorical_cross_entropy", mixup=0.4)
    module = load_source(export_source(run, tmp_path / "model.py"))
    losses = {float(module.step(module.PARAMS, module.init_state(module.PARAMS), X, LABELS)[0]) for _ in range(5)}
    assert len(losses) == 5


def test_what_cannot_be_followed_is_said_in_the_file_and_on_the_console(tmp_path, capsys, monkeypatch):
    """A run of an earlier version knows that its classes were balanced, and not how."""
    run = trained(NETWORKS["plain"](3), LABELS, "categorical_cross_entropy", class_weights="balanced", mixup=0.1)
    del run.settings["class_weight_values"]
    run.save(tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["undertow", "export", str(tmp_path / "run"), str(tmp_path / "model.py")])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr()
    assert "note: its step leaves out what training had besides: class_weights (their values" in said.err
    text = (tmp_path / "model.py").read_text()
    assert "The step leaves out what training had besides: class_weights" in " ".join(text.split())
    assert "CLASS_WEIGHTS" not in text and "mix=None" in text
