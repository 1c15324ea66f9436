"""Networks of plain layers, and the losses at their ends."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from benchmarks.programs.formulas import cross_entropy, log_softmax, log_sum_exp, sigmoid, softmax, softplus, unit_rows
from benchmarks.programs.program import constant, counts, integers, normal, one_hot, program, signs, uniform


def perceptron(x, *parameters):
    """Layers W, b with ReLU between them; the mean of the squares."""
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    for W, b in pairs[:-1]:
        x = np.maximum(x @ W + b, 0)
    W, b = pairs[-1]
    return np.mean((x @ W + b) ** 2)


def measure_perceptron(name, batch, widths, dtype="float32"):
    """Keep a perceptron of these widths among the programs."""
    layers = {}
    for i, (n, m) in enumerate(pairwise(widths)):
        layers[f"W_{i}"], layers[f"b_{i}"] = normal(f"{n} {m}", n**-0.5), normal(f"{m}")
    program(name, f"B={batch}", dtype, x=normal(f"B {widths[0]}"), **layers)(perceptron)


measure_perceptron("perceptron 64-128-64-10", 64, (64, 128, 64, 10), "float64")
measure_perceptron("perceptron 784-512-512-10", 128, (784, 512, 512, 10), "float64")
measure_perceptron("perceptron 784-512-512-10, batch 1", 1, (784, 512, 512, 10))
measure_perceptron("perceptron 64-128-64-10, batch 7", 7, (64, 128, 64, 10))
measure_perceptron("perceptron 30-50-50-1, batch 10007", 10007, (30, 50, 50, 1))
measure_perceptron("perceptron 50-100-1, batch 200", 200, (50, 100, 1))


@program(
    "batch norm network, 6 layers", "B=128 D=128", x=normal("B D"), W=normal("6 D D", 0.1), gain=normal("6 D"),
    bias=normal("6 D"),
)  # fmt: skip
def batch_norm_network(x, W, gain, bias):
    """Dense without a bias, whose gradient would be 0 but for rounding, batch norm, ReLU."""
    for i in range(len(W)):
        z = x @ W[i]
        centred = z - np.mean(z, axis=0)
        x = np.maximum(centred / np.sqrt(np.mean(centred**2, axis=0) + 1e-5) * gain[i] + bias[i], 0)
    return np.mean(x**2)


@program(
    "autoencoder 784-256-32", "B=128 D=784 H=256 Z=32", x=normal("B D"), W_1=normal("D H", 0.1), b_1=normal("H", 0.1),
    W_2=normal("H Z", 0.1), b_2=normal("Z", 0.1), W_3=normal("Z H", 0.1), b_3=normal("H", 0.1), W_4=normal("H D", 0.1),
    b_4=normal("D", 0.1),
)  # fmt: skip
def autoencoder(x, W_1, b_1, W_2, b_2, W_3, b_3, W_4, b_4):
    """Down to Z numbers and back."""
    code = np.maximum(np.maximum(x @ W_1 + b_1, 0) @ W_2 + b_2, 0)
    return np.mean((np.maximum(code @ W_3 + b_3, 0) @ W_4 + b_4 - x) ** 2)


@program(
    "classes one-hot, 5000", "B=64 D=256 K=5000", x=normal("B D"), W=normal("D K", 0.1), b=normal("K"),
    labels=one_hot("B K"),
)  # fmt: skip
def classes(x, W, b, labels):
    """Cross-entropy of many classes."""
    return -np.mean(np.sum(labels * log_softmax(x @ W + b), axis=1))


@program(
    "classes as integers, 2000", "B=256 D=256 K=2000", x=normal("B D"), W=normal("D K", 0.1), b=normal("K"),
    labels=integers("B", "K"),
)  # fmt: skip
def classes_as_integers(x, W, b, labels):
    """The same with labels as integers."""
    return cross_entropy(x @ W + b, labels)


@program("cross-entropy of sequences", "B=16 T=50 K=100", scores=normal("B T K"), labels=integers("B T", "K"))
def sequence_cross_entropy(scores, labels):
    """A class for each step."""
    return cross_entropy(scores, labels)


@program("logistic regression", "N=10000 D=100", X=normal("N D"), y=signs("N"), w=normal("D", 0.1), b=normal("", 0.1))
def logistic(X, y, w, b):
    """Labels are −1 and 1; some decay of the weights."""
    return np.mean(softplus(-y * (X @ w + b))) + 0.01 * np.sum(w * w)


@program(
    "logistic mixed model", "N=2000 D=10 G=50", X=normal("N D"), y=signs("N"), group=integers("N", "G"), w=normal("D"),
    u=normal("G"), log_sd=normal(""),
)  # fmt: skip
def mixed_model(X, y, group, w, u, log_sd):
    """A logistic regression with a random intercept for each group."""
    prior = 0.5 * np.sum(u**2) * np.exp(-2 * log_sd) + len(u) * log_sd
    return np.sum(softplus(-y * (X @ w + u[group]))) + prior


@program("Poisson regression", "N=5000 D=30", X=normal("N D", 0.1), w=normal("D", 0.1), y=counts("N"))
def poisson(X, w, y):
    """exp(X w) events are expected."""
    z = X @ w
    return np.mean(np.exp(z) - y * z)


@program(
    "hurdle regression", "N=4000 D=12", X=normal("N D", 0.3), y=counts("N", 1.0), a=normal("D", 0.3),
    b=normal("D", 0.3),
)  # fmt: skip
def hurdle(X, y, a, b):
    """Whether there are any events, and how many where there are."""
    some, rate = X @ a, np.exp(X @ b)
    many = rate - y * np.log(rate) + np.log(1 - np.exp(-rate))
    return np.mean(np.where(y > 0.5, softplus(-some) + many, softplus(some)))


@program("Huber and lasso", "N=5000 D=50", X=normal("N D"), y=normal("N"), w=normal("D", 0.1))
def huber_lasso(X, y, w):
    """Quadratic near 0, linear beyond, and the sum of |w|."""
    r = X @ w - y
    a = np.abs(r)
    return np.mean(np.where(a < 1, 0.5 * r * r, a - 0.5)) + 1e-3 * np.sum(np.abs(w))


@program("quantile regression", "N=5000 D=20", X=normal("N D"), y=normal("N"), W=normal("D 5"))
def quantile_regression(X, y, W):
    """The pinball loss of five quantiles at once."""
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95], X.dtype)
    r = y[:, None] - X @ W
    return np.mean(np.maximum(q * r, (q - 1) * r))


@program(
    "ordinal regression", "N=2000 D=20", X=normal("N D"), w=normal("D", 0.2), steps=normal("4"),
    labels=integers("N", "5"),
)  # fmt: skip
def ordinal_regression(X, w, steps, labels):
    """Proportional odds: five ordered classes between rising thresholds."""
    thresholds = np.cumsum(np.concatenate([steps[:1], np.exp(steps[1:])]))
    below = sigmoid(thresholds - (X @ w)[:, None])
    edge = np.ones((len(X), 1), X.dtype)
    share = np.diff(np.concatenate([0 * edge, below, edge], axis=1), axis=1)
    return -np.mean(np.log(np.take_along_axis(share, labels[:, None], axis=1) + 1e-6))


@program("hinge of classes", "N=500 D=50 K=20", X=normal("N D"), labels=integers("N", "K"), W=normal("D K", 0.1))
def hinge(X, labels, W):
    """Crammer and Singer's margins."""
    z = X @ W
    margin = z - np.take_along_axis(z, labels[:, None], axis=1) + 1
    return np.mean(np.sum(np.maximum(margin, 0), axis=1) - 1) + 1e-4 * np.sum(W * W)


