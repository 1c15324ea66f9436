"""Loops that train against each other, or follow what is trained, are not judged by their losses; others are."""

import itertools

import numpy as np
import pytest

import undertow as ut
from undertow.flow import diagnose


def dense(rng, *sizes):
    return [(rng.standard_normal((a, b)) * np.sqrt(2 / a), np.zeros(b)) for a, b in itertools.pairwise(sizes)]


def score(params, x):
    for W, b in params[:-1]:
        x = np.tanh(x @ W + b)
    return x @ params[-1][0] + params[-1][1]


def step(params, gradient, rate):
    return [(W - rate * dW, b - rate * db) for (W, b), (dW, db) in zip(params, gradient, strict=True)]


def softplus(z):
    return np.logaddexp(0, z)


def against(D, real, fake):
    return np.mean(softplus(-score(D, real))) + np.mean(softplus(score(D, fake)))


def generator(G, D, z):
    return np.mean(softplus(-score(D, score(G, z))))


def kinds(flow, **facts):
    flow.facts.update(facts)
    return {x.kind for x in diagnose(flow)}


def play(recorded, n=200, rate=0.1, seed=5):
    """Goodfellow et al., Generative adversarial nets, NIPS 2014, algorithm 1, in two dimensions."""
    rng = np.random.default_rng(seed)
    G, D = dense(rng, 4, 16, 2), dense(rng, 2, 16, 1)
    players = [
        ut.flow.recorded(f) if name in recorded else ut.value_and_grad(f)
        for name, f in (("D", against), ("G", generator))
    ]
    for _ in range(n):
        real, z = [2, -1] + 0.5 * rng.standard_normal((64, 2)), rng.standard_normal((64, 4))
        D = step(D, players[0](D, real, score(G, z))[1], rate)
        G = step(G, players[1](G, D, z)[1], rate)
    return [x.flow for x, name in zip(players, "DG", strict=True) if name in recorded]


@pytest.mark.parametrize("recorded", ["DG", "D", "G"])
def test_players_are_not_judged_by_their_losses(recorded):
    """At the equilibrium that of a discriminator is 2 ln 2, whatever it does; proposition 2 there."""
    flows = play(recorded)
    assert [kinds(flow) for flow in flows] == [set()] * len(recorded)
    if "D" in recorded:
        assert flows[0].scalars["loss"][-20:].mean() == pytest.approx(2 * np.log(2), abs=0.1)
        still = {"moving": False, "mixture": {"batches": 200}}
        assert kinds(flows[0], **still) == {"plateau"}  # which the same curve is elsewhere


def test_targets_that_a_slow_copy_makes_move():
    """Mnih et al., Human-level control through deep reinforcement learning, Nature 2015, algorithm 1."""
    rng = np.random.default_rng(0)
    Q = target = dense(rng, 4, 16, 2)

    def loss(Q, target, s, a, r, then):
        best = ut.stop_gradient(np.max(score(target, then), axis=1))
        return np.mean((np.sum(score(Q, s) * a, axis=1) - r - 0.9 * best) ** 2)

    measured = ut.flow.recorded(loss)
    for t in range(60):
        s, a = rng.standard_normal((32, 4)), np.eye(2)[rng.integers(0, 2, 32)]
        _, gradient = measured(Q, target, s, a, (s[:, 0] > 0) * a[:, 0], s + 0.3 * rng.standard_normal(s.shape))
        Q = step(Q, gradient, 0.01)
        target = Q if t % 5 == 0 else target
    assert measured.flow.facts["moving"]


def test_what_stays_and_batches_that_are_drawn_do_not_move():
    rng = np.random.default_rng(0)
    teacher, student, other = dense(rng, 4, 16, 1), dense(rng, 4, 16, 1), dense(rng, 4, 16, 1)

    def loss(student, teacher, batch):
        return np.mean((score(student, batch["X"]) - score(teacher, batch["X"]) + 0 * np.sum(batch["more"])) ** 2)

    first, then = ut.flow.recorded(loss), ut.flow.recorded(loss)
    for _ in range(30):
        teacher = step(teacher, first(teacher, other, draw(rng))[1], 0.05)
    for _ in range(60):
        student = step(student, then(student, teacher, draw(rng))[1], 0.05)
    assert not first.flow.facts["moving"] and not then.flow.facts["moving"]


def draw(rng):
    return {"X": rng.standard_normal((32, 4)), "more": 5 + rng.standard_normal((7, 2))}


def test_two_fixed_sets_that_cannot_be_told_apart_are_a_plateau():
    rng = np.random.default_rng(3)
    D, measured = dense(rng, 5, 8, 1), ut.flow.recorded(against)
    D = [D[0], (0.1 * D[1][0], D[1][1])]
    for _ in range(150):
        D = step(D, measured(D, rng.standard_normal((32, 5)), rng.standard_normal((32, 5)))[1], 0.05)
    assert measured.flow.facts["mixture"]["drifts"] < 5
    assert {x.kind for x in measured.findings} == {"plateau"}
