"""Schedules against PyTorch's and optax's formulas; they trace; settings rebuild them; bad ones are refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import undertow as ut
from undertow import optim
from undertow.errors import ArgumentError, ControlFlowError

SCHEDULES = [
    optim.constant(0.3),
    optim.piecewise([0.3, 0.1, 0.0, 0.2], [3, 8, 11]),
    optim.piecewise([0.3], []),
    optim.step_decay(0.3, 0.5, every=4),
    optim.exponential(0.3, 0.8),
    optim.exponential(0.3, 2.0, steps=7),
    optim.polynomial(0.3, 9),
    optim.polynomial(0.3, 9, end=0.05, power=2.5),
    optim.inverse_square_root(0.3, warmup=6),
    optim.cosine(0.3, 9, end=0.01),
    optim.cosine_restarts(0.3, 4),
    optim.cosine_restarts(0.3, 3, growth=2, end=0.02),
    optim.cosine_restarts(0.3, 3, growth=1.5),
    optim.one_cycle(0.3, 20),
    optim.one_cycle(0.3, 20, rise=0.0),
    optim.one_cycle(0.3, 20, rise=0.55, start=0.1, end=0.0),
    optim.warmup(0.3, 5),
    optim.warmup(optim.cosine(0.3, 6), 5, start=0.01),
    optim.warmup(optim.warmup(optim.table([0.1, 0.2]), 2), 3),
    optim.table([0.5, 0.0, 0.25]),
]


def half_cosine(first, last, share):
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def restarted(rate, steps, growth, end, t):
    """SGDR told step by step, without a logarithm."""
    while t >= steps:
        t, steps = t - steps, steps * growth
    return half_cosine(rate, end, t / steps)


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (optim.piecewise([0.3, 0.1, 0.2], [3, 8]), lambda t: 0.3 if t < 3 else 0.1 if t < 8 else 0.2),
        (optim.step_decay(0.3, 0.5, every=4), lambda t: 0.3 * 0.5 ** (t // 4)),
        (optim.exponential(0.3, 2.0, steps=7), lambda t: 0.3 * 2 ** (t / 7)),
        (optim.polynomial(0.3, 9, end=0.05, power=2.5), lambda t: 0.05 + 0.25 * max(1 - t / 9, 0) ** 2.5),
        (optim.inverse_square_root(0.3, 6), lambda t: 0.3 * math.sqrt(6) * min((t + 1) ** -0.5, (t + 1) * 6**-1.5)),
        (optim.cosine(0.3, 9, end=0.01), lambda t: half_cosine(0.3, 0.01, min(t, 9) / 9)),
        (optim.cosine_restarts(0.3, 4), lambda t: restarted(0.3, 4, 1, 0.0, t)),
        (optim.cosine_restarts(0.3, 3, growth=2, end=0.02), lambda t: restarted(0.3, 3, 2, 0.02, t)),
        (optim.cosine_restarts(0.3, 7, growth=3), lambda t: restarted(0.3, 7, 3, 0.0, t)),
        (optim.warmup(optim.cosine(0.3, 6), 5, start=0.1),
         lambda t: 0.1 + 0.2 * t / 5 if t < 5 else half_cosine(0.3, 0, min(t - 5, 6) / 6)),
        (optim.warmup(optim.cosine(0.3, 6), 5),
         lambda t: min(t + 1, 6) * 0.05 if t <= 5 else half_cosine(0.3, 0, min(t - 5, 6) / 6)),
        (optim.warmup(0.3, 1), lambda t: 0.15 if t == 0 else 0.3),
        (optim.warmup(0.3, 0), lambda t: 0.3),
        (optim.warmup(optim.cosine(0.3, 6), 0, start=0.1), lambda t: 0.15 * (1 + math.cos(math.pi * min(t / 6, 1)))),
        (optim.table([0.5, 0.0, 0.25]), lambda t: [0.5, 0.0, 0.25][min(t, 2)]),
    ],
    ids=lambda x: x.name if isinstance(x, optim.Schedule) else "",
)  # fmt: skip
def test_rates_are_those_of_the_formula(schedule, formula):
    """200 rates, each against the schedule's definition written with Python's if and min."""
    for t in range(200):
        assert schedule(t) == pytest.approx(formula(t), rel=1e-9, abs=1e-15), t


@given(st.integers(0, 10**7), st.integers(1, 1000), st.sampled_from([1.0, 1.25, 2.0, 3.0, 10.0]))
def test_restarts_begin_exactly_where_a_round_ends(t, steps, growth):
    """The round is right at its first and last step too, wherever rounding puts the logarithm."""
    rate = optim.cosine_restarts(1.0, steps, growth)(t)
    assert rate == pytest.approx(restarted(1.0, steps, growth, 0.0, t), abs=1e-6)
    begin = steps
    for _ in range(6):
        if begin == int(begin):
            assert optim.cosine_restarts(1.0, steps, growth)(begin) == 1.0
        begin = begin + steps if growth == 1 else begin * growth + steps


TORCH_SCHEDULES = [
    (optim.step_decay(0.3, 0.5, every=4), "StepLR", {"step_size": 4, "gamma": 0.5}),
    (optim.exponential(0.3, 0.8), "ExponentialLR", {"gamma": 0.8}),
    (optim.warmup(0.3, 5), "LinearLR", {"start_factor": 1 / 6, "total_iters": 5}),
    (optim.polynomial(0.3, 9, power=2.0), "PolynomialLR", {"total_iters": 9, "power": 2.0}),
    (optim.cosine_restarts(0.3, 3, 2, 0.02), "CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.02}),
    (optim.one_cycle(0.3, 40), "OneCycleLR", {"max_lr": 0.3, "total_steps": 40, "cycle_momentum": False}),
    (optim.one_cycle(0.3, 40, rise=0.5, start=0.1, end=0.02), "OneCycleLR",
     {"max_lr": 0.3, "total_steps": 40, "pct_start": 0.5, "div_factor": 10, "final_div_factor": 5,
      "cycle_momentum": False}),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "kind", "options"), TORCH_SCHEDULES, ids=lambda x: str(x)[:40])
def test_rates_are_those_of_torch(schedule, kind, options):
    """PyTorch's schedulers, step by step."""
    torch = pytest.importorskip("torch")
    reference = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(reference, **options)
    for t in range(40):
        assert schedule(t) == pytest.approx(reference.param_groups[0]["lr"], rel=1e-9, abs=1e-14), t
        if t < 39:
            reference.step()
            scheduler.step()


