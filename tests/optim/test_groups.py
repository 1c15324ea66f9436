"""Groups, wrappers and scales around a rule do what they say, and are made again of their settings."""

import json

import numpy as np
import pytest

from undertow import optim, trees
from undertow.errors import ArgumentError

RNG = np.random.default_rng(2)
PARAMS = {
    "layers": [{"W": RNG.standard_normal((3, 2)), "b": RNG.standard_normal(2)} for _ in range(2)],
    "g": np.ones(2),
}
GRADS = [trees.map(lambda w: RNG.standard_normal(w.shape), PARAMS) for _ in range(9)]


def run(rule, params=PARAMS, grads=GRADS):
    state, path = rule.init(params), []
    for g in grads:
        params, state = rule.update(g, state, params)
        path.append(params)
    return path, state


def assert_same(a, b, rtol=0.0):
    for x, y in zip(trees.flatten(a)[0], trees.flatten(b)[0], strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 10)


def test_each_group_moves_as_under_its_own_optimizer():
    """First pattern that fits counts; each array moves as it would alone."""
    rules = {
        "layers[0]*": optim.momentum(0.1), "*.b": None, lambda name, w: name == "g": optim.sgd(optim.cosine(0.5, 5))
    }  # fmt: skip
    path, _ = run(optim.grouped(optim.adam(0.2), rules))
    by_rule = [run(rule)[0] for rule in (optim.momentum(0.1), optim.sgd(optim.cosine(0.5, 5)), optim.adam(0.2))]
    for t, params in enumerate(path):
        assert_same(params["layers"][0], by_rule[0][t]["layers"][0])
        assert params["layers"][1]["b"] is PARAMS["layers"][1]["b"]
        assert_same(params["g"], by_rule[1][t]["g"])
        assert_same(params["layers"][1]["W"], by_rule[2][t]["layers"][1]["W"])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("layers[0]*", ["layers[0].W", "layers[0].b"]), ("*.b", ["layers[0].b", "layers[1].b"]), ("g", ["g"]),
     ("layers[?].W", ["layers[0].W", "layers[1].W"]), ("*b", ["layers[0].b", "layers[1].b"]),
     (lambda name, w: w.ndim == 2, ["layers[0].W", "layers[1].W"])],
)  # fmt: skip
def test_patterns_fit_names_with_brackets_as_they_stand(pattern, names):
    """`*` and `?` are wild; brackets are part of names, unlike in file patterns."""
    state = optim.grouped(None, {pattern: optim.momentum()}).init(PARAMS)
    assert sorted(state.groups[1].v) == names


@pytest.mark.parametrize("pattern", ["layers[2]*", "w", "", "b", lambda name, w: False])
def test_a_pattern_that_fits_nothing_is_refused(pattern):
    """With the names that there are."""
    with pytest.raises(ArgumentError, match=r"fits none of g, layers\[0\]\.W"):
        optim.grouped(optim.sgd(), {pattern: None}).init(PARAMS)


def test_groups_keep_functions_among_the_leaves():
    """A tuple of layers with activations in it."""
    new, _ = optim.grouped(optim.sgd(0.5), {"[0]": None}).update(
        (1.0, abs, 1.0), optim.GroupedState(((), ())), (2.0, abs, 2.0)
    )
    assert new == (2.0, abs, 1.5)


@pytest.mark.parametrize("make", [
    lambda: optim.grouped(1e-3, {}), lambda: optim.grouped(None, {"a": "adam"}), lambda: optim.grouped(None, [None]),
    lambda: optim.grouped(None, {3: None}),
])  # fmt: skip
def test_groups_of_something_else_are_refused(make):
    """Members are optimizers, None or 'frozen'; patterns are text or functions."""
    with pytest.raises(ArgumentError, match="grouped"):
        make()


def test_lookahead_goes_back_and_forth():
    """The slow weights after k steps of the fast ones, told in a loop."""
    path, state = run(optim.lookahead(optim.momentum(0.1), k=3, alpha=0.3))
    inner = optim.momentum(0.1)
    slow = fast = PARAMS
    inside = inner.init(fast)
    for t, g in enumerate(GRADS, 1):
        fast, inside = inner.update(g, inside, fast)
        if t % 3 == 0:
            slow = fast = trees.map(lambda s, f: s + 0.3 * (f - s), slow, fast)
        assert_same(path[t - 1], fast)
    assert_same(state.slow, slow)


@pytest.mark.parametrize("corrected", [True, False])
def test_the_average_is_that_of_all_weights_so_far(corrected):
    """The weighted mean computed from the whole path; the weights themselves move as without it."""
    path, state = run(optim.averaged(optim.adam(0.1), 0.7, corrected=corrected))
    assert_same(path[-1], run(optim.adam(0.1))[0][-1])
    weights = [0.3 * 0.7 ** (len(path) - 1 - t) for t in range(len(path))]
    seen = path if corrected else [PARAMS, *path]
    weights = [w / sum(weights) for w in weights] if corrected else [0.7 ** len(path), *weights]
    expected = trees.map(lambda *ws: sum(a * w for a, w in zip(weights, ws, strict=True)), *seen)
    assert_same(optim.average_of(state), expected, 1e-12)


def test_an_average_is_found_inside_other_states():
    """Scaled, scheduled, in groups: `average_of` looks through them; where there is none it says so."""
    rule = optim.scaled(optim.lookahead(optim.averaged(optim.sgd(optim.cosine(0.1, 9)))))
    assert_same(optim.average_of(rule.init(PARAMS)), PARAMS)
    with pytest.raises(ArgumentError, match="holds no average"):
        optim.average_of(optim.adam().init(PARAMS))


