"""Losses of numbers and counts: for each example the sum over the columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from undertow import primitives as P
from undertow.errors import ShapeError
from undertow.graph import show_shape
from undertow.nn.configured import INSIDE, POSITIVE, TRUTH
from undertow.nn.loss_record import loss, sum_columns
from undertow.nn.targets_of_losses import check_same, check_target
from undertow.primitives.stable import times_log


def _advise(settings: Mapping[str, Any], end: str) -> str | None:
    """What is odd about a squared or absolute error after an activation."""
    if end in ("softmax", "log_softmax"):
        return "its gradient vanishes where the model is sure and wrong. Use categorical_cross_entropy"
    if end in ("relu", "relu6"):
        return "it cannot predict a number below 0, and where it gives 0 it does not learn. Remove the activation"
    return None


@loss("regression", advise=_advise)
def mean_squared_error(p: Any, y: Any) -> Any:
    """(1/m) Σ (p − y)²; its gradient by p is (2/m)(p − y).

    With K columns this is K times what PyTorch and scikit-learn report, which average over columns too.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``mean_squared_error: p is (3, 1), y is (3,): … Give y[:, None].``

    Source: Goodfellow et al., Deep Learning, 2016, section 5.1.4.

    Example:
        >>> mean_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        np.float64(2.0)
    """
    check_same("mean_squared_error", "p", p, y)
    e = p - y
    return sum_columns(e * e)


@loss("regression", advise=_advise)
def half_squared_error(p: Any, y: Any) -> Any:
    """(1/m) Σ ½(p − y)²: half of `mean_squared_error`; its gradient by p is the textbook's (p − y), over m.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``half_squared_error: p is (3, 1), y is (3,): …``

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, eq. 5.14 (there summed over the batch).

    Example:
        >>> half_squared_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        np.float64(1.0)
    """
    check_same("half_squared_error", "p", p, y)
    e = p - y
    return sum_columns(0.5 * (e * e))


@loss("regression", advise=_advise)
def mean_absolute_error(p: Any, y: Any) -> Any:
    """(1/m) Σ |p − y|; its gradient by p is sign(p − y)/m (0 where p = y). It is least at the median.

    With K columns this is K times what PyTorch (l1_loss) and scikit-learn report.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``mean_absolute_error: p is (3, 1), y is (3,): …``

    Source: Bishop, Pattern Recognition and Machine Learning, 2006, eq. 1.91 (q = 1).

    Example:
        >>> mean_absolute_error(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        np.float64(1.0)
    """
    check_same("mean_absolute_error", "p", p, y)
    return sum_columns(np.abs(p - y))


@loss("regression", advise=_advise, delta=POSITIVE)
def huber(p: Any, y: Any, *, delta: float = 1.0) -> Any:
    """(1/m) Σ (½e² where |e| ≤ δ, else δ(|e| − ½δ)), e = p − y; its gradient by p is e clipped to ±δ, over m.

    With K columns this is K times PyTorch's huber_loss; its smooth_l1_loss is huber_loss/δ.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.
        delta: where the parabola becomes a line, in the units of y.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``huber: p is (3, 1), y is (3,): …``
        ArgumentError: ``huber: delta is 0. Give a number above 0.``

    Source: Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35, 1964.

    Example:
        >>> huber(np.array([0.5, 3.0]), np.zeros(2)), huber(np.array([0.5, 3.0]), np.zeros(2), delta=2.0)
        (np.float64(1.3125), np.float64(2.0625))
    """
    check_same("huber", "p", p, y)
    e = p - y
    c = np.clip(e, -delta, delta)
    return sum_columns(c * (e - 0.5 * c))


@loss("regression", advise=_advise)
def log_cosh(p: Any, y: Any) -> Any:
    """(1/m) Σ log cosh(p − y); its gradient by p is tanh(p − y)/m: a Huber loss without corners.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``log_cosh: p is (3, 1), y is (3,): …``

    Source: Green, Bayesian reconstructions from emission tomography data …, IEEE Trans. Med. Imaging 9, 1990.

    Example:
        >>> log_cosh(np.array([0.0, 1000.0]), np.zeros(2)).round(4)
        np.float64(499.6534)
    """
    check_same("log_cosh", "p", p, y)
    e = p - y
    size = np.abs(e)
    near = size < 1
    # 1 + 2 sinh²(e/2) = cosh e keeps the digits of a small e, the other form is finite for a large one.
    small = np.log1p(2 * np.square(np.sinh(0.5 * np.where(near, e, 0))))
    return sum_columns(np.where(near, small, size + P.softplus(-2 * size) - math.log(2)))


@loss("regression", advise=_advise, q=INSIDE)
def quantile(p: Any, y: Any, *, q: float = 0.5) -> Any:
    """(1/m) Σ (q(y − p) where p < y, else (1 − q)(p − y)), the pinball loss: least at the q-quantile of y.

    Its gradient by p is −q/m below y, (1 − q)/m above, 0 at y. With K columns it is K times scikit-learn's
    mean_pinball_loss; for q = ½ it is half of `mean_absolute_error`.

    Args:
        p: predictions, (m,) or (m, K), floating.
        y: targets, of the same shape.
        q: which quantile, between 0 and 1.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``quantile: p is (3, 1), y is (3,): …``
        ArgumentError: ``quantile: q is 90. Give a number between 0 and 1.``

    Source: Koenker and Bassett, Regression quantiles, Econometrica 46, 1978.

    Example:
        >>> quantile(np.array([0.0, 2.0]), np.ones(2), q=0.75)
        np.float64(0.5)
    """
    check_same("quantile", "p", p, y)
    e = y - p
    return sum_columns(q * np.maximum(e, 0) + (1 - q) * np.maximum(-e, 0))


def _advise_poisson(settings: Mapping[str, Any], end: str) -> str | None:
    """What is odd about the rate of a Poisson distribution after an activation."""
    if settings.get("log_input", True):
        if end in ("identity", "tanh", "lecun_tanh"):
            return None
        return "it takes the logarithm of the rate, of any sign. Remove the activation, or set log_input=False"
    if end in ("softplus", "relu", "relu6", "sigmoid", "softmax"):
        return None
    return "with log_input=False it takes a rate above 0. End the model in softplus, or leave log_input=True"


def _rate(outputs: Any, settings: Mapping[str, Any]) -> Any:
    """The predicted count."""
    return np.exp(outputs) if settings.get("log_input", True) else outputs


@loss("regression", logits=False, decision=_rate, advise=_advise_poisson, log_input=TRUTH)
def poisson(z: Any, y: Any, *, log_input: bool = True) -> Any:
    """(1/m) Σ (e^z − y z), of a count y with the rate e^z; its gradient by z is (e^z − y)/m.

    With ``log_input=False`` z is the rate itself: z − y log z. Without the term log y!, as in PyTorch's
    poisson_nll_loss, which averages over columns too. scikit-learn's mean_poisson_deviance is twice
    the difference to the value at e^z = y.

    Args:
        z: the logarithm of the rate, or the rate, (m,) or (m, K), floating.
        y: counts or rates of 0 or more, of the same shape.
        log_input: whether z is the logarithm.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``poisson: z is (3, 1), y is (3,): …``
        DataError: ``poisson: y holds -1.0, but counts are 0 or more. …``

    Source: McCullagh and Nelder, Generalized linear models, 1989, section 6.2.

    Example:
        >>> poisson(np.zeros(2), np.array([0.0, 3.0])), poisson(np.ones(2), np.array([0.0, 3.0]), log_input=False)
        (np.float64(1.0), np.float64(1.0))
    """
    check_same("poisson", "z", z, y)
    check_target("poisson", y, lambda y: y >= 0, "counts are 0 or more. Use mean_squared_error for other numbers.")
    if log_input:
        return sum_columns(np.exp(z) - y * z)
    return sum_columns(z - times_log(y, z))


def _advise_logarithm(settings: Mapping[str, Any], end: str) -> str | None:
    """What is odd about the logarithm of a number after an activation."""
    if settings.get("log_input", True):
        if end == "identity":
            return None
        return "it takes log(1 + p), of any size. Remove the activation, or set log_input=False"
    if end in ("softplus", "sigmoid", "softmax", "hard_sigmoid"):
        return None
    return "with log_input=False, outputs below 0 count as 0 and do not learn. End the model in softplus"


def _number(outputs: Any, settings: Mapping[str, Any]) -> Any:
    """The predicted number."""
    return np.expm1(outputs) if settings.get("log_input", True) else outputs


@loss("regression", decision=_number, advise=_advise_logarithm, log_input=TRUTH)
def mean_squared_logarithmic_error(z: Any, y: Any, *, log_input: bool = True) -> Any:
    """(1/m) Σ (z − log(1 + y))² of a number y of 0 or more, predicted as p = e^z − 1; its gradient by z is 2/m of that.

    What counts is the ratio of 1 + p to 1 + y. With ``log_input=False`` the output is p itself: (log(1 + p) −
    log(1 + y))², where p below 0 counts as 0, as in Keras. With K columns this is K times scikit-learn's
    mean_squared_log_error.

    Args:
        z: log(1 + p), or p, (m,) or (m, K), floating.
        y: numbers of 0 or more, of the same shape.
        log_input: whether z is the logarithm.

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``mean_squared_logarithmic_error: z is (3, 1), y is (3,): …``
        DataError: ``mean_squared_logarithmic_error: y holds -1.0, but targets are 0 or more. …``

    Source: scikit-learn, User guide, section 3.4.6.5; Keras, ``MeanSquaredLogarithmicError``.

    Example:
        >>> mean_squared_logarithmic_error(np.array([0.0, 3.0]), np.array([0.0, np.e - 1]))
        np.float64(2.0)
        >>> mean_squared_logarithmic_error(np.array([np.e - 1, -9.0]), np.zeros(2), log_input=False)
        np.float64(0.5)
    """
    check_same("mean_squared_logarithmic_error", "z", z, y)
    remedy = "targets are 0 or more. Use mean_squared_error for other numbers."
    check_target("mean_squared_logarithmic_error", y, lambda y: y >= 0, remedy)
    e = (z if log_input else np.log1p(np.maximum(z, 0))) - np.log1p(y.astype(P.dtype_of(z)))
    return sum_columns(e * e)


def _advise_gaussian(settings: Mapping[str, Any], end: str) -> str | None:
    """What is odd about a mean and the logarithm of a variance after an activation."""
    if end == "identity":
        return None
    return "it takes means and logarithms of variances, of any sign. Remove the activation"


def _mean(outputs: Any, settings: Mapping[str, Any]) -> Any:
    """The predicted means."""
    return np.split(outputs, 2, axis=1)[0]


@loss("regression", decision=_mean, advise=_advise_gaussian, columns=2, least=POSITIVE)
def gaussian(z: Any, y: Any, *, least: float = 1e-6) -> Any:
    """(1/m) Σ ½ (log v + (y − μ)²/v), v = ε + e^s, of numbers y with the mean μ and the variance v, both predicted.

    The first K columns of z are μ, the others s. The gradient by μ is (μ − y)/(m v), by s ½ (1 − (y − μ)²/v) e^s/(m v).
    Without ½ log 2π, as PyTorch's gaussian_nll_loss(μ, y, v), of which this is K times the value.

    Args:
        z: (m, 2 K), floating.
        y: numbers, (m, K).
        least: ε, the least variance, in the units of y².

    Returns:
        One number; ``weights=`` (m,) makes it the weighted mean. A run's ``predict`` gives μ, its ``outputs`` both.

    Raises:
        ShapeError: ``gaussian: z is (3, 1), y is (3, 1). Give it two columns, …``
        ArgumentError: ``gaussian: least is 0. Give a number above 0.``

    Source: Nix and Weigend, Estimating the mean and variance of the target probability distribution, ICNN 1994, eq. 4.

    Example:
        >>> gaussian(np.array([[1.0, 0.0], [5.0, 0.0]]), np.array([[1.0], [3.0]])).round(4)
        np.float64(1.0)
    """
    a, b = P.shape_of(z), P.shape_of(y)
    k = b[1] if len(b) == 2 else None
    if not isinstance(k, int) or a != (b[0], 2 * k):
        raise ShapeError(
            f"gaussian: z is {show_shape(a)}, y is {show_shape(b)}. Give z two columns for each of y, first those of "
            "the means, then those of the logarithms of the variances, and y a row an example and a column a number."
        )
    mean, s = z[:, :k], z[:, k:]
    log_variance = np.logaddexp(s, math.log(least))
    e = y - mean
    return sum_columns(0.5 * (log_variance + e * e * np.exp(-log_variance)))


@loss("regression")
def cosine(p: Any, y: Any) -> Any:
    """(1/m) Σ_i (1 − cos of the angle between row p_i and row y_i); a row of zeros has the cosine 0.

    This is PyTorch's 1 − cosine_similarity. Its gradient by a p of zeros is −y/(m |y|).

    Args:
        p: predictions, (m, K), floating.
        y: targets, of the same shape; their length does not matter.

    Returns:
        One number from 0 to 2; ``weights=`` (m,) makes it the weighted mean.

    Raises:
        ShapeError: ``cosine: p is (3,). Give it a row an example and a column a dimension.``

    Source: derived here.

    Example:
        >>> cosine(np.array([[2.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 3.0]]))
        np.float64(0.5)
    """
    check_same("cosine", "p", p, y)
    shape = P.shape_of(p)
    if len(shape) != 2:
        raise ShapeError(f"cosine: p is {show_shape(shape)}. Give it a row an example and a column a dimension.")
    return 1 - np.sum(_of_length_one(p) * _of_length_one(y), axis=1)


def _of_length_one(x: Any) -> Any:
    """Rows of length 1, or of zeros."""
    square = np.sum(x * x, axis=1, keepdims=True)
    return x / np.sqrt(np.where(square == 0, 1, square))
