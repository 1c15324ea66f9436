"""The operations: one record each, one family a file. Importing a family registers its records."""

from undertow.primitives import correlation as correlation
from undertow.primitives import counting as counting
from undertow.primitives import cumulative as cumulative
from undertow.primitives import difference as difference
from undertow.primitives import nan as nan
from undertow.primitives import order as order
from undertow.primitives import quantile as quantile
from undertow.primitives import signal as signal
from undertow.primitives import spaced as spaced
from undertow.primitives.arithmetic import (
    absolute,
    add,
    divide,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    reciprocal,
    sign,
    sqrt,
    square,
    subtract,
)
from undertow.primitives.compare import equal, greater, greater_equal, less, less_equal, not_equal, where
from undertow.primitives.exponential import exp, expm1, log, log1p, logaddexp, sigmoid, softplus, tanh
from undertow.primitives.index import getitem, index, index_add, one_hot, update
from undertow.primitives.join import concatenate
from undertow.primitives.position import count_nonzero as count_nonzero
from undertow.primitives.prod import prod, prod_others
from undertow.primitives.product import matmul
from undertow.primitives.record import (
    FUNCTIONS,
    NO_GRADIENT,
    NOT_IMPLEMENTED,
    OPERATORS,
    REGISTRY,
    UFUNCS,
    ZERO,
    Answer,
    Code,
    Kink,
    Primitive,
    Sample,
    count_of,
    dtype_of,
    name_of,
    shape_of,
    spec_of,
)
from undertow.primitives.record import Traced as Traced
from undertow.primitives.reduce import max_, mean_, min_, sum_
from undertow.primitives.shape import (
    astype,
    broadcast_to,
    expand_dims,
    reshape,
    squeeze,
    transpose,
)
from undertow.primitives.softmax_family import log_softmax, logsumexp, softmax
from undertow.primitives.special import clip_cotangent, identity, size, stop_gradient

__all__ = [
    "FUNCTIONS",
    "NOT_IMPLEMENTED",
    "NO_GRADIENT",
    "OPERATORS",
    "REGISTRY",
    "UFUNCS",
    "ZERO",
    "Answer",
    "Code",
    "Kink",
    "Primitive",
    "Sample",
    "Traced",
    "absolute",
    "add",
    "astype",
    "broadcast_to",
    "clip_cotangent",
    "concatenate",
    "count_of",
    "divide",
    "dtype_of",
    "equal",
    "exp",
    "expand_dims",
    "expm1",
    "getitem",
    "greater",
    "greater_equal",
    "identity",
    "index",
    "index_add",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "matmul",
    "max_",
    "maximum",
    "mean_",
    "min_",
    "minimum",
    "multiply",
    "name_of",
    "negative",
    "not_equal",
    "one_hot",
    "power",
    "prod",
    "prod_others",
    "reciprocal",
    "reshape",
    "shape_of",
    "sigmoid",
    "sign",
    "size",
    "softmax",
    "softplus",
    "spec_of",
    "sqrt",
    "square",
    "squeeze",
    "stop_gradient",
    "subtract",
    "sum_",
    "tanh",
    "transpose",
    "update",
    "where",
]
