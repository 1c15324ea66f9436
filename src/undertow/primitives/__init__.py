"""The operations: one record each, one family a file. Importing a family registers its records."""

from undertow.primitives import diag as diag
from undertow.primitives import grid as grid
from undertow.primitives import polynomial as polynomial
from undertow.primitives import split as split
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
from undertow.primitives.arrange import flip, repeat, roll, rot90, tile
from undertow.primitives.compare import equal, greater, greater_equal, less, less_equal, not_equal, where
from undertow.primitives.diagonal import diagonal, put_diagonal, trace, tril, triu
from undertow.primitives.edit import delete, insert
from undertow.primitives.exponential import exp, expm1, log, log1p, logaddexp, sigmoid, softplus, tanh
from undertow.primitives.index import getitem, index, index_add, one_hot, update
from undertow.primitives.join import concatenate
from undertow.primitives.like import CONSTRUCTORS, fill_like
from undertow.primitives.pad import fold_pad, pad
from undertow.primitives.prod import prod, prod_others
from undertow.primitives.product import matmul
from undertow.primitives.ranges import linspace
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
from undertow.primitives.reduce import log_softmax, logsumexp, max_, mean_, min_, softmax, sum_
from undertow.primitives.shape import (
    astype,
    broadcast_to,
    expand_dims,
    reshape,
    squeeze,
    transpose,
)
from undertow.primitives.special import clip_cotangent, identity, size, stop_gradient
from undertow.primitives.windows import add_windows, sliding_windows

__all__ = [
    "CONSTRUCTORS",
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
    "add_windows",
    "astype",
    "broadcast_to",
    "clip_cotangent",
    "concatenate",
    "count_of",
    "delete",
    "diagonal",
    "divide",
    "dtype_of",
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
    "insert",
    "less",
    "less_equal",
    "linspace",
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
    "pad",
    "power",
    "prod",
    "prod_others",
    "put_diagonal",
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
    "spec_of",
    "sqrt",
    "square",
    "squeeze",
    "stop_gradient",
    "subtract",
    "sum_",
    "tanh",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "update",
    "where",
]
