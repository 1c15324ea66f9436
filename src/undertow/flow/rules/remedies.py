"""What mends it, as Python, as an option of `undertow train`, and as plain data that `undertow.flow.cure` applies.

The code takes ``model``, ``X`` and ``y`` as they were given to the training; see `undertow.flow.rules.written`.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from undertow.data.likeness import SENTENCES
from undertow.data.roles import LEFT_OUT
from undertow.flow.findings import Remedy
from undertow.flow.names import names_of
from undertow.flow.record import Flow
from undertow.flow.rules.measures import NORMS, Array, end_of_rates, optimizer_of, rescales
from undertow.flow.rules.written import train_call, write_loss, write_optimizer

POSITIVE: Final = ("sigmoid", "hard_sigmoid", "softplus")  # whose outputs have a mean that all examples share
LEAST_BATCH: Final = 16  # examples over which BatchNorm can normalise
CLIPPED_STEP: Final = 0.2  # of the norm of all weights, from which on a clipped step is too large still
RELU_DEPTH: Final = 13  # layers with the output, up to which relu was measured to help sigmoids as much as tanh
_LEAST_POWER: Final = 40  # of ten: float32 knows no ratio beyond


def rate_of(flow: Flow) -> float | None:
    """The learning rate that was set, or the largest of a schedule; None where none is known."""
    told: Any = flow.settings.get("optimizer") or {}
    while isinstance(told, dict) and "rate" not in told:
        told = told.get("optimizer", told.get("default"))
    rate = told.get("rate") if isinstance(told, dict) else None
    if isinstance(rate, int | float):
        return float(rate)
    rates = flow.scalars["rate"]
    rates = rates[~(rates != rates)]
    return float(rates.max()) if len(rates) else None


def other_rate(flow: Flow, factor: float) -> Remedy:
    """Train with a rate that is so many times larger."""
    rate = rate_of(flow)
    if factor > 1 and end_of_rates(flow) is not None:
        return lasting_schedule(flow)
    word = "larger" if factor > 1 else "smaller"
    if rate is None:  # a loop of one's own, whose rate nobody told, or a schedule that is a function
        times = f"{factor if factor > 1 else 1 / factor:,.0f}"
        code = f"rate = rate * {factor:g}"
        if flow.settings.get("optimizer"):
            code = train_call(flow, optimizer=write_optimizer(flow, factor=factor))
        return Remedy(f"A learning rate {times} times {word}.", code, "", "rate", {"factor": factor})
    new = float(f"{rate * factor:.1g}")
    return Remedy(
        f"A {word} learning rate: {new:g} instead of {rate:g}.",
        train_call(flow, optimizer=write_optimizer(flow, new)), f"--rate {new:g}", "rate", {"to": new},
    )  # fmt: skip


def calmer_rates(flow: Flow, ratio: float, losses: Array) -> list[Remedy]:
    """Train with a rate whose first update is a hundredth of the weights, to a factor of ten, or with a fifth of that.

    The larger comes first: of 16 trainings with rates far too large, it was better in 15. Where the weights begin at 0,
    the growth of the losses tells: along the steepest direction of a bowl of curvature λ a step multiplies the loss by
    (1 − rate · λ)², and a rate of 1/λ takes it to the bottom. The first step of rmsprop is 1/√(1 − β) times as large as
    those after it, since its mean square begins at 0.
    """
    if math.isnan(ratio):
        told = losses[np.isfinite(losses) & (losses > 0)]
        growth = float((told[-1] / told[0]) ** (1 / (len(told) - 1))) if len(told) > 1 else 1.0
        ratio = 0.01 * (1 + math.sqrt(max(growth, 1.0)))
    if optimizer_of(flow) == "rmsprop":
        ratio *= math.sqrt(max(1 - float((flow.settings.get("optimizer") or {}).get("beta") or 0.99), 1e-4))
    power = -min(max(math.ceil(math.log10(max(ratio, 1e-12) / 0.01)), 1), _LEAST_POWER)
    return [other_rate(flow, factor * 10.0**power) for factor in ((5, 1) if power < -1 else (1,))]


def lasting_schedule(flow: Flow) -> Remedy:
    """Train with a rate that does not come to an end before the training does."""
    if flow.of_loop:
        code = "rate = first_rate / (1 + step / n_steps)  # or first_rate at every step"
        return Remedy("A learning rate that stays, or comes down as slowly as the training goes.", code, "", "rate", {})
    rate = rate_of(flow) or 0.1
    return Remedy(
        f"A learning rate that stays at {rate:g}, or a schedule that lasts for all {int(flow.steps[-1])} steps.",
        train_call(flow, optimizer=write_optimizer(flow, constant=rate)), "--schedule constant", "rate",
        {"constant": rate},
    )  # fmt: skip


def changed(flow: Flow, change: str, call: str, module: str = "changes") -> str:
    """Write the code of a change of the model, which finds its places wherever they are, and of the training.

    It finds none among layers of the user's own: then there is no code.
    """
    if not _ours(flow):
        return ""
    return f"from undertow.flow.{module} import {change}\nbetter = {call}\n{train_call(flow, model='better')}"


def _ours(flow: Flow) -> bool:
    """Whether most of the layers with weights are `undertow.nn.Dense`, or no model of layers is known at all."""
    kinds = [x.kind for x in flow.layers if x.weights is not None and x.kind not in (*NORMS, "parameter")]
    return 2 * kinds.count("Dense") >= len(kinds)


def other_activation(flow: Flow, to: str = "relu", of: str = "sigmoid") -> Remedy:
    """Put another activation in the place of one."""
    return Remedy(
        f"{to} instead of {of}: its slope {'is 1 at 0' if to == 'tanh' else 'does not shrink what flows back'}.",
        changed(flow, "with_activation", f'with_activation(model, "{to}", of="{of}")'), f"--activation {to}",
        "activation", {"to": to, "from": of},
    )  # fmt: skip


def other_initialiser(flow: Flow, to: str, why: str = "it keeps the size of what flows") -> Remedy:
    """Begin with weights of another initialiser; of layers of the user's own, their `initial` draws them."""
    if not _ours(flow):
        sentence = f"Initial weights by {to} in the layer's own `initial`: {why}."
        return Remedy(sentence, "", "", "initialisation", {"to": to})
    code = (
        "from dataclasses import replace\n"
        "def begin(item):\n"
        f'    return replace(item, init="{to}", W=None, b=None) if isinstance(item, ut.nn.Dense) else item\n'
        "better = ut.nn.map_layers(model, begin)"
    )
    return Remedy(
        f"Initial weights by {to}: {why}.", f"{code}\n{train_call(flow, model='better')}", f"--init {to}",
        "initialisation", {"to": to},
    )  # fmt: skip


