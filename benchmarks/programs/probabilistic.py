"""Likelihoods, variational bounds, flows and transport."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import log_softmax, log_sum_exp, sigmoid, softmax, softplus, squared_distances
from benchmarks.programs.program import bits, constant, counts, integers, normal, program, uniform


@program(
    "Gaussian mixture", "N=5000 D=10 K=8", x=normal("N D"), mean=normal("K D"), log_sd=normal("K D", 0.1),
    weight=normal("K"),
)  # fmt: skip
def gaussian_mixture(x, mean, log_sd, weight):
    """The likelihood of K normal distributions with diagonal covariances."""
    d = (x[:, None] - mean[None]) / np.exp(log_sd)[None]
    log_p = log_softmax(weight) - 0.5 * np.sum(d * d, axis=2) - np.sum(log_sd, axis=1)
    return -np.mean(log_sum_exp(log_p, axis=1))


@program(
    "mixture of each column", "N=1000 K=8 D=4", x=normal("N D"), weight=normal("K D"), mean=normal("K D"),
    log_sd=normal("K D"),
)  # fmt: skip
def column_mixture(x, weight, mean, log_sd):
    """K normal distributions for each column."""
    log_p = weight - 0.5 * ((x[:, None] - mean) / np.exp(log_sd)) ** 2 - log_sd
    return -np.mean(log_sum_exp(log_p, axis=1))


@program(
    "variational mixture", "N=1000 D=4 K=6", x=normal("N D"), responsibility=normal("N K"), mean=normal("K D"),
    log_sd=normal("K"), concentration=normal("K"),
)  # fmt: skip
def variational_mixture(x, responsibility, mean, log_sd, concentration):
    """The evidence bound with free responsibilities of each point."""
    log_r = log_softmax(responsibility)
    r = np.exp(log_r)
    log_p = -0.5 * squared_distances(x, mean) * np.exp(-2 * log_sd) - x.shape[1] * log_sd + log_softmax(concentration)
    return -np.mean(np.sum(r * (log_p - log_r), axis=1))


@program("Student's t", "N=50000", x=normal("N"), mean=normal(""), log_sd=normal("", 0.1), freedom=constant("", 4.0))
def student(x, mean, log_sd, freedom):
    """Its likelihood but for a constant."""
    z = (x - mean) / np.exp(log_sd)
    return np.mean((freedom + 1) / 2 * np.log1p(z * z / freedom) + log_sd)


@program("von Mises", "N=2000", angle=uniform("N", -3, 3), mean=normal(""), log_rate=normal("", 0.1), dtype="float64")
def von_mises(angle, mean, log_rate):
    """Directions around a mean; the constant is a Bessel function."""
    rate = np.exp(log_rate)
    return np.log(np.i0(rate)) - np.mean(rate * np.cos(angle - mean))


@program(
    "Weibull survival", "N=2000 D=10", X=normal("N D", 0.3), time=uniform("N", 0.1, 3), died=bits("N"),
    w=normal("D", 0.2), log_shape=normal("", 0.1),
)  # fmt: skip
def weibull(X, time, died, w, log_shape):
    """Accelerated failure times, some of them censored."""
    shape, z = np.exp(log_shape), X @ w
    log_t = np.log(time) - z
    return -np.mean(died * (log_shape + shape * log_t - np.log(time)) - np.exp(shape * log_t))


@program(
    "Cox regression", "N=1000 D=20 H=16", X=normal("N D"), v=normal("H", 0.1), W=normal("D H", 0.1), died=bits("N"),
)  # fmt: skip
def cox(X, v, W, died):
    """The partial likelihood of times that are sorted."""
    score = np.tanh(X @ W) @ v
    at_risk = np.cumsum(np.exp(score)[::-1])[::-1]
    return -np.sum(died * (score - np.log(at_risk)))


@program(
    "item response, two parameters", "P=300 I=40", ability=normal("P"), log_slope=normal("I", 0.3),
    difficulty=normal("I"), right=bits("P I"),
)  # fmt: skip
def item_response(ability, log_slope, difficulty, right):
    """Who answers which question."""
    z = np.exp(log_slope) * (ability[:, None] - difficulty)
    return np.mean(softplus(z) - right * z) + 0.5 * np.mean(ability**2)


@program("Bradley–Terry", "M=2000 P=50", winner=integers("M", "P"), loser=integers("M", "P"), strength=normal("P"))
def bradley_terry(winner, loser, strength):
    """Strengths of players from who beat whom."""
    return np.mean(softplus(strength[loser] - strength[winner])) + 1e-3 * np.sum(strength**2)


@program("Plackett–Luce", "M=200 K=8 P=40", order=integers("M K", "P"), strength=normal("P"))
def plackett_luce(order, strength):
    """Strengths from rankings: at each place the best of those that remain."""
    s = strength[order]
    remain = np.log(np.cumsum(np.exp(s)[:, ::-1], axis=1)[:, ::-1])
    return np.mean(np.sum(remain - s, axis=1))


@program(
    "Hawkes process", "N=300", gaps=uniform("N", 0.05, 0.5), log_base=normal("", 0.1), log_jump=normal("", 0.1, -1),
    log_decay=normal("", 0.1, 0.5), dtype="float64",
)  # fmt: skip
def hawkes(gaps, log_base, log_jump, log_decay):
    """Events that make further events more likely, all pairs at once."""
    base, jump, decay = np.exp(log_base), np.exp(log_jump), np.exp(log_decay)
    time = np.cumsum(gaps)
    wait = time[:, None] - time[None]
    excited = np.sum(np.where(wait > 0, np.exp(-decay * np.maximum(wait, 0)), 0), axis=1)
    total = base * time[-1] + jump / decay * np.sum(1 - np.exp(-decay * (time[-1] - time)))
    return total - np.sum(np.log(base + jump * excited))


@program(
    "stochastic volatility", "T=500", y=normal("T"), h=normal("T", 0.3), persistence=normal("", 0.1, 1),
    log_sd=normal("", 0.1, -1),
)  # fmt: skip
def stochastic_volatility(y, h, persistence, log_sd):
    """The joint density of returns and their log-variances."""
    step = h[1:] - np.tanh(persistence) * h[:-1]
    return np.mean(0.5 * (h + y**2 * np.exp(-h))) + np.mean(0.5 * step**2 * np.exp(-2 * log_sd) + log_sd)


@program("topics of documents", "N=100 V=500 K=10", words=counts("N V", 0.3), topic=normal("N K"), word=normal("K V"))
def topics(words, topic, word):
    """Documents as mixtures of topics, topics as mixtures of words."""
    return -np.sum(words * np.log(softmax(topic) @ softmax(word))) / len(words)


@program("independent components", "N=2000 D=8", x=normal("N D"), W=normal("D D", 0.5), dtype="float64")
def independent_components(x, W):
    """The likelihood of unmixed sources with logistic tails."""
    s = x @ W.T
    return np.mean(np.sum(2 * softplus(s) - s, axis=1)) - np.linalg.slogdet(W)[1]


@program(
    "variational autoencoder", "B=128 D=784 H=200 Z=20", x=uniform("B D"), noise=normal("B Z"), W_1=normal("D H", 0.1),
    b_1=normal("H", 0.1), W_m=normal("H Z", 0.1), W_s=normal("H Z", 0.1), W_2=normal("Z H", 0.1), b_2=normal("H", 0.1),
    W_3=normal("H D", 0.1), b_3=normal("D", 0.1),
)  # fmt: skip
def variational_autoencoder(x, noise, W_1, b_1, W_m, W_s, W_2, b_2, W_3, b_3):
    """Bernoulli pixels and normal codes."""
    h = np.tanh(x @ W_1 + b_1)
    mean, log_var = h @ W_m, h @ W_s
    z = mean + np.exp(0.5 * log_var) * noise
    y = np.tanh(z @ W_2 + b_2) @ W_3 + b_3
    divergence = -0.5 * np.sum(1 + log_var - mean**2 - np.exp(log_var), axis=1)
    return np.mean(np.sum(softplus(y) - x * y, axis=1) + divergence)


@program(
    "Bayesian network, mean field", "N=200 D=8 H=32", X=normal("N D"), y=normal("N"), m_1=normal("D H", 0.3),
    s_1=constant("D H", -2), e_1=normal("D H"), m_2=normal("H", 0.3), s_2=constant("H", -2), e_2=normal("H"),
)  # fmt: skip
def bayesian_network(X, y, m_1, s_1, e_1, m_2, s_2, e_2):
    """Weights that are drawn from normal distributions; the likelihood and the divergence from the prior."""
    prediction = np.tanh(X @ (m_1 + np.exp(s_1) * e_1)) @ (m_2 + np.exp(s_2) * e_2)
    divergence = sum(np.sum(0.5 * (m**2 + np.exp(2 * s) - 1) - s) for m, s in ((m_1, s_1), (m_2, s_2)))
    return 0.5 * np.sum((y - prediction) ** 2) + divergence


@program(
    "coupling flow, 8 layers", "B=256 D=8 H=32", x=normal("B 2D"), W=normal("8 D H", 0.1), b=normal("8 H", 0.1),
    W_s=normal("8 H D", 0.1), W_t=normal("8 H D", 0.1),
)  # fmt: skip
def coupling_flow(x, W, b, W_s, W_t):
    """One half scales and shifts the other, in turn."""
    log_det = 0.0
    for i in range(len(W)):
        first, second = np.split(x, 2, axis=1)
        h = np.tanh(first @ W[i] + b[i])
        scale = np.tanh(h @ W_s[i])
        x = np.concatenate([second * np.exp(scale) + h @ W_t[i], first], axis=1)
        log_det = log_det + np.sum(scale, axis=1)
    return np.mean(0.5 * np.sum(x * x, axis=1) - log_det)


@program(
    "planar flow, 10 layers", "B=500 D=4", z=normal("B D"), u=normal("10 D", 0.3), w=normal("10 D", 0.3),
    b=normal("10"),
)  # fmt: skip
def planar_flow(z, u, w, b):
    """z ← z + u tanh(w · z + b), to a ring."""
    log_det = 0.0
    for u_i, w_i, b_i in zip(u, w, b, strict=True):
        h = np.tanh(z @ w_i + b_i)
        log_det = log_det + np.log(np.abs(1 + (1 - h * h) * (u_i @ w_i)) + 1e-6)
        z = z + h[:, None] * u_i
    return np.mean(0.5 * ((np.sqrt(np.sum(z * z, axis=1)) - 2) / 0.4) ** 2 - log_det)


@program(
    "spline flow", "B=1000 D=4", x=uniform("B D", -0.9, 0.9), widths=normal("D 8"), heights=normal("D 8"),
    slopes=normal("D 9"),
)  # fmt: skip
def spline_flow(x, widths, heights, slopes):
    """A monotone rational-quadratic spline of each column."""
    edge = np.zeros((len(widths), 1), x.dtype) - 1
    left, low = (np.concatenate([edge, 2 * np.cumsum(softmax(z), axis=1) - 1], axis=1) for z in (widths, heights))
    slope = softplus(slopes)
    place = np.clip(np.sum(x[:, :, None] >= left[:, :-1], axis=2) - 1, 0, left.shape[1] - 2)
    column = np.arange(x.shape[1])
    w, h = (z[column, place + 1] - z[column, place] for z in (left, low))
    d_0, d_1, s = slope[column, place], slope[column, place + 1], h / w
    t = (x - left[column, place]) / w
    below = s + (d_0 + d_1 - 2 * s) * t * (1 - t)
    y = low[column, place] + h * (s * t**2 + d_0 * t * (1 - t)) / below
    log_slope = 2 * np.log(s) + np.log(d_1 * t**2 + 2 * s * t * (1 - t) + d_0 * (1 - t) ** 2) - 2 * np.log(below)
    return np.mean(np.sum(0.5 * y**2 - log_slope, axis=1))


@program(
    "restricted Boltzmann machine", "B=128 D=784 H=256", v=bits("B D"), W=normal("D H", 0.1), b=normal("D", 0.1),
    c=normal("H", 0.1),
)  # fmt: skip
def boltzmann_machine(v, W, b, c):
    """The free energy of visible states."""
    return np.mean(-(v @ b) - np.sum(softplus(v @ W + c), axis=1))


@program(
    "hidden Markov model, 100 steps", "T=100 K=20 V=30", observed=integers("T", "V"), transition=normal("K K", 0.1),
    emission=normal("K V", 0.1), start=normal("K", 0.1),
)  # fmt: skip
def hidden_markov(observed, transition, emission, start):
    """The forward algorithm in logarithms."""
    step, emit = log_softmax(transition), log_softmax(emission)
    a = log_softmax(start) + emit[:, observed[0]]
    for t in range(1, len(observed)):
        a = log_sum_exp(a[:, None] + step, axis=0) + emit[:, observed[t]]
    return -log_sum_exp(a, axis=0)


@program(
    "conditional random field, 20 steps", "B=16 T=20 K=10", scores=normal("B T K"), transition=normal("K K"),
    labels=integers("B T", "K"),
)  # fmt: skip
def random_field(scores, transition, labels):
    """The score of the true labels less that of all paths."""
    own = np.sum(np.take_along_axis(scores, labels[:, :, None], axis=2)[:, :, 0], axis=1)
    own = own + np.sum(transition[labels[:, :-1], labels[:, 1:]], axis=1)
    a = scores[:, 0]
    for t in range(1, scores.shape[1]):
        a = log_sum_exp(a[:, :, None] + transition, axis=1) + scores[:, t]
    return np.mean(log_sum_exp(a, axis=1) - own)


@program(
    "particle filter, 10 steps", "T=10 P=200", y=normal("T"), noise=normal("T P"), a=normal("", 0.1, 0.8),
    log_q=normal("", 0.1, -0.5), log_r=normal("", 0.1),
)  # fmt: skip
def particle_filter(y, noise, a, log_q, log_r):
    """Weighted particles of a nonlinear state, without resampling; the likelihood of what was seen."""
    x, log_w, total = noise[0], np.zeros_like(noise[0]), 0.0
    for t in range(len(y)):
        x = a * x + np.sin(x) + np.exp(log_q) * noise[t]
        log_w = log_w - 0.5 * ((y[t] - x**2 / 4) * np.exp(-log_r)) ** 2 - log_r
        new = log_sum_exp(log_w, axis=0)
        total = total + new - np.log(len(x))
        log_w = log_w - new + np.log(len(x))
    return -total


@program(
    "Gaussian process, by solve", "N=200 D=3", X=normal("N D"), y=normal("N"), log_rate=normal("D"),
    log_noise=constant("", -1.0), dtype="float64",
)  # fmt: skip
def process_by_solve(X, y, log_rate, log_noise):
    """The marginal likelihood with a rate for each column."""
    d = (X[:, None] - X[None]) * np.exp(log_rate)
    K = np.exp(-0.5 * np.sum(d * d, axis=2)) + np.exp(log_noise) * np.eye(len(X), dtype=X.dtype)
    return 0.5 * y @ np.linalg.solve(K, y) + 0.5 * np.linalg.slogdet(K)[1]


@program(
    "Gaussian process, by Cholesky", "N=200 D=3", X=normal("N D"), y=normal("N"), log_length=normal("", 0.1),
    log_noise=normal("", 0.1), dtype="float64",
)  # fmt: skip
def process_by_cholesky(X, y, log_length, log_noise):
    """The marginal likelihood from a Cholesky factor."""
    K = np.exp(-0.5 * squared_distances(X, X) * np.exp(-2 * log_length))
    L = np.linalg.cholesky(K + (np.exp(2 * log_noise) + 1e-6) * np.eye(len(X), dtype=X.dtype))
    a = np.linalg.solve(L, y)
    return 0.5 * np.sum(a * a) + np.sum(np.log(np.diagonal(L)))


@program(
    "sparse Gaussian process", "N=500 D=2 M=30", X=normal("N D"), y=normal("N"), Z=normal("M D"),
    log_length=normal("", 0.1), log_noise=normal("", 0.1, -1), dtype="float64",
)  # fmt: skip
def sparse_process(X, y, Z, log_length, log_noise):
    """Titsias' bound with M inducing points."""

    def kernel(a, b):
        return np.exp(-0.5 * squared_distances(a, b) * np.exp(-2 * log_length))

    noise, eye = np.exp(2 * log_noise), np.eye(len(Z), dtype=X.dtype)
    L = np.linalg.cholesky(kernel(Z, Z) + 1e-6 * eye)
    A = np.linalg.solve(L, kernel(Z, X)) / np.sqrt(noise)
    L_B = np.linalg.cholesky(eye + A @ A.T)
    c = np.linalg.solve(L_B, A @ y) / np.sqrt(noise)
    fit = 0.5 * (len(X) * np.log(noise) + y @ y / noise - c @ c) + np.sum(np.log(np.diagonal(L_B)))
    return fit + 0.5 * (len(X) / noise - np.sum(A * A))


