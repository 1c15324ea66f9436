"""Each rule on records that are made by hand: it finds what was put in, names the cause, and is silent without it."""

import dataclasses
import io

import numpy as np
import pytest

import undertow as ut
from made_flows import made_flow
from undertow.flow import Finding, Flow, diagnose, show_findings
from undertow.flow.diagnose import FOLLOWS, ORDER, explains
from undertow.flow.findings import SEVERITIES
from undertow.flow.rules import RULES
from undertow.flow.rules.units import _natural_share

FLAT = np.full(100, np.log(10))  # a loss that stays where it begins


def kinds(flow):
    return [finding.kind for finding in diagnose(flow)]


def only(flow):
    (finding,) = diagnose(flow)
    return finding


@pytest.mark.parametrize("n", [1, 2, 3, 10, 40])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_a_healthy_training_has_no_findings(n, activation):
    assert diagnose(made_flow(n, activation=activation)) == []


def test_a_record_with_nothing_in_it_has_no_findings():
    assert diagnose(Flow.empty(())) == []
    flow = made_flow()
    flow.looks, flow.facts, flow.settings, flow.history = [], {}, {}, []
    assert diagnose(flow) == []


def test_what_is_no_record_is_refused():
    with pytest.raises(ut.ArgumentError, match="takes the record of a training"):
        diagnose(made_flow().layers)


# Gradients


def test_a_gradient_that_shrinks_by_a_factor_a_layer_vanishes():
    found = only(made_flow(10, activation="sigmoid", delta=0.03 * 0.25 ** np.arange(9, -1, -1), loss=FLAT))
    assert (found.kind, found.severity, found.paths[0]) == ("vanishing", "error", "layers[0]")
    assert found.evidence[0].value == pytest.approx(0.25**9, rel=1e-3)
    assert found.evidence[1].value == pytest.approx(0.25, rel=1e-3)
    assert "slope of sigmoid" in found.cause


def test_it_vanishes_though_the_gradients_by_the_weights_are_equal():
    """Glorot and Bengio 2010, section 4.2.2: δ falls, dW does not."""
    found = only(made_flow(12, activation="tanh", delta=0.03 * 0.57 ** np.arange(11, -1, -1), loss=FLAT))
    assert found.kind == "vanishing"
    assert {x.text: x.value for x in found.evidence}["RMS of dW in layer 1 by that in layer 12"] == pytest.approx(1)


def test_layers_of_other_widths_do_not_hide_or_make_a_gradient_that_vanishes():
    """‖δ‖ is compared, not the RMS, which is smaller in wide layers."""
    flow = made_flow(5, width=4096)
    assert flow.stat("delta.rms")[0, 0] < 0.06 * flow.stat("delta.rms")[0, -1]
    assert diagnose(flow) == []


def test_one_layer_with_small_weights_is_named():
    delta = np.array([1e-5, 1e-5, 1e-5, 1e-5, 0.03, 0.03, 0.03, 0.03])
    W = np.sqrt(2 / 32) * np.array([1, 1, 1, 1, 3e-4, 1, 1, 1])
    found = only(made_flow(8, delta=delta, stats={"W.rms": W}, loss=FLAT))
    assert (found.kind, found.layers[0]) == ("vanishing", "layer 5, Dense(32, 32)")
    assert found.remedies[0].name == "initialisation"


def test_with_adam_a_small_gradient_that_learns_is_no_matter():
    delta = 0.03 * 0.5 ** np.arange(9, -1, -1)
    assert kinds(made_flow(10, delta=delta, optimizer={"name": "adam", "rate": 1e-3})) == []
    assert kinds(made_flow(10, delta=delta, optimizer={"name": "adam", "rate": 1e-3}, loss=FLAT)) == ["vanishing"]


def test_a_gradient_that_is_cut_off_all_at_once_did_not_vanish():
    """Units that die let nothing through: what was well before the first step is exactly 0 after it."""
    cut = np.repeat([np.full(8, 0.03), [0.0] * 5 + [0.03] * 3], [1, 99], axis=0)
    assert "vanishing" not in kinds(made_flow(8, delta=cut, loss=FLAT))
    never = np.array([0.0] * 5 + [0.03] * 3)  # below what float32 holds from the beginning
    assert "vanishing" in kinds(made_flow(8, delta=never, loss=FLAT))


