"""Small reductions and element-wise expressions, one or two a program."""

from __future__ import annotations

import numpy as np
from benchmarks.programs.formulas import log_sum_exp, softmax, squared_distances
from benchmarks.programs.program import constant, normal, program, uniform


@program("elementwise, 10⁶ numbers", "N=1000000", x=normal("N"), a=normal("N"), b=normal("N"))
def elementwise(x, a, b):
    """A sine, an exponential and a logarithm."""
    return np.sum(np.sin(x) * np.exp(-x * x) * a + np.log1p(np.abs(x)) * b)


@program("sum over a middle axis", "A=64 B=50 C=64", x=normal("A B C"), w=normal("A B C"))
def middle_sum(x, w):
    """The squares of sums over the axis between two others."""
    return np.sum(np.sum(x * w, axis=1) ** 2)


@program("sum over a middle axis, narrow", "A=200 B=50 C=5", x=normal("A B C"), w=normal("A B C"))
def narrow_middle_sum(x, w):
    """The same with five columns."""
    return np.sum(np.sum(x * w, axis=1) ** 2)


@program("layer norm of four axes", "A=8 B=16 C=16 D=32", x=normal("A B C D"), gain=normal("D"))
def cubed_norm(x, gain):
    """Cubes of normalised rows."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return np.sum((centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5) * gain) ** 3)


@program("softmax over a middle axis, 10", "A=64 B=10 C=50", x=normal("A B C"))
def middle_softmax(x):
    """Its square times its argument."""
    p = softmax(x, axis=1)
    return np.sum(p * p * x)


@program("softmax over a middle axis, 50", "A=64 B=50 C=10", x=normal("A B C"))
def long_middle_softmax(x):
    """The same over fifty."""
    p = softmax(x, axis=1)
    return np.sum(p * p * x)


@program("log-sum-exp of two axes", "A=64 B=20 C=30", x=normal("A B C"))
def two_axes_log_sum_exp(x):
    """Over the outer axes, then over the middle one."""
    return log_sum_exp(log_sum_exp(np.reshape(x, (len(x), -1)), axis=1), axis=0) + np.sum(np.max(x, axis=(0, 2)))


@program("running sums of rows", "A=256 B=200", x=normal("A B"))
def row_sums(x):
    """Their squares."""
    return np.sum(np.cumsum(x, axis=1) ** 2)


@program("running sums of columns", "A=256 B=200", x=normal("A B"))
def column_sums(x):
    """Their squares."""
    return np.sum(np.cumsum(x, axis=0) ** 2)


@program("running products", "A=500 B=20", x=uniform("A B", 0.7, 1.3))
def running_products(x):
    """Of the rows."""
    return np.sum(np.cumprod(x, axis=1))


@program("moving averages", "A=200 B=300", x=normal("A B"))
def moving_averages(x):
    """Seven values at a time, by running sums."""
    sums = np.cumsum(x, axis=1)
    return np.sum(((sums[:, 7:] - sums[:, :-7]) / 7) ** 2)


@program("discounted returns", "B=32 N=64", rewards=normal("B N"), values=normal("B N"), log_decay=constant("", -3.0))
def discounted_returns(rewards, values, log_decay):
    """Sums of later rewards by a triangle of powers, as advantages."""
    steps = np.arange(rewards.shape[1])
    wait = steps[:, None] - steps[None]
    weights = np.where(wait >= 0, np.exp(-np.exp(log_decay) * np.maximum(wait, 0).astype(rewards.dtype)), 0)
    advantage = rewards @ weights - values
    return np.mean((advantage - np.mean(advantage)) ** 2 / (np.var(advantage) + 1e-2) * values)


@program("five largest of each row", "A=500 B=100", x=normal("A B"))
def five_largest(x):
    """The squares of the last five when sorted."""
    return np.sum(np.sort(x, axis=1)[:, -5:] ** 2)


@program("deviation from the median", "A=200 B=101", x=normal("A B"))
def median_deviation(x):
    """The median of absolute deviations from the median of each row."""
    return np.sum(np.median(np.abs(x - np.median(x, axis=1, keepdims=True)), axis=1))


@program("Gini coefficients", "A=100 B=200", x=uniform("A B", 0.1, 2))
def gini(x):
    """How unequal each row is, by its sorted values."""
    n = x.shape[1]
    ranks = (2 * np.arange(1, n + 1) - n - 1).astype(x.dtype)
    return np.mean(np.sum(ranks * np.sort(x, axis=1), axis=1) / (n * np.sum(x, axis=1)))


@program("largest of two axes", "A=200 H=14", x=normal("A H H"))
def largest(x):
    """The squares of the largest of each image."""
    return np.sum(np.max(x, axis=(1, 2)) ** 2)


@program("variance of two axes", "A=64 B=20 C=30", x=normal("A B C"))
def variances(x):
    """Variances times deviations."""
    return np.sum(np.var(x, axis=(0, 2)) * np.std(x, axis=(0, 2)))


@program("stacked columns", "N=10000", a=normal("N"), b=normal("N"), c=normal("N"))
def stacked(a, b, c):
    """Three products as the last axis, cubed."""
    return np.sum(np.stack([a * b, b * c, c * a], axis=-1) ** 3)


@program("sums of three vectors", "A=40 B=50 C=60", a=normal("A"), b=normal("B"), c=normal("C"))
def outer_sums(a, b, c):
    """tanh of all their sums."""
    return np.sum(np.tanh(a[:, None, None] + b[None, :, None] + c[None, None, :]))


@program("lower triangle of products", "N=200 D=50", x=normal("N D"))
def lower_triangle(x):
    """Its squares."""
    return np.sum(np.tril(x @ x.T) ** 2)


@program("correlations of columns", "N=1000 D=50", x=normal("N D"))
def correlations(x):
    """Their squares."""
    centred = x - np.mean(x, axis=0)
    z = centred / np.sqrt(np.mean(centred * centred, axis=0))
    return np.sum((z.T @ z / len(x)) ** 2)


@program("autocorrelations", "B=64 N=200", x=normal("B N"))
def autocorrelations(x):
    """Of the first ten lags, by shifted products."""
    centred = x - np.mean(x, axis=1, keepdims=True)
    n, lags = x.shape[1], min(10, x.shape[1] - 1)
    found = [np.sum(centred[:, k:] * centred[:, : n - k], axis=1) for k in range(lags)]
    return np.mean(sum((r / found[0]) ** 2 for r in found[1:]))


@program("branches and bounds", "N=100000", x=normal("N"), y=normal("N"))
def branches(x, y):
    """A choice between a clipped product and an exponential."""
    return np.sum(np.where(x > y, np.clip(x, -1, 1) * y, np.exp(-np.abs(x))))


@program("interpolation", "N=5000 K=20", x=uniform("N"), heights=normal("K"))
def interpolation(x, heights):
    """A table of values read between its places."""
    return np.mean(np.interp(x, np.linspace(0, 1, len(heights), dtype=x.dtype), heights) ** 2)


@program("distances", "N=200 M=150 D=3", x=normal("N D"), y=normal("M D"), dtype="float64")
def distances(x, y):
    """Between all rows."""
    return np.sum(np.sqrt(squared_distances(x, y) + 1e-9))


@program("density of each point", "N=200 D=2", x=normal("N D"))
def densities(x):
    """Logarithms of sums of Gaussian bumps at all points."""
    return np.sum(np.log(np.sum(np.exp(-squared_distances(x, x)), axis=1)))


@program("t-SNE", "N=200 D=2", y=normal("N D"), P=uniform("N N", 0.1, 1))
def tsne(y, P):
    """The divergence of neighbourhoods in the plane."""
    P = P / np.sum(P)
    near = 1 / (1 + squared_distances(y, y)) * (1 - np.eye(len(y), dtype=y.dtype))
    return np.sum(P * np.log((P + 1e-9) / (near / np.sum(near) + 1e-9)))


@program("k-means", "N=2000 D=16 K=10", x=normal("N D"), centres=normal("K D"))
def k_means(x, centres):
    """The squared distance to the nearest of ten centres."""
    return np.mean(np.min(squared_distances(x, centres), axis=1))


@program("soft histogram", "N=5000 K=32", x=uniform("N"), target=uniform("K"))
def soft_histogram(x, target):
    """A histogram with Gaussian bins beside a wanted one."""
    centres = np.linspace(0, 1, len(target), dtype=x.dtype)
    share = softmax(-((x[:, None] - centres) ** 2) * 500)
    return np.sum((np.mean(share, axis=0) - target / np.sum(target)) ** 2)


@program("energy distance", "N=150 M=150 D=4", x=normal("N D"), y=normal("M D"))
def energy_distance(x, y):
    """Mean distances between and within two samples."""

    def mean_distance(a, b):
        return np.mean(np.sqrt(squared_distances(a, b) + 1e-6))

    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)