def test_one_cycle_is_that_recorded_of_torch():
    """OneCycleLR(max_lr=1, total_steps=10), each rate as torch 2.13.0 gives it."""
    recorded = [
        0.04, 0.52, 1.0, 0.9504846320134737, 0.8117456539497631, 0.6112620219362893, 0.3887419780637108,
        0.18825834605023707, 0.04951936798652655, 4e-06,
    ]  # fmt: skip
    assert [optim.one_cycle(1.0, 10)(t) for t in range(10)] == pytest.approx(recorded, rel=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_compiled_schedule_gives_the_same_rates(schedule):
    """Each traces with the step's number as a traced value, and the compiled function agrees to the last digits."""
    compiled = ut.compile(lambda t: 0.0 + schedule(t))
    for t in range(45):
        assert float(compiled(float(t))) == pytest.approx(schedule(t), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_settings_are_plain_data_that_make_the_schedule_again(schedule):
    """Through JSON and back, every rate is the same float."""
    again = optim.build_schedule(json.loads(json.dumps(schedule.settings)))
    assert [again(t) for t in range(45)] == [schedule(t) for t in range(45)]
    assert again.settings == schedule.settings and repr(again) == repr(schedule)


def test_a_function_with_if_is_tabulated():
    """What cannot be traced says so and names the way out, and the table traces, compiles and rebuilds."""
    mine = lambda t: 0.1 if t < 10 else 0.1 / t
    schedule = optim.of_function(mine)
    assert [schedule(t) for t in (0, 20)] == [0.1, 0.005]
    with pytest.raises(ControlFlowError, match="tabulate"):
        ut.compile(lambda t: schedule(t) * 1.0)(3.0)
    table = optim.tabulate(mine, 30)
    compiled = ut.compile(lambda t: table(t) * 1.0)
    assert [float(compiled(float(t))) for t in range(30)] == [mine(t) for t in range(30)]
    assert table(99) == mine(29)
    assert optim.build_schedule(table.settings)(20) == mine(20)
    with pytest.raises(ArgumentError, match="a function of your own"):
        optim.build_schedule(schedule.settings)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None, "fast", 1j, np.ones(2)])