def test_branches_of_residual_blocks_are_left_out():
    """A branch that begins at 0 gets next to no gradient, and need not."""
    flow = made_flow(8, delta=np.array([0.03, 1e-9, 0.03, 1e-9, 0.03, 1e-9, 0.03, 0.03]), loss=FLAT + 0)
    branches = [dataclasses.replace(x, within="layers[9]") if x.number in (2, 4, 6) else x for x in flow.layers]
    flow.layers = tuple(branches)
    assert "vanishing" not in kinds(flow)


def test_a_gradient_that_grows_by_a_factor_a_layer_explodes():
    found = only(made_flow(10, delta=0.03 * 2.0 ** np.arange(9, -1, -1), loss=FLAT * 5, stats={"W.rms": 0.5}))
    assert (found.kind, found.severity, found.paths[0]) == ("exploding", "error", "layers[0]")
    assert found.evidence[0].value == pytest.approx(2**9, rel=1e-3)


# Units


def test_a_layer_that_is_dead_from_the_beginning():
    dead = {1: {"dead": 32, "rank": 0.0, "rank_of_input": 8.0}}
    found = only(made_flow(first=dead, loss=FLAT, delta=np.array([0, 0, 0.03, 0.03]), stats={"z.mean": -9.0}))
    assert (found.kind, found.severity, found.paths[0], found.step) == ("born-dead-layer", "error", "layers[2]", 0)
    assert any(x.text == "follows from it: plateau" for x in found.evidence)


@pytest.mark.parametrize(
    ("before", "after", "found"), [(1, 6, []), (0, 7, []), (0, 9, ["dead-units"]), (1, 20, ["dead-units"])]
)
def test_many_units_that_died(before, after, found):
    assert kinds(made_flow(first={0: {"dead": before}}, last={0: {"dead": after}})) == found


@pytest.mark.parametrize(("cosine", "found"), [(0.3, ["dead-units"]), (0.98, [])])
def test_units_are_dead_by_nature_where_all_examples_look_alike(cosine, found):
    first = {0: {"correlation": cosine}, 1: {"dead": 12}}
    assert kinds(made_flow(first=first, last={1: {"dead": 12}})) == found


def test_the_share_that_is_dead_by_nature_is_that_of_random_units():
    rng = np.random.default_rng(0)
    for cosine in (0.7, 0.9, 0.98):
        common, own = rng.standard_normal(2000), rng.standard_normal((256, 2000))
        z = np.sqrt(cosine) * common + np.sqrt(1 - cosine) * own  # of 256 examples in 2000 units
        assert _natural_share(cosine, 256) == pytest.approx((z < 0).all(axis=0).mean(), abs=0.05)


def test_saturation_counts_before_training_and_where_nothing_is_learned():
    full, half = {1: {"saturated": 0.8}}, {"saturated": np.array([0.02, 0.8, 0.02, np.nan])}
    found = only(made_flow(activation="tanh", first=full, last=full, stats=half))
    assert (found.kind, found.paths[0], found.step) == ("saturation", "layers[2]", 0)
    late = {1: {"saturated": 0.9}}
    assert kinds(made_flow(activation="tanh", first={}, last=late, stats=half)) == []
    assert kinds(made_flow(activation="tanh", first={}, last=late, stats=half, loss=FLAT)) == ["saturation"]


def test_equal_units():
    same = {0: {"identical": 32}}
    assert only(made_flow(first=same, loss=FLAT)).kind == "identical-units"
    assert kinds(made_flow(first=same, last={})) == []  # they parted
    assert kinds(made_flow(first={3: {"W_rms": 0.0}})) == []  # an output layer may begin at 0


def test_a_layer_that_takes_the_rank_away():
    fallen = {1: {"rank": 1.05, "rank_of_input": 8.0}, 2: {"rank": 1.02, "rank_of_input": 1.05}}
    found = only(made_flow(first=fallen))
    assert (found.kind, found.paths[0]) == ("rank-collapse", "layers[2]")
    assert kinds(made_flow(first={}, last=fallen)) == []  # few classes need few directions