@program(
    "Kalman filter, 50 steps", "T=50", Y=normal("T 2"), F=normal("4 4", 0.3), H=normal("2 4"), Q=normal("4 4", 0.3),
    R=normal("2 2"), x=normal("4"), dtype="float64",
)  # fmt: skip
def kalman(Y, F, H, Q, R, x):
    """The likelihood of two series of a hidden state of four numbers."""
    P, total = np.eye(4, dtype=Y.dtype), 0.0
    for y in Y:
        x, P = F @ x, F @ P @ F.T + Q @ Q.T
        e, S = y - H @ x, H @ P @ H.T + R @ R.T + 0.1 * np.eye(2, dtype=Y.dtype)
        inverse = np.linalg.inv(S)
        total = total - 0.5 * (e @ inverse @ e + np.linalg.slogdet(S)[1])
        K = P @ H.T @ inverse
        x, P = x + K @ e, P - K @ H @ P
    return total


@program("Sinkhorn distance, 30 rounds", "N=64 T=30 D=3", x=normal("N D"), y=normal("N D"))
def sinkhorn(x, y):
    """Entropic transport between two clouds, in logarithms."""
    cost = squared_distances(x, y) / 0.5
    f, g = np.zeros(len(x), x.dtype), np.zeros(len(y), x.dtype)
    for _ in range(30):
        f = -log_sum_exp(g[None] - cost, axis=1)
        g = -log_sum_exp(f[:, None] - cost, axis=0)
    return np.sum(np.exp(f[:, None] + g[None] - cost) * cost)