def test_a_rate_that_is_none_is_refused_with_its_step(value):
    """A schedule of the user's own that gives nonsense is named, with the step."""
    with pytest.raises(ArgumentError, match=r"at step 7\. Let it return a finite number"):
        optim.of_function(lambda t: value)(7)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda t: 0.1 * np.log(2.5 - t), r"the schedule <lambda> \(test_schedules.py:\d+\) gave -0.0693\S* at step 2"),
        (lambda t: 0.1 + 0.0 * np.sqrt(7 - t), r"the schedule <lambda> \(test_schedules.py:\d+\) gave nan at step 8"),
    ],
    ids=["below 0", "nan"],
)
def test_a_rate_that_a_compiled_step_would_not_notice_is_refused_before_training(function, told):
    """The step holds the function, so its numbers are asked for beside it; step 2 has log(½) = −0.693."""
    model, X = ut.nn.Sequential(ut.nn.Dense(1, 1)), np.ones((8, 1), np.float32)
    settings = {"loss": "mean_squared_error", "batch_size": 2, "epochs": 3, "validation": None, "progress": False}
    with pytest.raises(ArgumentError, match=told):
        ut.train(model, (X, X), optimizer=optim.sgd(function), **settings)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda t: math.cos(t), ControlFlowError, "tabulate"),
        (lambda t: [0.1, 0.2][int(t)], ControlFlowError, "tabulate"),
        (lambda t: min(t, 3.0), ControlFlowError, "tabulate"),
        (lambda t: "fast", ArgumentError, "gave 'fast' while the step is compiled"),
        (lambda t: np.ones(2) * t, ArgumentError, "a finite number"),
        (lambda t: -1.0, ArgumentError, "gave -1.0"),
    ],
)
def test_what_does_not_trace_is_told_with_the_way_out(function, error, message):
    """Python's own arithmetic on numbers, and results that are no rate; a plain constant is one."""
    with pytest.raises(error, match=message):
        ut.compile(lambda t: t + optim.of_function(function)(t))(1.0)
    assert float(ut.compile(lambda t: t + optim.of_function(lambda t: 0.5)(t))(1.0)) == 1.5


@pytest.mark.parametrize(
    "settings",
    [
        None, [], 3, {}, {"name": "cosine"}, {"schedule": None}, {"schedule": "cos"}, {"schedule": "__init__"},
        {"schedule": "cosine"}, {"schedule": "cosine", "rate": 0.1}, {"schedule": "cosine", "rate": "a", "steps": 3},
        {"schedule": "cosine", "rate": 0.1, "steps": 3.5}, {"schedule": "cosine", "rate": 0.1, "steps": 3, "x": 1},
        {"schedule": "cosine", "rate": [0.1], "steps": 3}, {"schedule": "cosine", "rate": 0.1, "steps": True},
        {"schedule": "cosine", "rate": 0.1, "steps": 3, 5: 1}, {"schedule": "table", "rates": []},
        {"schedule": "table", "rates": "0123"}, {"schedule": "table", "rates": [0.1, -1]},
        {"schedule": "piecewise", "rates": [0.1, 0.2], "boundaries": [1, 2]},
        {"schedule": "piecewise", "rates": [0.1, 0.2, 0.3], "boundaries": [2, 2]},
        {"schedule": "piecewise", "rates": [0.1, 0.2], "boundaries": [0]},
        {"schedule": "piecewise", "rates": [0.1, 0.2], "boundaries": ["a"]},
        {"schedule": "piecewise", "rates": [0.1, 0.2], "boundaries": {}},
        {"schedule": "warmup", "then": {"schedule": "warmup"}, "steps": 3},
        {"schedule": "warmup", "then": "cosine", "steps": 3}, {"schedule": "warmup", "then": None, "steps": 3},
        {"schedule": "cosine_restarts", "rate": 0.1, "steps": 3, "growth": 0.5},
        {"schedule": "one_cycle", "rate": 0.1, "steps": 1},
        {"schedule": "one_cycle", "rate": 0.1, "steps": 9, "rise": 1},
        {"schedule": "constant", "rate": 10**400}, {"schedule": "constant", "rate": True},
    ],
    ids=lambda x: str(x)[:60],
)  # fmt: skip
def test_hostile_settings_are_refused(settings):
    """Whatever a damaged file holds is an ArgumentError, never one from the inside."""
    with pytest.raises(ArgumentError):
        optim.build_schedule(settings)


