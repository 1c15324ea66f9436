"""JAX: one jitted step with donated buffers, or ``lax.scan`` over a whole epoch in one jitted call."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.training.workloads import BETA1, BETA2, EPSILON, MOMENTUM, NORM_EPSILON, Workload, apply
from numpy.typing import NDArray

Array = NDArray[Any]

if os.environ.get("NPROC") == "1":  # else one core computes while another one already prepares the next step
    jax.config.update("jax_cpu_enable_async_dispatch", False)


class Words:
    """The network in JAX's words."""

    relu, tanh = staticmethod(jax.nn.relu), staticmethod(jnp.tanh)

    @staticmethod
    def dense(x: Any, W: Any, b: Any) -> Any:
        return x @ W + b

    @staticmethod
    def gelu(z: Any) -> Any:
        return jax.nn.gelu(z, approximate=False)

    @staticmethod
    def layer_norm(x: Any, gain: Any, bias: Any) -> Any:
        mean, variance = jnp.mean(x, axis=1, keepdims=True), jnp.var(x, axis=1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + NORM_EPSILON) * gain + bias


def make_step(workload: Workload) -> Callable[..., Any]:
    """Make (params, m, v, t), (X, y) → the same after a step, loss."""

    def loss(params: Any, X: Any, y: Any) -> Any:
        log_p = jax.nn.log_softmax(apply(workload.layers, Words, iter(params), X))
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def step(state: Any, batch: Any) -> Any:
        params, m, v, t = state
        value, grads = jax.value_and_grad(loss)(params, *batch)
        if workload.clip is not None:
            norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in grads))
            grads = [g * (workload.clip / jnp.maximum(norm, workload.clip)) for g in grads]
        if workload.optimizer == "momentum":
            m = [MOMENTUM * a + g for a, g in zip(m, grads, strict=True)]
            params = [w - workload.rate * a for w, a in zip(params, m, strict=True)]
            return (params, m, v, t), value
        t = t + 1
        m = [BETA1 * a + (1 - BETA1) * g for a, g in zip(m, grads, strict=True)]
        v = [BETA2 * a + (1 - BETA2) * g * g for a, g in zip(v, grads, strict=True)]
        c1, c2 = 1 - BETA1**t, 1 - BETA2**t
        params = [
            w - workload.rate * (a / c1) / (jnp.sqrt(b / c2) + EPSILON) for w, a, b in zip(params, m, v, strict=True)
        ]
        return (params, m, v, t), value

    return step


class JaxTraining:
    """The training."""

    def __init__(self, workload: Workload, scan: bool) -> None:
        self.workload, self.scan, self.start = workload, scan, workload.initial()
        step = make_step(workload)
        X, y = workload.data
        self.arrays = X, y.astype(np.int32)
        # Measured: XLA's own gather is the faster one for large batches, NumPy's for small ones.
        self.gathers = workload.batch * X.shape[1] > 100_000
        self.data: Any = [jnp.asarray(part) for part in self.arrays] if self.gathers else []

        def one(state: Any, data: Any, batch: Any) -> Any:
            if data:  # the batch is the numbers of its rows
                batch = [part.at[batch].get(mode="promise_in_bounds") for part in data]
            return step(state, batch)

        def all_steps(state: Any, data: Any, batches: Any) -> Any:
            return jax.lax.scan(lambda state, batch: one(state, data, batch), state, batches)

        self.call: Callable[..., Any] = jax.jit(all_steps if scan else one, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        def zeros() -> list[Any]:
            return [jnp.zeros_like(p) for p in self.start]

        v = zeros() if self.workload.optimizer == "adam" else []
        self.state: Any = ([jnp.array(p) for p in self.start], zeros(), v, jnp.float32(0))
        jax.block_until_ready(self.state)

    def epoch(self, order: Array) -> list[float]:
        table = order.astype(np.int32).reshape(-1, self.workload.batch)
        losses: Any = []
        if self.scan:
            self.state, losses = self.call(self.state, self.data, self.batch_of(table))
        else:
            for rows in table:
                self.state, loss = self.call(self.state, self.data, self.batch_of(rows))
                losses.append(loss)
        jax.block_until_ready(self.state)
        return np.asarray(losses).tolist()

    def batch_of(self, rows: Array) -> Any:
        return rows if self.gathers else tuple(part[rows] for part in self.arrays)

    def parameters(self) -> list[Array]:
        return [np.asarray(p) for p in self.state[0]]


def make(workload: Workload, variant: str) -> JaxTraining:
    return JaxTraining(workload, variant == "scan")


def product(a: Array, b: Array) -> Callable[[], Any]:
    left, right = jnp.asarray(a), jnp.asarray(b)
    call = jax.jit(jnp.matmul)
    return lambda: call(left, right).block_until_ready()
