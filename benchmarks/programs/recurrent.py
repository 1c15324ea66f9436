"""Recurrent networks and recursions over time; their Python loops are unrolled by both systems."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import log_softmax, sigmoid, softmax
from benchmarks.programs.program import integers, normal, program


@program(
    "recurrent network, 50 steps", "B=32 T=50 D=16 H=64", x=normal("T B D"), W=normal("D H", 0.2), U=normal("H H", 0.1),
    b=normal("H"), W_out=normal("H 5"),
)  # fmt: skip
def recurrent(x, W, U, b, W_out):
    """h ← tanh(x W + h U + b)."""
    h = np.zeros((x.shape[1], len(U)), x.dtype)
    for x_t in x:
        h = np.tanh(x_t @ W + h @ U + b)
    return np.mean((h @ W_out) ** 2)


@program(
    "LSTM, 30 steps", "B=32 T=30 D=16 H=64", x=normal("T B D"), W=normal("D 4H", 0.2), U=normal("H 4H", 0.1),
    b=normal("4H"), W_out=normal("H 5"),
)  # fmt: skip
def lstm(x, W, U, b, W_out):
    """Long short-term memory: input, forget and output gates."""
    h = c = np.zeros((x.shape[1], len(U)), x.dtype)
    for x_t in x:
        i, f, o, g = np.split(x_t @ W + h @ U + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return np.mean((h @ W_out) ** 2)


@program(
    "peephole LSTM, 15 steps", "B=32 T=15 D=16 H=32", x=normal("T B D"), W=normal("D 4H", 0.2), U=normal("H 4H", 0.1),
    b=normal("4H"), p=normal("3 H"),
)  # fmt: skip
def peephole_lstm(x, W, U, b, p):
    """An LSTM whose gates also see the cell."""
    h = c = np.zeros((x.shape[1], len(U)), x.dtype)
    for x_t in x:
        i, f, o, g = np.split(x_t @ W + h @ U + b, 4, axis=1)
        c = sigmoid(f + p[0] * c) * c + sigmoid(i + p[1] * c) * np.tanh(g)
        h = sigmoid(o + p[2] * c) * np.tanh(c)
    return np.mean(h * h)


@program(
    "GRU, 40 steps", "B=32 T=40 D=32 H=64", x=normal("B T D"), W=normal("D 3H", 0.1), U=normal("H 3H", 0.1),
    b=normal("3H", 0.1), W_out=normal("H 1", 0.1),
)  # fmt: skip
def gru(x, W, U, b, W_out):
    """Gated recurrent unit: update and reset gates."""
    n = len(U)
    h = np.zeros((len(x), n), x.dtype)
    for t in range(x.shape[1]):
        a = x[:, t] @ W + b
        gates = sigmoid(a[:, : 2 * n] + h @ U[:, : 2 * n])
        z, r = gates[:, :n], gates[:, n:]
        h = (1 - z) * h + z * np.tanh(a[:, 2 * n :] + (r * h) @ U[:, 2 * n :])
    return np.mean((h @ W_out) ** 2)


@program(
    "bidirectional network, 20 steps", "B=32 T=20 D=16 H=32", x=normal("T B D"), W=normal("2 D H", 0.2),
    U=normal("2 H H", 0.1), W_out=normal("2H 5", 0.1), labels=integers("T B", "5"),
)  # fmt: skip
def bidirectional(x, W, U, W_out, labels):
    """A label for each step from what came before it and what comes after it."""
    forth, back = [], []
    h = g = np.zeros((x.shape[1], U.shape[1]), x.dtype)
    for t in range(len(x)):
        h = np.tanh(x[t] @ W[0] + h @ U[0])
        g = np.tanh(x[-1 - t] @ W[1] + g @ U[1])
        forth.append(h)
        back.append(g)
    both = np.concatenate([np.stack(forth), np.stack(back[::-1])], axis=-1)
    return -np.mean(np.take_along_axis(log_softmax(both @ W_out), labels[..., None], axis=-1))


@program(
    "decoder with additive attention, 10 steps", "B=16 T=10 S=20 H=32", memory=normal("B S H"), h=normal("B H"),
    W_m=normal("H H", 0.1), W_h=normal("H H", 0.1), v=normal("H"), U=normal("2H H", 0.1), drive=normal("T H", 0.1),
)  # fmt: skip
def additive_attention(memory, h, W_m, W_h, v, U, drive):
    """At each step the state looks into a memory by v · tanh(m W + h W)."""
    keys = memory @ W_m
    total = 0.0
    for d in drive:
        weights = softmax(np.tanh(keys + (h @ W_h)[:, None]) @ v)
        context = np.sum(weights[:, :, None] * memory, axis=1)
        h = np.tanh(np.concatenate([h, context], axis=1) @ U + d)
        total = total + np.mean(h * h)
    return total


@program(
    "diagonal state space, 64 steps", "B=16 T=64 D=8 H=32", x=normal("B T D"), a=normal("H"), W_in=normal("D H", 0.1),
    W_out=normal("H 4", 0.1),
)  # fmt: skip
def state_space(x, a, W_in, W_out):
    """h ← σ(a) ⊙ h + x W_in, the sum of the squares of h W_out."""
    h = np.zeros((len(x), len(a)), x.dtype)
    total = 0.0
    for t in range(x.shape[1]):
        h = sigmoid(a) * h + x[:, t] @ W_in
        total = total + np.sum((h @ W_out) ** 2)
    return total


@program(
    "linear recurrence with rotations, 32 steps", "B=16 T=32 D=8 H=32", x=normal("B T D"), radius=normal("H"),
    angle=normal("H"), W_re=normal("D H", 0.1), W_im=normal("D H", 0.1),
)  # fmt: skip
def linear_recurrence(x, radius, angle, W_re, W_im):
    """A complex diagonal recurrence, its real and imaginary parts written out."""
    size = np.exp(-np.exp(radius))
    real, imaginary = size * np.cos(angle), size * np.sin(angle)
    u, v = x @ W_re, x @ W_im
    re = im = np.zeros((len(x), len(radius)), x.dtype)
    for t in range(x.shape[1]):
        re, im = real * re - imaginary * im + u[:, t], real * im + imaginary * re + v[:, t]
    return np.mean(re * re + im * im)


@program(
    "equilibrium network, 25 steps", "B=64 T=25 D=16 H=64", x=normal("B D"), W=normal("H H", 0.1), U=normal("D H", 0.1),
)  # fmt: skip
def equilibrium(x, W, U):
    """z ← tanh(z W + x U), 25 times."""
    drive = x @ U
    z = np.zeros_like(drive)
    for _ in range(25):
        z = np.tanh(z @ W + drive)
    return np.mean(z * z)


@program(
    "highway network, 20 layers", "B=64 D=64", x=normal("B D"), W_t=normal("20 D D", 0.1), b_t=normal("20 D", 0.1),
    W_h=normal("20 D D", 0.1), b_h=normal("20 D", 0.1),
)  # fmt: skip
def highway(x, W_t, b_t, W_h, b_h):
    """Each layer's gate chooses between the layer and its input."""
    for i in range(len(W_t)):
        gate = sigmoid(x @ W_t[i] + b_t[i] - 1)
        x = gate * np.maximum(x @ W_h[i] + b_h[i], 0) + (1 - gate) * x
    return np.mean(x * x)