def test_settings_nested_without_end_are_refused():
    """Neither recursion nor memory runs out."""
    settings = {"schedule": "constant", "rate": 0.1}
    for _ in range(5000):
        settings = {"schedule": "warmup", "then": settings, "steps": 1}
    with pytest.raises(ArgumentError, match="nested deeper"):
        optim.build_schedule(settings)


def count_plateau(values, factor, patience, min_delta, cooldown, lowest):
    """PyTorch's ReduceLROnPlateau (mode min, threshold_mode abs), told anew with counters."""
    best, bad, rest, scale, scales = math.inf, 0, 0, 1.0, []
    for value in values:
        better = value < best - min_delta
        best, bad = (value, 0) if better else (best, bad + 1)
        if rest:
            rest, bad = rest - 1, 0
        if bad > patience:
            scale, rest, bad = max(scale * factor, lowest), cooldown, 0
        scales.append(scale)
    return scales


@given(
    st.lists(st.one_of(st.floats(-5, 5), st.just(math.nan)), max_size=40), st.sampled_from([0.1, 0.5]),
    st.integers(0, 3), st.sampled_from([0.0, 0.5]), st.integers(0, 3), st.sampled_from([0.0, 0.2]),
)  # fmt: skip
def test_the_plateau_counts_as_described(values, factor, patience, min_delta, cooldown, lowest):
    """Any series of values, NaN among them, gives the scales of the counters."""
    settings = factor, patience, min_delta, cooldown, lowest
    rule = optim.reduce_on_plateau(*settings)
    state, scales = rule.init(), []
    for value in values:
        state, scale = rule.update(state, value)
        assert scale == state.scale
        scales.append(scale)
    assert scales == count_plateau(values, *settings)
    assert optim.reduce_on_plateau(**json.loads(json.dumps(rule.settings))) == rule


def test_the_plateau_is_that_of_torch():
    """ReduceLROnPlateau on a loss that falls and stalls twice."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    values = np.concatenate(
        [np.linspace(5, 1, 20), 1 + 0.1 * rng.random(30), np.linspace(0.9, 0.2, 9), np.full(30, 0.2)]
    )
    reference = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference, factor=0.3, patience=4, threshold=0.01, threshold_mode="abs", cooldown=3, min_lr=0.01, eps=0
    )
    rule = optim.reduce_on_plateau(0.3, 4, 0.01, 3, 0.01)
    state = rule.init()
    for value in values:
        scheduler.step(value)
        state, scale = rule.update(state, value)
        assert scale == pytest.approx(reference.param_groups[0]["lr"])
    assert scale < 0.1


@pytest.mark.parametrize("settings", [{"factor": 1}, {"factor": 0}, {"patience": -1}, {"patience": 1.5},
                                      {"min_delta": -1}, {"cooldown": True}, {"lowest": 1}])  # fmt: skip
def test_settings_of_a_plateau_are_read(settings):
    """Every setting out of range is named."""
    with pytest.raises(ArgumentError, match=f"reduce_on_plateau: {next(iter(settings))} must be"):
        optim.reduce_on_plateau(**settings)
