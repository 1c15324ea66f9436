"""The operations: one record each, one family a file. Importing a family registers its records."""

from undertow.primitives import bessel as bessel
from undertow.primitives import choice as choice
from undertow.primitives import close as close
from undertow.primitives import correlation as correlation
from undertow.primitives import counting as counting
from undertow.primitives import cumulative as cumulative
from undertow.primitives import diag as diag
from undertow.primitives import difference as difference
from undertow.primitives import grid as grid
from undertow.primitives import hyperbolic as hyperbolic
from undertow.primitives import nan as nan
from undertow.primitives import order as order
from undertow.primitives import polynomial as polynomial
from undertow.primitives import quantile as quantile
from undertow.primitives import remainder as remainder
from undertow.primitives import signal as signal
from undertow.primitives import split as split
from undertow.primitives import take as take
from undertow.primitives import trigonometric as trigonometric
from undertow.primitives import ufunc_folds as ufunc_folds
from undertow.primitives import ufunc_methods as ufunc_methods
from undertow.primitives import ufunc_segments as ufunc_segments
from undertow.primitives import unwrap as unwrap
from undertow.primitives import write as write
from undertow.primitives.arithmetic import (
    absolute,
    add,
    cbrt,
    divide,
    multiply,
    negative,
    power,
    reciprocal,
    sqrt,
    square,
    subtract,
)
from undertow.primitives.arrange import flip, repeat, roll, rot90, tile
from undertow.primitives.bounds import clip, maximum, minimum
from undertow.primitives.compare import equal, greater, greater_equal, less, less_equal, logical_and, not_equal, where
from undertow.primitives.decompose import cholesky, eigh_values, eigh_vectors, eigvalsh, qr_q, qr_r
from undertow.primitives.determinant import det
from undertow.primitives.diagonal import diagonal, put_diagonal, trace, tril, triu
from undertow.primitives.edit import delete, insert
from undertow.primitives.einsum import einsum
from undertow.primitives.exponential import exp, expm1, sigmoid, softplus, tanh
from undertow.primitives.index import getitem, index, index_add, index_update, one_hot, one_hot_rows, stacked, update
from undertow.primitives.join import concatenate
from undertow.primitives.like import CONSTRUCTORS, fill_like
from undertow.primitives.linalg import inv, lstsq, pinv, solve
from undertow.primitives.logarithm import log, log1p, logaddexp
from undertow.primitives.normal import normal_cdf
from undertow.primitives.norms import norm
from undertow.primitives.pad import fold_pad, pad
from undertow.primitives.position import argmax, argmin
from undertow.primitives.position import count_nonzero as count_nonzero
from undertow.primitives.prod import prod, prod_others
from undertow.primitives.product import matmul, tensordot
from undertow.primitives.random import uniform_at
from undertow.primitives.ranges import linspace
from undertow.primitives.record import (
    FUNCTIONS,
    NO_GRADIENT,
    NOT_IMPLEMENTED,
    OPERATORS,
    REFUSED,
    REGISTRY,
    UFUNCS,
    ZERO,
    Answer,
    Code,
    Kink,
    Primitive,
    Sample,
    check_number,
    count_of,
    dtype_of,
    load_scipy,
    name_of,
    shape_of,
    spec_of,
)
from undertow.primitives.record import Traced as Traced
from undertow.primitives.reduce import max_, mean_, min_, sum_
from undertow.primitives.rounding import sign
from undertow.primitives.shape import astype, broadcast_to, expand_dims, reshape, squeeze, transpose
from undertow.primitives.singular import svd_s, svd_u, svd_vt, svdvals
from undertow.primitives.softmax_family import log_softmax, logsumexp, softmax
from undertow.primitives.special import attach, clip_cotangent, identity, positions, size, stop_gradient
from undertow.primitives.template import take_apart
from undertow.primitives.vectors import cross, kron
from undertow.primitives.windows import add_windows, sliding_windows

__all__ = [
    "Answer",
    "CONSTRUCTORS",
    "Code",
    "FUNCTIONS",
    "Kink",
    "NOT_IMPLEMENTED",
    "NO_GRADIENT",
    "OPERATORS",
    "Primitive",
    "REFUSED",
    "REGISTRY",
    "Sample",
    "Traced",
    "UFUNCS",
    "ZERO",
    "absolute",
    "add",
    "add_windows",
    "argmax",
    "argmin",
    "astype",
    "attach",
    "broadcast_to",
    "cbrt",
    "cholesky",
    "check_number",
    "clip",
    "clip_cotangent",
    "concatenate",
    "count_of",
    "cross",
    "delete",
    "det",
    "diagonal",
    "divide",
    "dtype_of",
    "eigh_values",
    "eigh_vectors",
    "eigvalsh",
    "einsum",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "fill_like",
    "flip",
    "fold_pad",
    "getitem",
    "greater",
    "greater_equal",
    "identity",
    "index",
    "index_add",
    "index_update",
    "insert",
    "inv",
    "kron",
    "less",
    "less_equal",
    "linspace",
    "load_scipy",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logaddexp",
    "logsumexp",
    "lstsq",
    "matmul",
    "max_",
    "maximum",
    "mean_",
    "min_",
    "minimum",
    "multiply",
    "name_of",
    "negative",
    "norm",
    "normal_cdf",
    "not_equal",
    "one_hot",
    "one_hot_rows",
    "pad",
    "pinv",
    "positions",
    "power",
    "prod",
    "prod_others",
    "put_diagonal",
    "qr_q",
    "qr_r",
    "reciprocal",
    "repeat",
    "reshape",
    "roll",
    "rot90",
    "shape_of",
    "sigmoid",
    "sign",
    "size",
    "sliding_windows",
    "softmax",
    "softplus",
    "solve",
    "spec_of",
    "sqrt",
    "square",
    "stacked",
    "squeeze",
    "stop_gradient",
    "subtract",
    "sum_",
    "svd_s",
    "svd_u",
    "svd_vt",
    "svdvals",
    "take_apart",
    "tanh",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "uniform_at",
    "update",
    "where",
]
