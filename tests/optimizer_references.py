"""Runs of optimizers by PyTorch and optax, which those of `undertow.optim` are compared with.

``python tests/optimizer_references.py`` writes tests/optim/references.json with what these libraries compute in
float64 (made with torch 2.13.0 and optax 0.2.8); the tests read it where the libraries are missing.
"""

import json
from pathlib import Path

import numpy as np

RECORD = Path(__file__).parent / "optim" / "references.json"
N_STEPS = 32
RECORDED = (1, 2, 7, 32)  # after how many steps parameters are compared
SHAPES = {"W": (3, 2), "b": (5,), "s": ()}


def start(dtype=np.float64):
    """Initial parameters of three shapes, by formula."""
    return {key: _wave(shape, 0.3, 1.1).astype(dtype) for key, shape in SHAPES.items()}


def gradient(t, params, dtype=np.float64):
    """The gradient of step t: of sizes from 0.01 to 10, changing in sign, and pulling the parameters to 0."""
    grads = {}
    for number, (key, shape) in enumerate(SHAPES.items()):
        n = int(np.prod(shape))
        size = 10.0 ** (np.arange(n) % 4 - 2).reshape(shape)
        grads[key] = (size * (_wave(shape, 0.9 * t + number, 1.7) + 0.1 * np.asarray(params[key]))).astype(dtype)
    return grads


def _wave(shape, phase, speed):
    return np.asarray(np.sin(phase + speed * np.arange(1, int(np.prod(shape)) + 1)).reshape(shape) * 0.9 + 0.2)


