"""What to write here for what people are used to write with other libraries; the ends of error messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from undertow.spelling import did_you_mean

_ACTIVATION: Final = "An activation is a function or its name: Sequential(Dense(4, 8), 'relu', Dense(8, 3))."
_NO_CONVOLUTIONS: Final = "There are no convolutions; docs/layers.md has one: a dataclass with __call__(x)."
_NO_RECURRENCE: Final = "There are no recurrent layers; a layer of your own is a dataclass with __call__(x)."
_LOG_SIGMOID: Final = "It is -softplus(-z); any function of one array may stand in Sequential."
_HARD_SWISH: Final = "It is z * hard_sigmoid(z); any function of one array may stand in Sequential."
_NORMS: Final = "There are BatchNorm, LayerNorm and RMSNorm; a layer of your own is a dataclass with __call__(x)."
_OWN_LOSS: Final = "Any function of (output, y) that gives one number may be the loss of undertow.train."
_PENALTY: Final = "It belongs to the training: undertow.train(…, l1=…, l2=…)."
_SAVE: Final = (
    "A run is saved: run = undertow.train(…), then run.save(folder). A model that a loop of your own has trained: "
    "from undertow.train import Run, then Run(model).save(folder); undertow.load(folder).model is it again."
)
LAYERS: Final[dict[str, str]] = {
    "Linear": "Use Dense(fan_in, fan_out).",
    "Activation": _ACTIVATION,
    "BatchNorm1d": "Use BatchNorm(size).",
    "BatchNormalization": "Use BatchNorm(size).",
    "LayerNormalization": "Use LayerNorm(size).",
    "Conv1d": _NO_CONVOLUTIONS,
    "Conv2d": _NO_CONVOLUTIONS,
    "Conv2D": _NO_CONVOLUTIONS,
    "LSTM": _NO_RECURRENCE,
    "GRU": _NO_RECURRENCE,
    "Module": "A layer is a dataclass with __call__(x), whose fields are its parameters.",
    "Input": "The first layer tells how many columns it takes: Dense(4, 8).",
    "Model": "Use Sequential(…), or a dataclass with __call__(x).",
    "Layer": "A layer is a dataclass with __call__(x), whose fields are its parameters.",
    "ModuleList": "A tuple or list of layers in a field of a dataclass is part of the model.",
    "Parameter": "A float array in a field of a dataclass is trained; class attribute not_trained names exceptions.",
    "init": "Initialisers are functions: undertow.nn.he_normal(); a layer takes one as its argument.",
    "utils": "Clipping is undertow.optim.clip_by_global_norm(1.0), for undertow.train(…, clip=…).",
    "functional": "Activations and losses are functions: undertow.nn.relu, undertow.nn.categorical_cross_entropy.",
    "register_activation": "Use register_layer, which takes functions too.",
    "l1": _PENALTY,
    "l2": _PENALTY,
    "save": _SAVE,
    "load": "undertow.load(folder) is a run again, and run.model its model.",
    "LogSigmoid": _LOG_SIGMOID,
    "log_sigmoid": _LOG_SIGMOID,
    "logsigmoid": _LOG_SIGMOID,
    "Hardswish": _HARD_SWISH,
    "hard_swish": _HARD_SWISH,
    "hardswish": _HARD_SWISH,
    "hard_silu": _HARD_SWISH,
    "GroupNorm": _NORMS,
    "InstanceNorm1d": _NORMS,
    "MarginRankingLoss": _OWN_LOSS,
    "TripletMarginLoss": _OWN_LOSS,
    "mean_absolute_percentage_error": _OWN_LOSS,
    "Add": "Use Residual(…), or Parallel(a, b, combine='add').",
    "MultiheadAttention": "There is no attention; a layer of your own is a dataclass with __call__(x).",
}
_TRAIN: Final = "Train it with run = undertow.train(model, (X, y), loss=…)."
_RUN: Final = "A run does that: run = undertow.train(model, (X, y), loss=…), then "
_PARAMETERS: Final = (
    "Parameters are fields, such as model.layers[0].W; undertow.nn.parameters_of(model) gives them by name, and "
    "undertow.nn.put_parameters(model, arrays) a model that has others."
)
_PROCESSOR: Final = "Undertow runs on the processor; leave it out."
_GRADIENT: Final = "Differentiate a function: value, gradient = undertow.value_and_grad(loss)(model, X, y)."
MODELS: Final[dict[str, str]] = {
    "fit": _TRAIN,
    "compile": f"{_TRAIN[:-2]}, optimizer=…).",
    "predict": f"{_RUN}run.predict(X).",
    "predict_proba": f"{_RUN}run.predict_probability(X).",
    "evaluate": f"{_RUN}run.evaluate(X, y).",
    "score": f"{_RUN}run.evaluate(X, y).",
    "save": _SAVE,
    "load_state_dict": _PARAMETERS,
    "parameters": _PARAMETERS,
    "state_dict": _PARAMETERS,
    "weights": _PARAMETERS,
    "train": f"{_TRAIN} Layers such as Dropout know themselves whether a training is going on.",
    "eval": "run.predict(X) leaves Dropout out and takes BatchNorm's running statistics without being told.",
    "to": _PROCESSOR,
    "cuda": _PROCESSOR,
    "init": "Use model = undertow.nn.initialize(model, seed=0); undertow.train does so by itself.",
    "forward": "Call it: model(X).",
    "backward": _GRADIENT,
    "zero_grad": "Gradients are not kept anywhere; leave it out.",
    "requires_grad_": "undertow.optim.grouped(optimizer, {pattern: 'frozen'}) leaves parameters as they are.",
    "named_parameters": _PARAMETERS,
    "get_weights": _PARAMETERS,
    "add": "Give all layers at once: Sequential(a, b, c).",
    "append": "Give all layers at once: Sequential(a, b, c).",
}
_UPDATE: Final = "Use model, state = optimizer.update(gradient, state, model), after state = optimizer.init(model)."
OPTIMIZERS: Final[dict[str, str]] = {
    "step": _UPDATE,
    "apply": _UPDATE,
    "apply_gradients": _UPDATE,
    "minimize": f"{_UPDATE} undertow.train does it all.",
    "zero_grad": "Gradients are not kept anywhere; leave it out.",
    "state_dict": "The state is what init and update return: a tree of arrays, which undertow.trees.flatten lists.",
    "param_groups": "undertow.optim.grouped(optimizer, {pattern: another}) gives parameters optimizers of their own.",
    "lr": "Use optimizer.settings['rate'].",
    "rate": "Use optimizer.settings['rate'].",
    "learning_rate": "Use optimizer.settings['rate'].",
}
RULES: Final[dict[str, str]] = {
    "clip_grad_norm_": "Use clip_by_global_norm(1.0).",
    "clip_grad_value_": "Use clip_by_value(1.0).",
    "lr_scheduler": "Schedules are functions that stand for the rate: adam(cosine(1e-3, steps=1000)).",
    "ReduceLROnPlateau": "Use undertow.train(…, reduce_on_plateau=10), or from undertow.train import ReduceOnPlateau.",
    "apply_updates": "update returns the new parameters: params, state = optimizer.update(gradient, state, params).",
}
"""Names looked for in `undertow.optim`."""

_ARRAYS: Final = "Arrays are NumPy's: numpy.array(…)."
_TREES: Final = "undertow.trees.map and undertow.trees.flatten take trees of arrays."
_LOOP: Final = "Loops and branches are Python's: for, while, if. A compiled function takes numpy.where for a branch."
PACKAGE: Final[dict[str, str]] = {
    "jit": "Did you mean 'compile'?",
    "gradient": "Did you mean 'grad'?",
    "vmap": "Write it for a batch axis; undertow.per_example_grad gives a gradient for each example.",
    "jacfwd": "Did you mean 'jacobian'?",
    "jacrev": "Did you mean 'jacobian'?",
    "remat": "Use undertow.checkpoint(f), which computes f again on the way back.",
    "lax": _LOOP,
    "scan": _LOOP,
    "cond": _LOOP,
    "while_loop": _LOOP,
    "fori_loop": _LOOP,
    "random": "Draw with NumPy's numpy.random.default_rng(seed), and pass the numbers as an argument.",
    "tree": _TREES,
    "tree_map": _TREES,
    "tree_util": _TREES,
    "custom_jvp": "Use undertow.custom_vjp; jvp, jacobian and hvp follow from it.",
    "linearize": "undertow.vjp(f, x) gives the value and the pull-back, undertow.jvp(f, (x,), (v,)) the push-forward.",
    "make_vjp": "Use value, pull = undertow.vjp(f, x).",
    "make_jvp": "Use value, change = undertow.jvp(f, (x,), (v,)).",
    "hessian_vector_product": "Use undertow.hvp(f)(x, v).",
    "elementwise_grad": "Use undertow.grad(lambda x: numpy.sum(f(x))).",
    "egrad": "Use undertow.grad(lambda x: numpy.sum(f(x))).",
    "grad_and_aux": "Use value, pull = undertow.vjp(f, x), where f may return a tuple.",
    "pmap": _PROCESSOR,
    "device": _PROCESSOR,
    "device_put": _PROCESSOR,
    "devices": _PROCESSOR,
    "no_grad": "Nothing is recorded outside of undertow.grad; undertow.stop_gradient(x) makes x a constant in it.",
    "backward": "Use value, gradient = undertow.value_and_grad(loss)(params, X, y).",
    "tensor": _ARRAYS,
    "Tensor": _ARRAYS,
    "array": _ARRAYS,
    "numpy": "Functions are written with NumPy itself: import numpy as np.",
    "jnp": "Functions are written with NumPy itself: import numpy as np.",
    "scipy": "The functions of scipy.special are those of SciPy itself; see docs/numpy.md.",
    **dict.fromkeys(("primitive", "defvjp", "defjvp", "extend", "custom_gradient"), "Use undertow.custom_vjp."),
    **dict.fromkeys(("flatten", "ravel_pytree"), "undertow.trees.flatten gives the arrays of a tree, and rebuilds it."),
    **dict.fromkeys(("multigrad", "grad_named"), "Use undertow.grad(f, wrt=(0, 1)): positions of several arguments."),
    "deriv": "Use undertow.grad(f).",
    "holomorphic_grad": "Complex numbers are out of scope for now.",
    "linear_transpose": "undertow.vjp(f, x) gives the value and the pull-back, which is linear.",
    **dict.fromkeys(("Variable", "Parameter"), "Parameters are NumPy's arrays, given to the function as arguments."),
    "GradientTape": "Use value, gradient = undertow.value_and_grad(loss)(params, X, y).",
    **dict.fromkeys(("minimize", "minimise", "optimize"), "Use undertow.optim.minimize_lbfgs, or undertow.train."),
    "debug": "Values that are traced are printed by print; undertow.flow.recorded(loss) records a loop.",
    "Model": "Use undertow.nn.Sequential(…).",
    **{name: f"Use numpy.{name}." for name in ("where", "einsum", "tanh", "exp", "log", "zeros", "ones", "dot")},
    "Module": "A layer is a dataclass with __call__(x), whose fields are its parameters.",
    "DataLoader": "undertow.train takes arrays, and makes batches of batch_size.",
    "Dataset": "undertow.train takes arrays (X, y), or a source of undertow.data.",
    "fit": "Did you mean 'train'?",
    "predict": "A run predicts: run = undertow.train(…), then run.predict(X).",
    "save": _SAVE,
    "seed": "Give the seed where something is random: undertow.train(…, seed=0), undertow.nn.initialize(model, 0).",
    "manual_seed": "Give the seed where something is random: undertow.train(…, seed=0).",
    "optimizers": "Use undertow.optim.",
    "layers": "Use undertow.nn.",
    "losses": "Use undertow.nn.",
    "metrics": "undertow.train(…, metrics=[…]) takes names; undertow.train.METRICS lists them.",
    "MLPClassifier": "from undertow.sklearn import MLPClassifier",
    "MLPRegressor": "from undertow.sklearn import MLPRegressor",
}
"""Names looked for in `undertow`."""

ARRAYS: Final[dict[str, str]] = {
    "at": "Write x[i] = value, on a copy: x = x.copy().",
    "detach": "Use undertow.stop_gradient(x).",
    "numpy": "It is an array as NumPy's are; what it is of is known once the function has returned.",
    "cpu": _PROCESSOR,
    "to": _PROCESSOR,
    "cuda": _PROCESSOR,
    "float": "Use x.astype(numpy.float32).",
    "double": "Use x.astype(numpy.float64).",
    "backward": "Use value, gradient = undertow.value_and_grad(loss)(params, X, y).",
    "grad": "Use gradient = undertow.grad(loss)(params, X, y).",
    "requires_grad": "The argument to differentiate by is named: undertow.grad(f, wrt=0).",
    "unsqueeze": "Use x[:, None], or numpy.expand_dims(x, axis).",
    "permute": "Use numpy.transpose(x, axes).",
    **{name: f"Use numpy.{name}(x)." for name in ("exp", "log", "sqrt", "sin", "cos", "tanh", "abs", "matmul")},
    **{name: f"Use undertow.{name}(x)." for name in ("softmax", "log_softmax", "sigmoid")},
    "relu": "Use numpy.maximum(x, 0).",
    "pow": "Use x**n.",
    "mm": "Use x @ y.",
    "bmm": "Use x @ y.",
    "norm": "Use numpy.linalg.norm(x).",
}
"""Names looked for in an array that is being traced."""

DATA: Final[dict[str, str]] = {
    "DataLoader": "undertow.train takes arrays, and makes batches of batch_size.",
    "TensorDataset": "undertow.train takes arrays (X, y), or a source of undertow.data.",
    "random_split": "Use undertow.train(…, validation=0.2).",
}
"""Names looked for in `undertow.data`."""

RUNS: Final[dict[str, str]] = {
    "fit": "It is trained; train on with undertow.train(run.model, (X, y), loss=…).",
    "predict_proba": "Use run.predict_probability(X).",
    "score": "Use run.evaluate(X, y).",
    "summary": "Use run.model.summary().",
    "confusion_matrix": "from undertow.train import METRICS; METRICS['confusion_matrix'](run.predictions(X, y)).",
}
_RATE: Final = "The rate belongs to the optimizer: optimizer=undertow.optim.adam(1e-3)."
_DECAY: Final = "It belongs to the optimizer: optimizer=undertow.optim.adamw(1e-3, decay=1e-2)."
_VALIDATION: Final = "Use validation: a share such as validation=0.2, or validation=(X, y)."
_SCHEDULE: Final = "It belongs to the optimizer: optimizer=undertow.optim.adam(undertow.optim.cosine(1e-3, 1000))."
TRAINING: Final[dict[str, str]] = {
    "lr": _RATE,
    "rate": _RATE,
    "learning_rate": _RATE,
    **dict.fromkeys(("schedule", "scheduler", "lr_scheduler"), _SCHEDULE),
    "decay": _DECAY,
    "weight_decay": _DECAY,
    "momentum": "It belongs to the optimizer: optimizer=undertow.optim.momentum(1e-2, 0.9).",
    "validation_split": _VALIDATION,
    "validation_data": _VALIDATION,
    "validation_fraction": _VALIDATION,
    "test_size": _VALIDATION,
    "class_weight": "Did you mean 'class_weights'?",
    "sample_weight": "Give the weights with the data: (X, y, weights).",
    "weights": "Give the weights with the data: (X, y, weights).",
    "patience": "Use early_stopping, the number of epochs: early_stopping=10.",
    "verbose": "Use progress: progress=False prints nothing.",
    "shuffle": "The order of the examples is another one in each epoch; leave it out.",
    "device": _PROCESSOR,
    "hidden": "Layers belong to the model: Sequential(Dense(4, 16), 'relu', Dense(16, 1)).",
    "activation": "It belongs to the model: Sequential(Dense(4, 16), 'relu', Dense(16, 1)).",
    "dropout": "It belongs to the model: Sequential(Dense(4, 16), 'relu', Dropout(0.1), Dense(16, 1)).",
    "target": "Name it where the table is encoded: train(model, undertow.data.encode_table(frame, target), loss=…).",
    "max_iter": "Did you mean 'epochs'?",
    "random_state": "Did you mean 'seed'?",
}


_DIMENSIONS: Final = "The first layer tells how many columns it takes: Dense(4, 8)."
ARGUMENTS: Final[dict[str, str]] = {
    "lr": "rate",
    "learning_rate": "rate",
    "learning_rate_init": "rate",
    "initial_learning_rate": "rate",
    "base_lr": "rate",
    "p": "rate",
    "weight_decay": "decay",
    "eps": "epsilon",
    "betas": "beta1 and beta2",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "b1": "beta1",
    "b2": "beta2",
    "momentum": "beta",
    "rho": "beta",
    "alpha": "beta",
    "gamma": "factor",
    "decay_rate": "factor",
    "step_size": "every",
    "T_max": "steps",
    "decay_steps": "steps",
    "total_steps": "steps",
    "max_norm": "limit",
    "clip_value": "limit",
    "max_value": "limit",
    "in_features": "fan_in",
    "input_size": "fan_in",
    "n_in": "fan_in",
    "out_features": "fan_out",
    "output_size": "fan_out",
    "units": "fan_out",
    "n_out": "fan_out",
    "use_bias": "bias",
    "kernel_initializer": "init",
    "weight_init": "init",
    "num_features": "size",
    "normalized_shape": "size",
    "num_embeddings": "n",
    "vocab_size": "n",
    "embedding_dim": "size",
    "output_dim": "size",
    "stddev": "deviation",
    "sigma": "deviation",
    "restore_best_weights": "restore_best",
    "start_from_epoch": "start_epoch",
    "threshold": "min_delta",
    "min_lr": "min_scale",
    "argnums": "wrt",
    "argnum": "wrt",
    **dict.fromkeys(("rtol", "atol", "tol", "rel_tol"), "tolerance"),
}
"""Names of arguments elsewhere, and what they are called here."""

ESTIMATORS: Final[dict[str, str]] = {
    **dict.fromkeys(("lr", "rate", "eta", "eta0"), "learning_rate_init"),
    **dict.fromkeys(("epochs", "n_epochs", "num_epochs", "n_iter"), "max_iter"),
    **dict.fromkeys(("hidden", "hidden_layers", "hidden_sizes", "units"), "layers"),
    **dict.fromkeys(("weight_decay", "l2", "decay"), "alpha"),
    **dict.fromkeys(("seed", "random_seed"), "random_state"),
    **dict.fromkeys(("validation", "validation_split"), "validation_fraction"),
    "patience": "n_iter_no_change",
    "batch": "batch_size",
    "n_jobs": "n_threads",
    "class_weights": "class_weight",
}
"""Names of arguments elsewhere, and what scikit-learn's estimators call them."""