def begin_gains(flow: Flow) -> Remedy:
    """Begin with the gains that normalisations begin with by themselves."""
    sentence = "Keep the gains of normalisations at 1, where they begin by themselves."
    return Remedy(sentence, changed(flow, "with_gains", "with_gains(model)"), "", "initialisation", {"gains": 1})


def normalise(flow: Flow, kind: str = "LayerNorm") -> Remedy:
    """Put a normalisation before each activation."""
    name = {"LayerNorm": "layer", "BatchNorm": "batch", "RMSNorm": "rms"}[kind]
    return Remedy(
        f"{kind} after each hidden layer: it holds the size of z, whatever the weights are.",
        changed(flow, "with_normalisation", f'with_normalisation(model, "{name}")'), f"--norm {name}",
        "normalisation", {"to": name},
    )  # fmt: skip


def add_residual(flow: Flow) -> Remedy:
    """Add what goes into a layer to what comes out of it."""
    return Remedy(
        "Residual blocks around the hidden layers: the gradient then has a way past them.",
        changed(flow, "with_residuals", "with_residuals(model)"), "--residual", "residual", {},
    )  # fmt: skip


def clip(flow: Flow, limit: float = 1.0) -> Remedy:
    """Bound the norm of the gradient."""
    return Remedy(
        f"Gradients clipped at the norm {limit:g}.",
        train_call(flow, clip=f"ut.optim.clip_by_global_norm({limit:g})"), f"--clip {limit:g}", "clipping",
        {"limit": limit},
    )  # fmt: skip