# Loss and steps


def test_a_loss_that_is_not_a_number_is_told_with_its_origin():
    told = {"step": 7, "epoch": 1, "where": "forward", "operation": "log", "line": "model.py:3", "name": "q",
            "layer": "layers[2]", "values": [-1.0], "sentence": "log (model.py:3) gives nan for -1"}  # fmt: skip
    found = only(made_flow(facts={"non_finite": told}))
    assert (found.kind, found.severity, found.step, found.paths) == ("non-finite", "error", 7, ("layers[2]",))
    assert found.cause == "log (model.py:3) gives nan for -1 (step 7, epoch 1)."


def test_a_loss_that_blows_up_is_a_step_that_is_too_large():
    curve = np.append(np.log(10) * 3.0 ** np.arange(20), np.nan)
    told = {"step": 21, "epoch": 3, "where": "forward", "operation": "multiply", "values": [], "sentence": "multiply"}
    found = only(made_flow(loss=curve, stats={"ratio": 0.8}, facts={"non_finite": told}))
    assert found.kind == "step-too-large"
    assert found.evidence[-1].text == "follows from it: non-finite"
    assert found.remedies[0].change["to"] < 0.01


def test_weights_that_do_not_move():
    found = only(made_flow(loss=FLAT - np.linspace(0, 0.01, 100), stats={"ratio": 1e-6}))
    assert (found.kind, found.severity) == ("step-too-small", "error")
    assert found.remedies[0].change["to"] > 1


def test_a_loss_that_swings_at_full_batch():
    curve = 1 + 0.3 * (-1.0) ** np.arange(100)
    full = {"batch_size": 640, "n_examples": 640}
    assert kinds(made_flow(loss=curve, facts=full)) == ["oscillation"]
    assert kinds(made_flow(loss=curve)) == []  # of single batches that is noise