_MAKES: Final = "What it makes is compiled by undertow.compile: undertow.compile(undertow.hessian(f))."
_STATIC: Final = "Bind what is no array before: undertow.compile(functools.partial(f, n=3))."
ELSEWHERE: Final[dict[str, str]] = {
    "has_aux": "undertow.vjp takes a function that returns both: (loss, aux), pull = undertow.vjp(f, x).",
    "compile": _MAKES,
    "static_argnums": _STATIC,
    "static_argnames": _STATIC,
    "donate_argnums": "Memory is planned by itself; leave it out.",
    "weight_decay": "adamw(rate, decay=…) has it.",
    "decay": "adamw(rate, decay=…) has it.",
    "momentum": "momentum(rate, beta) has it.",
    "nesterov": "nesterov(rate, beta) has it.",
    "amsgrad": "amsgrad(rate) has it.",
    "params": "Parameters are given to init and update, which undertow.train calls.",
    "parameters": "Parameters are given to init and update, which undertow.train calls.",
    "activation": _ACTIVATION,
    "input_shape": _DIMENSIONS,
    "input_dim": _DIMENSIONS,
    "dtype": "undertow.train(…, dtype=…) and undertow.nn.initialize(model, seed, dtype) tell it.",
    "device": _PROCESSOR,
    "kernel_regularizer": _PENALTY,
    "verbose": "The progress that undertow.train prints tells of it; leave it out.",
}
"""Names of arguments elsewhere that are no arguments here."""