@program("focal loss", "B=512 K=20", scores=normal("B K"), labels=integers("B", "K"))
def focal(scores, labels):
    """Cross-entropy that looks away from what is easy."""
    log_p = np.take_along_axis(log_softmax(scores), labels[:, None], axis=1)
    return -np.mean((1 - np.exp(log_p)) ** 2 * log_p)


@program("distillation", "B=256 K=100", student=normal("B K"), teacher=normal("B K"), labels=integers("B", "K"))
def distillation(student, teacher, labels):
    """The divergence from a teacher at temperature 4, and smoothed labels."""
    log_q, log_p = log_softmax(student / 4), log_softmax(teacher / 4)
    smooth = 0.9 * cross_entropy(student, labels) - 0.1 * np.mean(log_softmax(student))
    return 16 * np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=1)) + smooth


@program("Dice loss", "B=16 P=900 K=4", scores=normal("B P K"), masks=one_hot("B P K"))
def dice(scores, masks):
    """The overlap of masks, class by class."""
    p = softmax(scores)
    overlap = 2 * np.sum(p * masks, axis=1) + 1
    return 1 - np.mean(overlap / (np.sum(p, axis=1) + np.sum(masks, axis=1) + 1))


@program("boxes", "N=2000", boxes=uniform("N 4"), targets=uniform("N 4"))
def boxes(boxes, targets):
    """Smooth absolute errors of corners, less the common area."""
    d = np.abs(boxes - targets)
    low, high = np.maximum(boxes[:, :2], targets[:, :2]), np.minimum(boxes[:, 2:], targets[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    return np.mean(np.sum(np.where(d < 1, 0.5 * d * d, d - 0.5), axis=1)) - 0.1 * np.mean(common)


@program(
    "contrastive pairs", "B=256 D=128 E=64", x=normal("B D"), y=normal("B E"), W=normal("D E", 0.1),
    V=normal("E E", 0.1),
)  # fmt: skip
def contrastive(x, y, W, V):
    """Each row of x is to find its row of y."""
    a, b = unit_rows(x @ W), unit_rows(y @ V)
    return np.mean(log_sum_exp(a @ b.T / 0.1, axis=1) - np.sum(a * b, axis=1) / 0.1)


@program("SimCLR", "B=128 D=64", first=normal("B D"), second=normal("B D"))
def simclr(first, second):
    """Two views of each example among all others (NT-Xent)."""
    z = unit_rows(np.concatenate([first, second]))
    scores = z @ z.T / 0.5 - 1e4 * np.eye(len(z), dtype=z.dtype)
    partner = np.roll(np.arange(len(z)), len(first))
    return cross_entropy(scores, partner)


@program("Barlow twins", "B=256 D=64", first=normal("B D"), second=normal("B D"))
def barlow_twins(first, second):
    """The correlations of two views are to be the identity."""
    a, b = ((x - np.mean(x, axis=0)) / np.std(x, axis=0) for x in (first, second))
    c = a.T @ b / len(a)
    on = np.diagonal(c)
    return np.sum((on - 1) ** 2) + 5e-3 * (np.sum(c**2) - np.sum(on**2))


@program(
    "triplets", "N=500 D=64 E=32 B=512", x=normal("N D"), W=normal("D E", 0.1), i=integers("B", "N"),
    j=integers("B", "N"), k=integers("B", "N"),
)  # fmt: skip
def triplets(x, W, i, j, k):
    """Anchor, positive and negative, a margin apart."""
    e = unit_rows(x @ W)
    near, far = np.sum((e[i] - e[j]) ** 2, axis=1), np.sum((e[i] - e[k]) ** 2, axis=1)
    return np.mean(np.maximum(near - far + 0.2, 0))


@program(
    "ranking by lists", "B=64 N=50 D=20", X=normal("B N D"), relevance=normal("B N"), W=normal("D 16", 0.2),
    v=normal("16"),
)  # fmt: skip
def list_ranking(X, relevance, W, v):
    """ListNet: the distribution of scores beside that of relevances."""
    return -np.mean(np.sum(softmax(relevance) * log_softmax(np.tanh(X @ W) @ v), axis=1))


@program(
    "mixture of experts", "B=128 D=32 E=8 H=64 O=16", x=normal("B D"), G=normal("D E", 0.1), W_1=normal("E D H", 0.1),
    W_2=normal("E H O", 0.1),
)  # fmt: skip
def experts(x, G, W_1, W_2):
    """Eight networks, weighted by a gate."""
    h = np.maximum(np.einsum("bd,edh->beh", x, W_1), 0)
    return np.mean(np.sum(softmax(x @ G)[:, :, None] * np.einsum("beh,eho->beo", h, W_2), axis=1) ** 2)


@program("maxout", "B=256 D=64 H=64", x=normal("B D"), W=normal("D 4H", 0.1), b=normal("4H", 0.1))
def maxout(x, W, b):
    """The largest of four lines."""
    return np.mean(np.max(np.reshape(x @ W + b, (len(x), -1, 4)), axis=2) ** 2)


@program("Gumbel softmax", "B=512 D=32 K=50", x=normal("B D"), W=normal("D K", 0.1), u=uniform("B K", 0.01, 0.99))
def gumbel(x, W, u):
    """A relaxed draw of a class."""
    return np.mean(softmax((x @ W - np.log(-np.log(u))) / 0.5) ** 2)


@program(
    "deep sets", "B=64 N=50 D=8 H=64", x=normal("B N D"), W_1=normal("D H", 0.1), b_1=normal("H", 0.1),
    W_2=normal("H H", 0.1), b_2=normal("H", 0.1), W_3=normal("H 1", 0.1), b_3=normal("1"),
)  # fmt: skip
def deep_sets(x, W_1, b_1, W_2, b_2, W_3, b_3):
    """A network of each member, their sum, a line."""
    h = np.maximum(np.maximum(x @ W_1 + b_1, 0) @ W_2 + b_2, 0)
    return np.mean((np.sum(h, axis=1) @ W_3 + b_3) ** 2)


@program("bilinear form", "B=128 I=32 J=32 K=8", x=normal("B I"), y=normal("B J"), W=normal("I J K", 0.1))
def bilinear(x, y, W):
    """x W y for each of K matrices."""
    return np.mean(np.einsum("bi,ijk,bj->bk", x, W, y) ** 2)


@program("factorization machine", "B=512 D=100 K=8", x=normal("B D"), w=normal("D", 0.1), V=normal("D K", 0.1))
def factorization_machine(x, w, V):
    """All products of two features, through K factors."""
    return np.mean((x @ w + 0.5 * np.sum((x @ V) ** 2 - (x * x) @ (V * V), axis=1)) ** 2)


@program(
    "radial basis network", "B=512 D=8 K=100", x=normal("B D"), centres=normal("K D"), log_rate=normal("K", 0.1),
    w=normal("K 1"),
)  # fmt: skip
def radial_basis(x, centres, log_rate, w):
    """A weighted sum of Gaussian bumps."""
    d = np.sum((x[:, None] - centres[None]) ** 2, axis=2)
    return np.mean((np.exp(-d * np.exp(log_rate)) @ w) ** 2)


@program(
    "Kolmogorov–Arnold network", "B=256 D=16 H=16", x=normal("B D"), C_1=normal("D 8 H", 0.1), C_2=normal("H 8 4", 0.1),
)  # fmt: skip
def kolmogorov_arnold(x, C_1, C_2):
    """Learned functions on the edges: sums of eight bumps."""
    centres = np.linspace(-2, 2, 8, dtype=x.dtype)
    for C in (C_1, C_2):
        x = np.einsum("bik,iko->bo", np.exp(-4 * (x[:, :, None] - centres) ** 2), C)
    return np.mean(x * x)


@program("linear splines", "B=500 D=10", x=normal("B D", 0.4), heights=normal("20 D", 0.1))
def linear_splines(x, heights):
    """A piecewise linear function of each column, by hat functions."""
    knots = np.linspace(-1, 1, 20, dtype=x.dtype)
    hats = np.maximum(0, 1 - 9.5 * np.abs(x[:, None, :] - knots[None, :, None]))
    return np.mean(np.sum(hats * heights[None], axis=1) ** 2)


@program("polynomial of degree 7", "N=10000", x=normal("N", 0.5), w=normal("8"))
def polynomial(x, w):
    """The sum of w xⁱ."""
    return np.mean(sum(w[i] * x**i for i in range(8)) ** 2)


@program("Chebyshev regression", "N=5000", x=uniform("N", -1, 1), y=normal("N"), c=normal("12"))
def chebyshev(x, y, c):
    """Twelve Chebyshev polynomials by their recurrence."""
    before, now = np.ones_like(x), x
    total = c[0] * before + c[1] * now
    for k in range(2, 12):
        before, now = now, 2 * x * now - before
        total = total + c[k] * now
    return np.mean((total - y) ** 2)


@program(
    "mixture density network", "B=512 D=8 H=32", x=normal("B D"), y=normal("B"), W_1=normal("D H", 0.3),
    b_1=normal("H"), W_2=normal("H 15", 0.2),
)  # fmt: skip
def mixture_density(x, y, W_1, b_1, W_2):
    """A network gives the weights, means and deviations of five normal distributions."""
    weight, mean, log_sd = np.split(np.tanh(x @ W_1 + b_1) @ W_2, 3, axis=1)
    z = (y[:, None] - mean) * np.exp(-log_sd)
    return -np.mean(log_sum_exp(log_softmax(weight) - 0.5 * z * z - log_sd, axis=1))


@program(
    "portfolio", "T=250 N=40", returns=normal("T N", 0.01), w=normal("N"), costs=uniform("N"), old=constant("N", 0.025),
    dtype="float64",
)  # fmt: skip
def portfolio(returns, w, costs, old):
    """Minus the mean return over its deviation, and the smoothed cost of trading into softmax weights."""
    weights = softmax(w)
    gained = returns @ weights
    sharpe = np.mean(gained) / np.std(gained)
    return -sharpe + 0.01 * np.sum(costs * np.sqrt((weights - old) ** 2 + 1e-8))


@program(
    "wide and deep", "B=256 V=100 H=128", places=integers("B 10", "V"), x=normal("B 20"), tables=normal("10 V 16", 0.1),
    W_1=normal("180 H", 0.1), b_1=normal("H", 0.1), W_2=normal("H 1", 0.1),
)  # fmt: skip
def wide_and_deep(places, x, tables, W_1, b_1, W_2):
    """Embeddings of ten categories beside numbers, then two layers."""
    embedded = tables[np.arange(len(tables))[None], places]
    h = np.concatenate([np.reshape(embedded, (len(x), -1)), x], axis=1)
    return np.mean((np.maximum(h @ W_1 + b_1, 0) @ W_2) ** 2)