@program("Wasserstein by sorting", "N=1000 D=8", x=normal("N D"), y=normal("N D"))
def sorted_wasserstein(x, y):
    """The distance of sorted columns."""
    return np.mean(np.abs(np.sort(x, axis=0) - np.sort(y, axis=0)))


@program("sliced Wasserstein", "N=500 D=16 L=32", x=normal("N D"), y=normal("N D"), directions=normal("D L"))
def sliced_wasserstein(x, y, directions):
    """The distance of sorted projections."""
    u = directions / np.sqrt(np.sum(directions**2, axis=0))
    return np.mean((np.sort(x @ u, axis=0) - np.sort(y @ u, axis=0)) ** 2)


@program("maximum mean discrepancy", "N=200 D=8", x=normal("N D"), y=normal("N D"), log_rate=normal("", 0.1, -2))
def mean_discrepancy(x, y, log_rate):
    """The distance of two samples by a Gaussian kernel."""

    def similar(a, b):
        return np.mean(np.exp(-np.exp(log_rate) * squared_distances(a, b)))

    return similar(x, x) + similar(y, y) - 2 * similar(x, y)


@program("Stein's variational gradient", "N=150 D=2", x=normal("N D"))
def stein(x):
    """The kernelised Stein discrepancy of points from a normal distribution."""
    d = x[:, None] - x[None]
    r = np.sum(d * d, axis=2)
    k = np.exp(-0.5 * r)
    return np.mean(k * (x @ x.T - np.sum(d * (x[:, None] - x[None]), axis=2) + x.shape[1] - r))