# name of the run: (our optimizer, what makes it; the library; what makes its own there)
TORCH = {
    "sgd": ("sgd", {"rate": 0.1}, "SGD", {"lr": 0.1}),
    "momentum": ("momentum", {"rate": 0.05, "beta": 0.8}, "SGD", {"lr": 0.05, "momentum": 0.8}),
    "nesterov": ("nesterov", {"rate": 0.05, "beta": 0.8}, "SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "adagrad": ("adagrad", {"rate": 0.1}, "Adagrad", {"lr": 0.1}),
    "adagrad, begun": (
        "adagrad", {"rate": 0.1, "initial": 0.3, "epsilon": 1e-3},
        "Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.3, "eps": 1e-3},
    ),
    "rmsprop": ("rmsprop", {"rate": 0.02}, "RMSprop", {"lr": 0.02}),
    "rmsprop, all": (
        "rmsprop", {"rate": 0.02, "beta": 0.9, "epsilon": 1e-3, "momentum": 0.7, "centered": True},
        "RMSprop", {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "momentum": 0.7, "centered": True},
    ),
    "adadelta": ("adadelta", {"rate": 0.7, "beta": 0.8}, "Adadelta", {"lr": 0.7, "rho": 0.8}),
    "adam": ("adam", {"rate": 0.03}, "Adam", {"lr": 0.03}),
    "adam, other": (
        "adam", {"rate": 0.03, "beta1": 0.7, "beta2": 0.9, "epsilon": 1e-2},
        "Adam", {"lr": 0.03, "betas": (0.7, 0.9), "eps": 1e-2},
    ),
    "adamw": ("adamw", {"rate": 0.03, "decay": 0.3}, "AdamW", {"lr": 0.03, "weight_decay": 0.3}),
    "amsgrad": (
        "amsgrad", {"rate": 0.03, "beta2": 0.8}, "Adam", {"lr": 0.03, "betas": (0.9, 0.8), "amsgrad": True},
    ),
    "amsgrad, decay": (
        "amsgrad", {"rate": 0.03, "beta2": 0.8, "decay": 0.2},
        "AdamW", {"lr": 0.03, "betas": (0.9, 0.8), "amsgrad": True, "weight_decay": 0.2},
    ),
    "nadam": ("nadam", {"rate": 0.03}, "NAdam", {"lr": 0.03}),
    "nadam, decay": (
        "nadam", {"rate": 0.03, "slowness": 0.1, "decay": 0.2},
        "NAdam", {"lr": 0.03, "momentum_decay": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "adamax": ("adamax", {"rate": 0.03}, "Adamax", {"lr": 0.03}),
    "adamax, other": (
        "adamax", {"rate": 0.03, "beta1": 0.7, "beta2": 0.6, "epsilon": 1e-2},
        "Adamax", {"lr": 0.03, "betas": (0.7, 0.6), "eps": 1e-2},
    ),
    "radam": ("radam", {"rate": 0.03}, "RAdam", {"lr": 0.03}),
    "radam, decay": (
        "radam", {"rate": 0.03, "beta2": 0.95, "epsilon": 1e-2, "decay": 0.2},
        "RAdam", {"lr": 0.03, "betas": (0.9, 0.95), "eps": 1e-2, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "radam, never": ("radam", {"rate": 0.03, "beta2": 0.5}, "RAdam", {"lr": 0.03, "betas": (0.9, 0.5)}),
}  # fmt: skip


def _clipped(clip):
    """Our name and settings of gradient descent with clipped gradients."""
    return "accumulate", {"optimizer": {"name": "sgd", "rate": 0.5}, "n": 1, "clip": clip}


OPTAX = {
    "lion": ("lion", {"rate": 0.01, "beta1": 0.8, "beta2": 0.9}, "lion(0.01, 0.8, 0.9, weight_decay=0.0)"),
    "lion, decay": ("lion", {"rate": 0.01, "decay": 0.3}, "lion(0.01, 0.9, 0.99, weight_decay=0.3)"),
    "lamb": ("lamb", {"rate": 0.05}, "lamb(0.05)"),
    "lamb, decay": ("lamb", {"rate": 0.05, "epsilon": 1e-3, "decay": 0.3}, "lamb(0.05, eps=1e-3, weight_decay=0.3)"),
    "sgd, decay": ("sgd", {"rate": 0.1, "decay": 0.2}, "chain(identity(), add_decayed_weights(0.2), scale(-0.1))"),
    "momentum, decay": (
        "momentum", {"rate": 0.05, "decay": 0.2}, "chain(trace(0.9), add_decayed_weights(0.2), scale(-0.05))",
    ),
    "nesterov, decay": (
        "nesterov", {"rate": 0.05, "decay": 0.2},
        "chain(trace(0.9, nesterov=True), add_decayed_weights(0.2), scale(-0.05))",
    ),
    "adadelta, decay": (
        "adadelta", {"rate": 0.5, "decay": 0.2},
        "chain(scale_by_adadelta(0.9, 1e-6), add_decayed_weights(0.2), scale(-0.5))",
    ),
    "adamax, decay": (
        "adamax", {"rate": 0.03, "decay": 0.3}, "adamaxw(0.03, weight_decay=0.3)",
    ),
    "adamw, warm-up": (
        "adamw",
        {"rate": {"schedule": "warmup", "then": {"schedule": "cosine", "rate": 0.05, "steps": 20, "end": 0.01},
                  "steps": 5, "start": 0.001}, "decay": 0.1},
        "adamw(warmup_cosine_decay_schedule(0.001, 0.05, 5, 25, 0.01), weight_decay=0.1)",
    ),
    "lookahead": (
        "lookahead", {"optimizer": {"name": "adam", "rate": 0.05}, "k": 3, "alpha": 0.4},
        "lookahead(adam(0.05), 3, 0.4)",
    ),
    "accumulate": (
        "accumulate", {"optimizer": {"name": "momentum", "rate": 0.05}, "n": 4},
        "MultiSteps(sgd(0.05, 0.9), 4).gradient_transformation()",
    ),
    "clipped by layer": (  # all three arrays are at the top: one layer, and so the global norm
        *_clipped({"name": "clip_by_layer_norm", "limit": 0.7}),
        "chain(clip_by_global_norm(0.7), sgd(0.5))",
    ),
    "clipped by array": (
        *_clipped({"name": "clip_by_norm", "limit": 0.7}),
        "chain(per_array_clip(0.7), sgd(0.5))",
    ),
    "clipped adaptively": (
        *_clipped({"name": "clip_adaptive", "limit": 0.1}),
        "chain(adaptive_grad_clip(0.1), sgd(0.5))",
    ),
}  # fmt: skip

CASES = {name: (case[0], case[1]) for name, case in {**TORCH, **OPTAX}.items()}


def run(optimizer, dtype=np.float64, steps=N_STEPS):
    """Our parameters after each number of steps in RECORDED."""
    params, found = start(dtype), {}
    state = optimizer.init(params)
    for t in range(1, steps + 1):
        params, state = optimizer.update(gradient(t, params, dtype), state, params)
        if t in RECORDED:
            found[t] = params
    return found


def run_torch(torch, name, dtype=np.float64):
    """PyTorch's."""
    _, _, kind, options = TORCH[name]
    params = {key: torch.tensor(value, requires_grad=True) for key, value in start(dtype).items()}
    reference = getattr(torch.optim, kind)(list(params.values()), **options)
    found = {}
    for t in range(1, N_STEPS + 1):
        grads = gradient(t, {key: p.detach().numpy() for key, p in params.items()}, dtype)
        for key, p in params.items():
            p.grad = torch.tensor(grads[key])
        reference.step()
        if t in RECORDED:
            found[t] = {key: p.detach().numpy().copy() for key, p in params.items()}
    return found


def run_optax(jax, optax, name, dtype=np.float64):
    """Optax's; clipping by array is its clip_by_block_rms without the mean, written here for each array by itself."""

    def per_array_clip(limit):
        def update(updates, state, params=None):
            norm = lambda g: jax.numpy.sqrt(jax.numpy.sum(g * g))
            return jax.tree.map(lambda g: g * jax.numpy.minimum(1.0, limit / norm(g)), updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    with jax.enable_x64(dtype == np.float64):
        rule = eval(OPTAX[name][2], {**vars(optax), "per_array_clip": per_array_clip})
        params = {key: jax.numpy.asarray(value) for key, value in start(dtype).items()}
        ahead = name == "lookahead"
        params = optax.LookaheadParams.init_synced(params) if ahead else params
        state, found = rule.init(params), {}
        update = jax.jit(rule.update)
        for t in range(1, N_STEPS + 1):
            seen = params.fast if ahead else params
            grads = {k: jax.numpy.asarray(g) for k, g in gradient(t, seen, dtype).items()}
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
            if t in RECORDED:
                found[t] = {k: np.asarray(v) for k, v in (params.fast if ahead else params).items()}
    return found


def recorded():
    """What the file holds: parameters by the run's name and the number of steps."""
    record = json.loads(RECORD.read_text())
    return {
        name: {int(t): {key: np.array(value) for key, value in params.items()} for t, params in steps.items()}
        for name, steps in record["runs"].items()
    }


if __name__ == "__main__":
    import jax
    import optax
    import torch

    runs = {name: run_torch(torch, name) for name in TORCH}
    runs |= {name: run_optax(jax, optax, name) for name in OPTAX}
    plain = {
        name: {str(t): {key: value.tolist() for key, value in params.items()} for t, params in steps.items()}
        for name, steps in runs.items()
    }
    versions = {"torch": torch.__version__, "optax": optax.__version__, "jax": jax.__version__}
    lines = [f"  {json.dumps(name)}: {json.dumps(steps)}" for name, steps in plain.items()]
    RECORD.write_text('{"made with": ' + json.dumps(versions) + ',\n "runs": {\n' + ",\n".join(lines) + "\n}}\n")