@program("label paths, 12 steps", "B=16 T=12 D=20", scores=normal("B T D"))
def label_paths(scores):
    """The logarithm of the sum over monotone paths, as in connectionist temporal classification."""
    a = scores[:, 0]
    for t in range(1, scores.shape[1]):
        before = np.concatenate([a[:, :1] - 1e9, a[:, :-1]], axis=1)
        a = np.logaddexp(a, before) + scores[:, t]
    return -np.mean(a[:, -1])


@program("soft dynamic time warping, 6 × 6", "T=6 D=3", x=normal("T D"), y=normal("T D"))
def soft_dtw(x, y):
    """The soft minimum over alignments of two series."""
    cost = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    n = len(x)
    best = {(0, 0): cost[0, 0]}
    for i in range(n):
        for j in range(n):
            before = [best[k] for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if k in best]
            if before:
                total = before[0]
                for other in before[1:]:
                    total = -np.logaddexp(-total, -other)
                best[i, j] = cost[i, j] + total
    return best[n - 1, n - 1]


@program("ARMA(2, 2), 64 series of 20", "B=64 T=20", y=normal("B T"), phi=normal("2", 0.1), theta=normal("2", 0.1))
def arma(y, phi, theta):
    """The conditional sum of squares of 64 series of 20 values."""
    e_1 = e_2 = 0 * y[:, 0]
    total = 0.0
    for t in range(2, y.shape[1]):
        e = y[:, t] - phi[0] * y[:, t - 1] - phi[1] * y[:, t - 2] - theta[0] * e_1 - theta[1] * e_2
        e_1, e_2 = e, e_1
        total = total + np.sum(e * e)
    return total / y.size


@program(
    "GARCH(1, 1), 25 steps", "B=32 T=25", returns=normal("B T"), omega=normal("", 0.1, -1), alpha=normal("", 0.1, -2),
    beta=normal("", 0.1, 1),
)  # fmt: skip
def garch(returns, omega, alpha, beta):
    """The Gaussian likelihood of returns whose variance follows from the last return and variance."""
    variance = np.mean(returns**2, axis=1)
    total = 0.0
    for t in range(returns.shape[1]):
        total = total + np.log(variance) + returns[:, t] ** 2 / variance
        variance = np.exp(omega) + sigmoid(alpha) * returns[:, t] ** 2 + sigmoid(beta) * (1 - sigmoid(alpha)) * variance
    return np.mean(total)


@program(
    "exponential smoothing with season, 24 steps", "B=32 T=24", y=normal("B T"), rates=normal("3"),
    season=normal("B 12"),
)  # fmt: skip
def holt_winters(y, rates, season):
    """Level, trend and twelve seasons, each smoothed; the one-step squared errors."""
    a, b, c = sigmoid(rates)
    level, trend = y[:, 0], 0 * y[:, 0]
    seasons = [season[:, i] for i in range(12)]
    total = 0.0
    for t in range(1, y.shape[1]):
        s = seasons[t % 12]
        total = total + np.mean((y[:, t] - level - trend - s) ** 2)
        new = a * (y[:, t] - s) + (1 - a) * (level + trend)
        trend = b * (new - level) + (1 - b) * trend
        seasons[t % 12] = c * (y[:, t] - new) + (1 - c) * s
        level = new
    return total