def clip_where_it_helps(flow: Flow, limit: float = 1.0) -> list[Remedy]:
    """Bound the norm of the gradient; nothing where it is so already, or where that would not make steps small.

    A rule that divides each gradient by its own size goes as far after clipping. The others go no farther than the rate
    times the limit: on handwritten digits, in three networks, up to 0.18 of the norm of all weights that let a training
    work whose steps were too large without; from 0.2 on it did not.
    """
    told = flow.settings.get("clip") or {}
    if rescales(flow) or (told.get("name") == "clip_by_global_norm" and told.get("limit", limit) <= limit):
        return []
    beta = (flow.settings.get("optimizer") or {}).get("beta")
    farthest = (rate_of(flow) or 0.0) * limit / (1 - beta if isinstance(beta, float) and beta < 1 else 1.0)
    norms = flow.scalars["weight_norm"]
    norms = norms[norms > 0]
    return [] if len(norms) and farthest > CLIPPED_STEP * norms[0] else [clip(flow, limit)]


def scale_inputs(flow: Flow) -> Remedy:
    """Bring the columns of X to mean 0 and deviation 1."""
    code = "deviation = X.std(axis=0)\nscaled = (X - X.mean(axis=0)) / (deviation + (deviation == 0))"
    return Remedy(
        "Columns of mean 0 and deviation 1; keep mean and deviation of the training part for predictions.",
        f"{code}\n{train_call(flow, X='scaled')}", "--scaling standard", "scaling", {},
    )  # fmt: skip


def scale_target(flow: Flow) -> Remedy:
    """Bring y to mean 0 and deviation 1."""
    code = "scaled = (y - y.mean(axis=0)) / y.std(axis=0)"
    return Remedy(
        "A target of mean 0 and deviation 1; multiply predictions by the deviation and add the mean.",
        f"{code}\n{train_call(flow, y='scaled')}", "--target-scaling standard", "target_scaling", {},
    )  # fmt: skip


def other_batch_size(flow: Flow, size: int) -> Remedy:
    """Train with so many examples a step."""
    return Remedy(
        f"Batches of {size}.", train_call(flow, batch_size=str(size)), f"--batch-size {size}", "batch_size",
        {"to": size},
    )  # fmt: skip


def more_epochs(flow: Flow, factor: int = 3) -> Remedy:
    """Train for longer."""
    if not flow.settings.get("optimizer") and len(flow):  # a loop of one's own, which knows steps alone
        return Remedy(f"More steps: {factor * int(flow.steps[-1])}.", "", "", "epochs", {"factor": factor})
    epochs = max(int(flow.settings.get("epochs") or (flow.epochs[-1] if len(flow) else 1)), 1) * factor
    code = train_call(flow, epochs=str(epochs))
    if isinstance((flow.settings.get("optimizer") or {}).get("rate"), dict):  # a schedule, which is to last as long
        code = train_call(flow, epochs=str(epochs), optimizer=write_optimizer(flow, longer=factor))
    return Remedy(f"More epochs: {epochs}.", code, f"--epochs {epochs}", "epochs", {"to": epochs})


def stop_early(flow: Flow, patience: int = 5) -> Remedy:
    """Stop where the validation loss no longer falls, and keep the best model."""
    return Remedy(
        f"Early stopping: the run holds the model of the best epoch, and ends {patience} epochs after it.",
        train_call(flow, early_stopping=str(patience)), f"--early-stopping {patience}", "early_stopping",
        {"patience": patience},
    )  # fmt: skip


def regularise(flow: Flow, l2: float = 1e-3) -> Remedy:
    """Keep the weights small."""
    return Remedy(f"Weights held small: l2={l2:g}.", train_call(flow, l2=f"{l2:g}"), f"--l2 {l2:g}", "l2", {"to": l2})