@pytest.mark.parametrize("clip", [None, optim.clip_by_global_norm(0.5)])
def test_gradients_are_accumulated(clip):
    """Three gradients make one update with their mean, which is what is clipped; between updates nothing moves."""
    path, state = run(optim.accumulate(optim.adam(optim.exponential(0.1, 0.5)), 3, clip))
    means = [trees.map(lambda *gs: sum(gs) / 3, *GRADS[i : i + 3]) for i in (0, 3, 6)]
    means = means if clip is None else [clip(g) for g in means]
    expected, inner = run(optim.adam(optim.exponential(0.1, 0.5)), grads=means)
    assert_same(path[1], PARAMS)
    for i, params in enumerate(expected):
        assert_same(path[3 * i + 2], params, 1e-12)
    assert_same(state.inner, inner, 1e-12)
    assert state.t == 0.0


def test_a_scale_multiplies_the_rate():
    """Half the scale is half the rate, for a constant one and for a schedule, and for a rule of the user's own."""
    own = optim.Optimizer("own", lambda params: (), lambda g, s, w: (trees.map(lambda w, g: w - 0.2 * g, w, g), s))
    for rule, half in [
        (optim.sgd(0.2), optim.sgd(0.1)), (optim.lamb(0.2), optim.lamb(0.1)),
        (optim.adam(optim.cosine(0.2, 5)), optim.adam(optim.cosine(0.1, 5))), (own, optim.sgd(0.1)),
        (optim.lookahead(optim.sgd(0.2), 2), optim.lookahead(optim.sgd(0.1), 2)),
        (optim.grouped(optim.sgd(0.2), {"g": optim.adam(0.2)}), optim.grouped(optim.sgd(0.1), {"g": optim.adam(0.1)})),
    ]:  # fmt: skip
        wrapped = optim.scaled(rule)
        params, state = PARAMS, optim.with_scale(wrapped.init(PARAMS), 0.5)
        for g in GRADS:
            params, state = wrapped.update(g, state, params)
        assert_same(params, run(half)[0][-1], 1e-12)
        assert_same(run(wrapped)[0][-1], run(rule)[0][-1])
    for state, scale in ((optim.adam().init(PARAMS), 0.5), (wrapped.init(PARAMS), -1.0)):
        with pytest.raises(ArgumentError):
            optim.with_scale(state, scale)


REBUILT = [
    *[make() for make in optim.OPTIMIZERS.values()],
    optim.adamw(optim.warmup(optim.cosine(0.1, 9), 3), decay=0.2),
    optim.rmsprop(momentum=0.5, centered=True),
    optim.lookahead(optim.averaged(optim.nadam(slowness=0.1), 0.9), 2),
    optim.accumulate(optim.sgd(0.1, decay=0.1), 2, optim.clip_adaptive()),
    optim.grouped(optim.lion(), {"*.b": "frozen", "g": optim.scaled(optim.radam(optim.table([0.1, 0.2])))}),
    optim.grouped("frozen", {"*.b": optim.adam()}),
]


@pytest.mark.parametrize("rule", REBUILT, ids=repr)
def test_settings_are_plain_data_that_make_the_optimizer_again(rule):
    """Through JSON and back the optimizer does the same to the last bit."""
    again = optim.build_optimizer(json.loads(json.dumps({"name": rule.name, **rule.settings})))
    assert again.settings == rule.settings
    assert_same(run(again), run(rule))


@pytest.mark.parametrize("settings", [
    None, 3, "adam", [], {}, {"name": 3}, {"name": "adamm"}, {"name": "adam", "speed": 1},
    {"name": "adam", "rate": "a"},
    {"name": "adam", "rate": None}, {"name": "adam", "rate": []}, {"name": "adam", "beta1": "0.9"},
    {"name": "adam", "rate": {}}, {"name": "adam", "rate": {"schedule": "cos"}}, {"name": "adam", 3: 4},
    {"name": "lookahead"}, {"name": "lookahead", "optimizer": "adam"}, {"name": "lookahead", "optimizer": {"name": 1}},
    {"name": "accumulate", "optimizer": {"name": "adam"}, "n": 2, "clip": {"name": "no"}},
    {"name": "accumulate", "optimizer": {"name": "adam"}, "n": 2, "clip": 3},
    {"name": "grouped"}, {"name": "grouped", "default": {"name": "adam"}, "groups": {"a": None}},
    {"name": "grouped", "default": None, "groups": [["a"]]},
    {"name": "grouped", "default": None, "groups": [[{"function": "f"}, None]]},
    {"name": "grouped", "default": None, "groups": [["a", 3]]},
    {"name": "adam", "rate": {"schedule": "function", "function": "f"}},
], ids=lambda x: str(x)[:60])  # fmt: skip
def test_hostile_settings_are_refused(settings):
    """Whatever a damaged file holds is an ArgumentError, never one from the inside."""
    with pytest.raises(ArgumentError):
        optim.build_optimizer(settings)


def test_settings_nested_without_end_are_refused():
    """Neither recursion nor memory runs out."""
    settings = {"name": "adam"}
    for _ in range(5000):
        settings = {"name": "scaled", "optimizer": settings}
    with pytest.raises(ArgumentError, match="nested deeper"):
        optim.build_optimizer(settings)