REQUIRED: Final[dict[str, str]] = {"fan_out": f"Give both sizes. {_DIMENSIONS}"}
"""Arguments that have no default here, and have one elsewhere."""

_OF_CLASSES: Final = "Give weights=, a number for each example; class_weights(y, {1: 3.0}) makes them of classes."
SETTINGS: Final[dict[str, str]] = {
    "negative_slope": "slope",
    "beta": "delta",
    "quantile": "q",
    "alpha": "q",
    "stddev": "deviation",
    "std": "deviation",
    "scale": "limit",
    "reduction": "A loss is the mean over the examples; LOSSES[name].per_example(output, y) gives each one's.",
    "sample_weight": "Give weights=, a number for each example.",
    "weight": _OF_CLASSES,
    "class_weight": _OF_CLASSES,
    "ignore_index": "Give weights=, and an example that is to be left out the weight 0.",
    "ignore_class": "Give weights=, and an example that is to be left out the weight 0.",
    "from_logits": "A loss of logits has a name of its own, which ends in _with_logits; undertow.train finds it.",
}
"""Names of settings of losses, activations and initialisers elsewhere: what they are called here, or what to do."""


def missing_argument(name: str, known: Iterable[str]) -> str:
    """Say what to write instead of an argument that a function does not have.

    Args:
        name: of the argument.
        known: the names of those that it has.

    Returns:
        A sentence or more.

    Source: derived here.

    Example:
        >>> missing_argument("weight_decay", ["rate", "decay"]), missing_argument("weight_decay", ["rate"])
        ('Use decay.', 'adamw(rate, decay=…) has it.')
        >>> missing_argument("epsilom", ["rate", "epsilon"])
        "Did you mean 'epsilon'?"
    """
    known = list(known)
    for own in (ARGUMENTS.get(name, ""), ESTIMATORS.get(name, "")):
        if own and own.split()[0] in known:
            return f"Use {own}."
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    return did_you_mean(name, known).strip() or f"Its arguments are {', '.join(known)}."