def test_what_dropout_draws_is_no_swing_of_full_batches():
    """The loss swings as much at a rate thirty times smaller, so steps are no cause."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 6))
    y = (X[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
    for rate in (0.003, 0.0001):
        for dropout in (0.1, 0.5):
            layers = (ut.nn.Dense(6, 64), "silu", ut.nn.Dropout(dropout), ut.nn.Dense(64, 2))
            run = ut.train(
                ut.nn.Sequential(*layers), (X, y), loss="categorical_cross_entropy", optimizer=ut.optim.adam(rate),
                epochs=100, batch_size=60, validation=None, progress=False,
            )  # fmt: skip
            assert "oscillation" not in [x.kind for x in run.findings], (rate, dropout)


@pytest.mark.parametrize("mean", [0.2, 1.0])
def test_the_swing_that_is_found_lies_outside_of_what_is_expected(mean):
    """A small loss swings by much of itself, though by little of what the loss was before training."""
    curve = np.append(np.log(10), mean + 0.06 * (-1.0) ** np.arange(100))
    found = only(made_flow(loss=curve, facts={"batch_size": 640, "n_examples": 640}))
    assert found.kind == "oscillation"
    assert found.evidence[0].value > float(found.evidence[0].expected.removeprefix("below "))


@pytest.mark.parametrize(("end", "found"), [(np.log(10), ["plateau"]), (0.02, [])])
def test_a_loss_that_stands_still(end, found):
    curve = np.log(10) + (end - np.log(10)) * (1 - np.exp(-np.arange(100) / 8))
    assert kinds(made_flow(loss=curve)) == found


def test_over_fitting_and_early_stopping():
    flow = made_flow()
    held = [2.1, 1.6, 1.4, 1.3, 1.4, 1.6, 1.8, 2.0, 2.1, 2.2]
    flow.history = [
        {**row, "validation_loss": x, "step": 10 * row["epoch"]} for row, x in zip(flow.history, held, strict=True)
    ]
    found = only(flow)
    assert (found.kind, found.step) == ("over-fitting", 40)
    flow.settings["early_stopping"] = 5
    assert diagnose(flow) == []


@pytest.mark.parametrize(
    ("initial", "gain", "found"), [(2.6, 1, []), (6.0, 1, []), (6.0, 5, ["initial-loss"]), (300.0, 1, ["initial-loss"])]
)
def test_the_loss_before_training(initial, gain, found):
    changes = {3: {"W_rms": gain / np.sqrt(32), "z_rms": 0.7 * gain}}
    flow = made_flow(first=changes, facts={"output": {"initial_loss": initial}})
    flow.looks[0] = dataclasses.replace(flow.looks[0], loss=initial)
    assert kinds(flow) == found


@pytest.mark.parametrize(("factor", "found"), [(0.01, ["always-clipped"]), (0.9, []), (1.0, [])])
def test_steps_that_are_always_clipped(factor, found):
    flow = made_flow(clip={"name": "clip_by_global_norm", "limit": 0.1})
    flow.scalars["clip"] = np.full(100, factor)
    assert kinds(flow) == found


# Data and the end of the network


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"std_range": [0.01, 0.5], "mean_range": [0.0, 1.0], "std_median": 0.3}, []),  # pixels, categories
        ({"std_range": [0.5, 1.0], "mean_range": [0.0, 2000.0]}, ["input-not-scaled"]),  # years
        ({"std_range": [0.1, 300.0], "std_median": 1.0, "largest": 1680.0}, ["input-not-scaled"]),
        ({"std_range": [1e-4, 1e-3], "mean_range": [0.0, 1e-3]}, ["input-not-scaled"]),
        ({"n_constant": 2, "constant": [1, 5]}, ["constant-columns"]),
    ],
)
def test_columns(columns, found):
    assert kinds(made_flow(facts={"columns": columns})) == found


@pytest.mark.parametrize(
    ("deviations", "means", "why"),
    [
        ([0.1, 300.0], [0.0, 1.0], "the largest columns decide alone"),
        ([0.95, 1.05], [999.0, 1001.0], "their means, up to 1e+03, make z and the gradient"),
        ([95.0, 105.0], [-1.0, 1.0], "z and the gradient are as many times too large"),
    ],
)
def test_columns_that_are_alike_are_not_told_to_differ(deviations, means, why):
    columns = {"std_range": deviations, "mean_range": means, "largest": 1e3}
    assert why in diagnose(made_flow(facts={"columns": columns}))[0].cause


@pytest.mark.parametrize(
    ("mean", "std", "found"), [(0.0, 1.0, 0), (152.0, 77.0, 1), (1000.0, 1.0, 1), (0.0, 1e-4, 1), (3.0, 2.0, 0)]
)
def test_targets(mean, std, found):
    target = {"kind": "number", "mean": [mean], "std": [std], "largest": abs(mean) + 3 * std}
    output = {"loss": "mean_squared_error", "logits": False, "expected_loss": std**2, "uniform_loss": None}
    curve = std**2 * np.exp(-np.arange(100) / 30)
    flow = made_flow(loss=curve, facts={"target": target, "output": output | {"initial_loss": None}})
    assert kinds(flow) == ["target-not-scaled"] * found


@pytest.mark.parametrize(
    ("priors", "weights", "found"), [([0.6, 0.4], None, 0), ([0.95, 0.05], None, 1), ([0.95, 0.05], "balanced", 0)]
)
def test_rare_classes(priors, weights, found):
    facts = {"target": {"n_classes": 2, "priors": priors}, "output": {"expected_loss": 0.69, "uniform_loss": 0.69}}
    curve = 0.69 * np.exp(-np.arange(100) / 30)
    assert kinds(made_flow(loss=curve, facts=facts, class_weights=weights)) == ["imbalanced-classes"] * found


def test_rare_classes_are_called_what_their_table_calls_them():
    facts = {"target": {"n_classes": 2, "priors": [0.95, 0.05]}, "output": {"expected_loss": 0.2, "uniform_loss": 0.69}}
    for names, rare in ({"classes": ["benign", "malign"]}, "'malign'"), ({"classes": ["3", "7"]}, "7"), ({}, "1"):
        (finding,) = diagnose(made_flow(loss=0.2 * np.exp(-np.arange(100) / 30), facts=facts | {"names": names}))
        assert finding.cause.startswith(f"Class {rare} has 5.0% of the examples")
        assert finding.cause.endswith(f"say little of class {rare}.")
        assert finding.evidence[0].text == f"share of class {rare}"


@pytest.mark.parametrize(("shared", "found"), [(0, 0), (1, 0), (64, 1), (10, 1)])
def test_validation_rows_that_were_trained_on(shared, found):
    assert kinds(made_flow(facts={"shared_rows": shared})) == ["leakage"] * found


@pytest.mark.parametrize(("size", "last", "found"), [(64, 64, 0), (2, 2, 1), (64, 1, 0), (320, 1, 1)])
def test_batch_normalisation_over_few_examples(size, last, found):
    facts = {"normalised_by_batch": ["layers[0]"], "batch_size": size, "smallest_batch": last}
    assert kinds(made_flow(facts=facts)) == ["tiny-batch-normalisation"] * found


@pytest.mark.parametrize(
    ("end", "loss", "target", "found"),
    [
        ("softmax", "mean_squared_error", {"kind": "classes"}, 1),
        ("relu", "mean_squared_error", {"kind": "number", "mean": [0.0], "std": [1.0], "largest": 3.0}, 1),
        ("relu", "mean_squared_error", {"kind": "number", "mean": [4.0], "std": [1.0], "largest": 7.0}, 0),
        ("sigmoid", "mean_squared_error", {"kind": "number", "mean": [0.5], "std": [0.2], "largest": 0.9}, 0),
        ("tanh", "huber", {"kind": "number", "mean": [0.0], "std": [1.0], "largest": 3.0}, 1),
        ("softmax", "categorical_cross_entropy", {"kind": "classes"}, 0),
    ],
)  # fmt: skip
def test_the_end_of_the_network(end, loss, target, found):
    output = {"activation": end, "loss": loss, "logits": False, "expected_loss": None, "uniform_loss": None}
    assert kinds(made_flow(facts={"output": output, "target": target})) == ["loss-activation-mismatch"] * found


# What all findings share


def test_causes_come_before_what_follows_from_them():
    causes = {cause for kinds in FOLLOWS.values() for cause in kinds}
    assert causes | set(FOLLOWS) | set(RULES) == set(ORDER)
    for cause in sorted(causes):
        for kind, explained in FOLLOWS.items():
            if cause in explained:
                a, b = Finding(cause, "error", "", step=3), Finding(kind, "error", "", step=3)
                assert explains(a, b) != explains(b, a), (cause, kind)


def test_findings_are_sorted_and_can_be_read_again():
    dead = {0: {"dead": 30}}
    flow = made_flow(last=dead, facts={"shared_rows": 40, "columns": {"n_constant": 1, "constant": [3]}})
    found = diagnose(flow)
    assert [x.kind for x in found] == ["leakage", "dead-units", "constant-columns"]
    order = [SEVERITIES.index(x.severity) for x in found]
    assert order == sorted(order)
    assert [Finding.read(x.plain()) for x in found] == found
    assert all(x.source and x.cause.endswith(".") and x.evidence for x in found)


def test_every_rule_says_what_it_judges_and_by_which_source():
    for kind, rule in RULES.items():
        assert rule.text and rule.source, kind
        with pytest.raises(AttributeError, match="has no limit"):
            rule.nonsense  # noqa: B018


def test_findings_are_shown_in_a_terminal():
    from rich.console import Console

    flow = made_flow(10, activation="sigmoid", delta=0.03 * 0.25 ** np.arange(9, -1, -1), loss=FLAT)
    console = Console(width=100, color_system=None, record=True, file=io.StringIO())
    console.print(show_findings(diagnose(flow)))
    text = console.export_text()
    assert text.startswith("error: vanishing, layer 1, Dense(32, 32) and 9 more, from the beginning")
    assert "--activation relu" in text and "Source: Glorot and Bengio" in text
    console.print(show_findings([]))
    assert "Nothing found" in console.export_text()