def weaker_penalty(flow: Flow, name: str, to: float) -> Remedy:
    """Let a penalty, or the bound on the weights of a unit, weigh less."""
    now, option = flow.settings.get(name) or 0.0, "--" + name.replace("_", "-")
    what = "A bound on weights that leaves them room" if name == "max_norm" else "A weaker penalty"
    return Remedy(
        f"{what}: {name}={to:g} instead of {now:g}.", train_call(flow, **{name: f"{to:g}"}), f"{option} {to:g}",
        "regularisation", {name: to},
    )  # fmt: skip


def weaker_decay(flow: Flow, now: float, to: float) -> Remedy:
    """Let weights decay less."""
    return Remedy(
        f"A weaker weight decay: {to:g} instead of {now:g}.",
        train_call(flow, optimizer=write_optimizer(flow, decay=to)), f"--decay {to:g}",
        "regularisation", {"decay": to},
    )  # fmt: skip


def weaker_noise(flow: Flow, kind: str, now: float, to: float) -> Remedy:
    """Let layers disturb less of what passes through them."""
    return Remedy(
        f"{kind}({to:g}) instead of {kind}({now:g}).",
        changed(flow, "with_noise", f'with_noise(model, "{kind}", {to:g})'), f"--{kind.lower()} {to:g}",
        "regularisation", {kind.lower(): to},
    )  # fmt: skip


def less_smoothing(flow: Flow, now: float, to: float = 0.1) -> Remedy:
    """Let targets say more."""
    return Remedy(
        f"Label smoothing of {to:g} instead of {now:g}.", train_call(flow, loss=write_loss(flow, label_smoothing=to)),
        f"--label-smoothing {to:g}", "regularisation", {"label_smoothing": to},
    )  # fmt: skip


def weigh_classes(flow: Flow) -> Remedy:
    """Let each class count the same in all."""
    return Remedy(
        "Weights by which all classes count the same.",
        train_call(flow, class_weights='"balanced"'), "--class-weights balanced", "weights", {"to": "balanced"},
    )  # fmt: skip


def other_loss(flow: Flow, to: str, sentence: str) -> Remedy:
    """Train by another loss."""
    return Remedy(sentence, train_call(flow, loss=f'"{to}"'), f"--loss {to}", "loss", {"to": to})


def turn_loss(flow: Flow) -> Remedy:
    """Turn the sign of a loss of one's own."""
    name = str(flow.settings.get("loss") or "the loss")
    name = name if name.isidentifier() else "loss"
    code = f"{'turned' if name == 'loss' else 'loss'} = lambda *args: -{name}(*args)"  # one of its own name has no end
    return Remedy("Turn the sign of the loss.", code, "", "loss", {"turn": True})


def without_end(flow: Flow, sentence: str) -> Remedy:
    """Leave out the last activation."""
    code = "better = ut.nn.drop_final_activation(model)"
    return Remedy(
        sentence, f"{code}\n{train_call(flow, model='better')}", "--output-activation none", "activation",
        {"to": "identity", "where": "output"},
    )  # fmt: skip


def with_end(flow: Flow, to: str, sentence: str, drop: int = 0) -> Remedy:
    """End in an activation; ``drop`` tells how many that are there go first."""
    begin = "model"
    for _ in range(drop):
        begin = f"ut.nn.drop_final_activation({begin})"
    code = f'better = ut.nn.Sequential(*{begin}.layers, "{to}")'
    return Remedy(
        sentence, f"{code}\n{train_call(flow, model='better')}", f"--output-activation {to}", "activation",
        {"to": to, "where": "output"},
    )  # fmt: skip


def widen(flow: Flow, least: int) -> Remedy:
    """Give narrow hidden layers more units."""
    sizes = [max(x.fan_out or 0, least) for x in flow.layers if x.kind == "Dense"][:-1]
    option = f"--hidden {','.join(map(str, sizes))}" if sizes else ""
    return Remedy(
        f"At least {least} units in each hidden layer.",
        changed(flow, "with_width", f"with_width(model, {least})", "widths"), option, "width", {"least": least},
    )  # fmt: skip