def missing_setting(name: str, known: Iterable[str]) -> str:
    """Say what to write instead of a setting that a loss, an activation or an initialiser does not have.

    Args:
        name: of the setting.
        known: the names of those that it has.

    Returns:
        A sentence or more.

    Source: derived here.

    Example:
        >>> missing_setting("negative_slope", ["slope"]), missing_setting("d", ["delta"])
        ('Use slope.', 'It has delta.')
    """
    known = list(known)
    own = SETTINGS.get(name, "")
    if own in known:
        return f"Use {own}."
    if " " in own:
        return own
    return f"It has {', '.join(known)}." if known else "It has none."


def missing_attribute(owner: str, name: str, remedies: Mapping[str, str], names: Iterable[str] = ()) -> AttributeError:
    """Make the error for an attribute that is not there.

    Args:
        owner: what lacks it, as a message calls it.
        name: of the attribute.
        remedies: what to say of some names: a sentence each.
        names: of the attributes that are there, one of which may have been meant.

    Returns:
        The error, to be raised.

    Source: derived here.

    Example:
        >>> print(missing_attribute("undertow.nn", "Linear", LAYERS))
        undertow.nn has no attribute 'Linear'. Use Dense(fan_in, fan_out).
        >>> print(missing_attribute("undertow.optim", "Adam", {}, ["adam"]))
        undertow.optim has no attribute 'Adam'. Did you mean 'adam'?
    """
    remedy = remedies.get(name, "")
    if not remedy and names and not name.startswith("_"):
        remedy = did_you_mean(name, names).strip()
    said = f"{owner} has no attribute {name!r}{'.' if remedy else ''} {remedy}".rstrip()
    return AttributeError(said, name=name, obj=None)  # knowing no object, Python adds no guess of its own to ours
