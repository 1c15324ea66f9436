"""A loop written by hand: what update says where gradient, state and parameters do not fit."""

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest

from undertow import nn, optim
from undertow.errors import ArgumentError, DTypeError, ShapeError

PARAMS = [np.ones((4, 2)), np.zeros(2)]
GRADS = [np.full((4, 2), 0.5), np.ones(2)]
NESTED = [optim.adam(), optim.lookahead(optim.adam()), optim.grouped(optim.adam(), {"[0]": optim.momentum()})]


def plain_init(params):
    return ()


def plain_update(grads, state, params):
    return [w - g for w, g in zip(params, grads, strict=True)], state


@pytest.mark.parametrize("make", optim.OPTIMIZERS.values(), ids=optim.OPTIMIZERS)
@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1), (2, 1, 0), (1, 0, 2)])
def test_another_order_of_the_arguments_never_fails_inside(make, order):
    rule = make()
    given = [GRADS, rule.init(PARAMS), PARAMS]
    if order == (2, 1, 0):  # parameters for the gradient: nothing tells them apart
        given[0] = (0.3, GRADS)
    with pytest.raises(ArgumentError, match=rf"^{rule.name}\.update\(gradient, state, parameters\): "):
        rule.update(*[given[i] for i in order])


@pytest.mark.parametrize("rule", NESTED, ids=lambda rule: rule.name)
def test_the_message_says_which_argument_is_what(rule):
    kind = type(rule.init(PARAMS)).__name__
    with pytest.raises(ArgumentError, match=f"the third argument is a state, {kind}. Give them in this order"):
        rule.update(PARAMS, GRADS, rule.init(PARAMS))
    for state, word in ((None, "None"), (GRADS, "a list"), (optim.adamw(0.1).init, "a function")):
        with pytest.raises(ArgumentError, match=rf"the state is {word}, not an? {kind}. Begin with state = optimizer"):
            rule.update(GRADS, state, PARAMS)
    with pytest.raises(ArgumentError, match=r"is a pair \(value, gradient\). Take it apart: value, gradient = ut"):
        rule.update((0.3, GRADS), rule.init(PARAMS), PARAMS)
    with pytest.raises(ArgumentError, match=re.escape("has the parts [0], the parameters [0], [1]. Give the")):
        rule.update(GRADS[:1], rule.init(PARAMS), PARAMS)


def test_a_state_of_other_parameters_and_of_another_rule():
    rule = optim.adam()
    with pytest.raises(ArgumentError, match=r"the state is one of other parameters. Begin with"):
        rule.update(GRADS, rule.init([*PARAMS, np.ones(1)]), PARAMS)
    with pytest.raises(ArgumentError, match=r"the state is a MomentumState, not an AdamState. Begin with"):
        rule.update(GRADS, optim.momentum().init(PARAMS), PARAMS)


@pytest.mark.parametrize("rule", [optim.sgd(), *NESTED], ids=lambda rule: rule.name)
@pytest.mark.parametrize("wrong", [np.ones((2, 4)), np.ones(2), np.ones((1, 2)), np.float64(1.0)])
def test_a_gradient_of_another_shape_never_broadcasts_the_parameters(rule, wrong):
    with pytest.raises(ShapeError, match=r"\[0\] is \(4, 2\), its gradient .*: the shapes differ. Give the gradient"):
        rule.update([wrong, GRADS[1]], rule.init(PARAMS), PARAMS)


def test_what_fits_is_what_it_was_and_a_rule_of_ones_own_is_copied_and_pickled():
    mine = optim.Optimizer("mine", plain_init, plain_update)
    again = [copy.deepcopy(mine), pickle.loads(pickle.dumps(mine)), replace(mine, name="other")]
    for rule in again:
        np.testing.assert_array_equal(rule.update(GRADS, (), PARAMS)[0][0], np.full((4, 2), 0.5))
        with pytest.raises(ShapeError, match=rf"^{rule.name}\.update"):
            rule.update([GRADS[0].T, GRADS[1]], (), PARAMS)
    with pytest.raises(ZeroDivisionError):  # an error of the rule's own stays
        optim.Optimizer("fails", plain_init, lambda g, s, w: 1 / 0).update(GRADS, (), PARAMS)
    with pytest.raises(AttributeError, match=r"no attribute 'mean'"):
        optim.Optimizer("fails", plain_init, lambda g, s, w: g.mean).update(GRADS, (), PARAMS)


def test_words_of_other_libraries():
    with pytest.raises(AttributeError, match=r"no attribute 'step'. Use model, state = optimizer.update\(gradient, "):
        optim.adam().step()
    with pytest.raises(AttributeError, match=r"no attribute 'zero_grad'. Gradients are not kept anywhere"):
        optim.adam().zero_grad()
    model = nn.initialize(nn.Sequential(nn.Dense(4, 2)), 0)
    for parameters in (model, PARAMS, (PARAMS[0],), {"W": PARAMS[0]}, PARAMS[0]):
        with pytest.raises(ArgumentError, match=r"adam: the rate is an? \w+. Give a number, adam\(1e-3\): parameters"):
            optim.adam(parameters)
    for word, told in (("init", "initialize"), ("forward", r"model\(X\)"), ("backward", "value_and_grad")):
        with pytest.raises(AttributeError, match=told):
            getattr(model, word)


@pytest.mark.parametrize("make", [*optim.OPTIMIZERS.values(), lambda: optim.lookahead(optim.adam())])
def test_names_flags_and_functions_among_parameters_stay_as_they_are(make):
    """As `ut.grad` leaves them: a tree with them is trained as one without."""
    beside = {"activation": "relu", "frozen": True, "act": np.tanh, "none": None, "raw": b"x"}
    rule, W = make(), np.array([1.0, -2.0, 3.0])
    plain, mixed = {"W": W}, {"W": W, **beside}
    states = rule.init(plain), rule.init(mixed)
    for _ in range(3):
        g = np.cos(plain["W"])
        plain, first = rule.update({"W": g}, states[0], plain)
        mixed, second = rule.update({"W": g, **beside}, states[1], mixed)
        states = first, second
        np.testing.assert_array_equal(mixed["W"], plain["W"])
        assert {key: mixed[key] for key in beside} == beside and mixed["frozen"] is True
    clip = optim.clip_by_global_norm(0.1)
    clipped = (
        clip.apply({"W": W, **beside}, mixed) if hasattr(clip, "apply") else clip.apply_with_factor(mixed, mixed)[0]
    )
    np.testing.assert_allclose(np.linalg.norm(clipped["W"]), 0.1)


@pytest.mark.parametrize("make", optim.OPTIMIZERS.values(), ids=optim.OPTIMIZERS)
@pytest.mark.parametrize("bad", [np.array(["relu"]), np.str_("relu"), np.array([None]), np.array(["2020"], "M8[Y]")])
def test_arrays_of_what_is_no_number_are_named(make, bad):
    rule, params = make(), {"W": np.ones(2), "layer": {"name": bad}}
    with pytest.raises(DTypeError, match=r"the parameter \['layer'\]\['name'\] is .*: only numbers are trained"):
        rule.update(params, rule.init(params), params)