@program(
    "noisy-or diagnosis", "B=256 D=40 S=60", causes=uniform("B D"), leak=normal("S", 0.3, -3),
    links=normal("D S", 0.3, -2), seen=bits("B S"),
)  # fmt: skip
def noisy_or(causes, leak, links, seen):
    """Symptoms that each cause brings about on its own."""
    absent = -softplus(leak) - causes @ softplus(links)
    return -np.mean(seen * np.log(1 - np.exp(absent) + 1e-6) + (1 - seen) * absent)


@program("copula likelihood", "N=3000", u=uniform("N 2", 0.05, 0.95), log_theta=normal("", 0.1))
def clayton_copula(u, log_theta):
    """Clayton's copula of two dependent uniforms."""
    theta = np.exp(log_theta)
    s = np.sum(u**-theta, axis=1) - 1
    return -np.mean(np.log1p(theta) - (1 + theta) * np.sum(np.log(u), axis=1) - (2 + 1 / theta) * np.log(s))


@program(
    "variational dropout", "B=128 D=64 H=128", x=normal("B D"), noise=normal("B H"), W=normal("D H", 0.1),
    log_alpha=normal("D H", 0.5, -2), v=normal("H"),
)  # fmt: skip
def variational_dropout(x, noise, W, log_alpha, v):
    """Noise in what a layer gives, of the size that its weights tell."""
    mean, variance = x @ W, x**2 @ (np.exp(log_alpha) * W**2) + 1e-8
    h = np.maximum(mean + np.sqrt(variance) * noise, 0)
    prior = 0.5 * np.log1p(np.exp(-log_alpha)) - 0.64 * sigmoid(1.87 + 1.49 * log_alpha)
    return np.mean((h @ v) ** 2) + 1e-3 * np.sum(prior)