def write_leave_out(flow: Flow, names: Sequence[str]) -> str:
    """Write the option that leaves columns out; nothing where one has a comma in its name, or there are none.

    Those that are left out already are among them, for the option takes the place of what was told before.
    """
    before = [
        name for name, why in (names_of(flow).get("left_out") or {}).items() if str(why).endswith(f": {LEFT_OUT}.")
    ]
    known = list(dict.fromkeys([*before, *names]))
    return f"--leave-out {shlex.quote(','.join(known))}" if names and not any("," in x for x in known) else ""


def drop_columns(flow: Flow, columns: Sequence[int], left: int) -> Remedy:
    """Leave columns out that have one value; by name where all features that a column gave are among them."""
    features = names_of(flow).get("features") or []
    constant = {i for i in columns if i < len(features)}
    named = [features[i][1] for i in sorted(constant)]
    varied = {column for i, (_, column) in enumerate(features) if i not in constant}
    option = write_leave_out(flow, named) if len(named) == len(columns) and varied.isdisjoint(named) else ""
    by_itself = "" if option else ", as undertow train does with those of a table by itself"
    code = f"varied = X.std(axis=0) > 0\nX = X[:, varied]  # the first layer then takes {left} columns"
    return mend_data(f"Leave the constant columns out{by_itself}.", code, option, drop_constant=True)


def mend_data(sentence: str, code: str, option: str = "", **change: bool) -> Remedy:
    """Change the data."""
    return Remedy(sentence, code, option, "data", change)


def use_words(flow: Flow) -> list[Remedy]:
    """Use the words of texts that were left out of a table; nothing where none look like sentences."""
    names = names_of(flow)
    left = [name for name, reason in (names.get("left_out") or {}).items() if SENTENCES in reason]
    if not left:
        return []
    kind = "MLPClassifier" if names.get("classes") else "MLPRegressor"
    return [
        mend_data(
            f"The words of {left[0]!r}: the column was left out, as texts that hardly repeat.",
            "from sklearn.feature_extraction.text import TfidfVectorizer\n"
            "from sklearn.pipeline import make_pipeline\n"
            f"from undertow.sklearn import {kind}\n"
            f"better = make_pipeline(TfidfVectorizer(min_df=2), {kind}())\n"
            f"better.fit(frame[{left[0]!r}], frame[{names['target']!r}])",
        )
    ]


def less_momentum(flow: Flow) -> list[Remedy]:
    """Let steps remember less of those before; nothing where they remember little."""
    settings = flow.settings.get("optimizer") or {}
    name, rate = optimizer_of(flow), rate_of(flow)
    key = "beta" if name in ("momentum", "nesterov") else "beta1"  # the β of rmsprop is of squares
    beta = settings.get(key)
    if not isinstance(beta, float) or beta <= 0.9 or rate is None:
        return []
    code = train_call(flow, optimizer=write_optimizer(flow, **{key: 0.9}))
    return [
        Remedy(
            f"A momentum of 0.9 instead of {beta:g}.", code, f"--optimizer {name}:{key}=0.9", "rate", {"momentum": 0.9}
        )
    ]


def drop_units(flow: Flow, rate: float = 0.2) -> Remedy:
    """Leave units out at random while the model trains."""
    return Remedy(
        f"Dropout of {rate:g} after each activation: units cannot rely on single others.",
        changed(flow, "with_dropout", f"with_dropout(model, {rate:g})"), f"--dropout {rate:g}", "dropout",
        {"to": rate},
    )  # fmt: skip


def start_at_frequencies(flow: Flow) -> Remedy:
    """Let the output begin with what is known without inputs."""
    code = "better = ut.nn.start_at_frequencies(model, y, scale=0.1)"
    return Remedy(
        "Small weights in the output layer, and biases from how often each class occurs.",
        f"{code}\n{train_call(flow, model='better')}", "--start-at-frequencies", "initialisation", {"output": True},
    )  # fmt: skip


def is_number(value: Any) -> bool:
    """Whether something is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
