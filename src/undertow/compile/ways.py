"""Which kernels do a matrix product: our own, with or without copies of its operands, or OpenBLAS."""

from __future__ import annotations

from typing import Literal

from undertow.compile.packed import block_rows
from undertow.compile.processor import lanes_of, processor
from undertow.compile.product_args import SIZES

# Measured on one thread of a Zen 4 (peak 115 GF/s for f32), GF/s of our own kernels / OpenBLAS with Haswell's kernels /
# with SkylakeX's; m x n x k, NN, TN and NT say which operands are transposed:
#   f32  64 x 128 x 64     NN 113 /  89 / 114   TN 113 /  96 / 111   NT 105 /  82 /  86
#   f32  64 x 64 x 64      NN 113 /  93 / 114   TN 112 /  92 / 112   NT 105 /  89 /  85
#   f32  64 x 64 x 10      NN  96 /  68 / 101   TN  96 /  68 /  95   NT  87 /  64 /  60
#   f32  64 x 10 x 64      NN  69 /  56 /  67   TN  91 /  55 /  82   NT  65 /  55 /  74
#   f32  64 x 7 x 64       NN  82 /   - /   -   TN  84 /   - /   -   NT  74 /   - /   -
#   f32  64 x 3 x 64       NN  35 /   - /  61   TN  60 /   - /  71   NT  32 /   - /  64
#   f64  64 x 10 x 64      NN  34 /   - /  48   TN  47 /   - /  54   NT  32 /   - /  44
#   f32  128 x 512 x 784   NN 115 / 109 / 100   TN 114 / 108 / 104   NT 109 / 105 / 102
#   f32  512 x 512 x 512   NN 114 / 106 / 103   TN 109 / 105 / 105   NT 109 / 105 / 104
#   f32  1000 cubed        NN  94 / 107 /  99   TN  88 /   - /  98   NT 100 / 105 /  99
#   f32  2048 cubed        NN  89 / 100 / 102   TN  89 / 107 / 101   NT  97 / 107 / 101
# On one thread of a Zen 5 (peak 268 GF/s), NN, own / SkylakeX's: 269 / 251 at 256 cubed, 255 / 250 at 512, 245 / 246 at
# 768, 205 / 243 at 1024; Haswell's kernels do 128 there, at any size.
# Vectors of 256 bits (the same processor, told so): 88 / 93 at 64 x 64 x 64, 76 / 105 at 512 x 512 x 512.
# Packed products have their own figures (`packed`).
OWN_SIZE = {64: 1 << 27, 32: 1 << 21}  # m n k up to which our own are as fast, by bytes of a vector
NEAR = 1 << 20  # bytes of B up to which vectors of 64 bytes are, of any size: it stays in the second-level cache
NARROW = 256  # columns of C up to which copies of A do not pay: 0.9 times at 256 x 256 x 10,000
# Bytes between the terms of a sum in a transposed A: multiples of it share one place in the first-level cache, and
# push each other out before the next block reads them. Packed, a step of three layers of 1024 takes 0.93 of the time.
CROWDED = 1 << 12
THIN = 128  # terms of a sum up to which packed products are the fastest, of any number of rows

Way = Literal["own", "packed", "interleaved", "OpenBLAS"]


def choose_kernel(kind: str, m: int, n: int, k: int, strides: tuple[int, int, int, int], rows: int) -> Way:
    """Return which kernels do a product the fastest, if all are there.

    Args:
        kind: ``f32`` or ``f64``.
        m: rows of A.
        n: columns of B.
        k: columns of A.
        strides: between the rows and columns of A, then of B, in elements.
        rows: those of A that one thread does.
    """
    size, vector = m * n * k, lanes_of(kind) * SIZES[kind]
    if vector >= 64 and processor().startswith(INTEL):
        return _choose_on_intel(m, n, k, SIZES[kind], strides)
    if vector >= 64 and strides[0] == 1 and not strides[1] * SIZES[kind] % CROWDED and min(m, n) >= NARROW:
        return "packed"
    if size <= OWN_SIZE.get(vector, OWN_SIZE[32]):
        return "own"
    readable = _takes(m, k, *strides[:2]) and _takes(k, n, *strides[2:])
    if vector < 64:
        return "OpenBLAS" if readable else "own" if size <= OWN_SIZE[64] else "packed"
    if n <= NARROW or n * k * SIZES[kind] <= NEAR:
        return "own"
    packed = kind == "f64" or rows <= block_rows(kind) or k <= THIN or not readable
    return "packed" if packed else "OpenBLAS"


# Intel's processors wait for their second-level cache, unless rows are neighbours or fetched in time. GF/s on one
# thread of a Xeon (Cascade Lake, peak 151; MKL does 110 to 135), own / packed / interleaved, numbers not near at first:
#   f32  16 x 512 x 512    NN  43 /  47 /  47   TN  50 /  40 /  43   NT  47 /  46 /  44
#   f32  32 x 512 x 512    NN  60 /  76 /  82   TN  63 /  63 /  80   NT  80 /  77 /  76
#   f32  64 x 512 x 512    NN  59 /  83 /  90   TN  61 /  71 /  91   NT  95 /  93 /  94
#   f32  512 x 512 x 16    NN  60 /  52 /  74   TN  64 /  56 /  74   NT  75 /  82 /  90
#   f32  100 x 300 x 200   NN  90 /  96 / 103   TN  82 /  76 / 100   NT 103 /  99 / 103
#   f32  256 x 128 x 256   NN  99 / 107 / 111   TN  88 /  87 / 103   NT 118 / 104 / 111
#   f32  256 x 256 x 256   NN 113 / 110 / 114   TN  94 /  87 / 108   NT 116 / 109 / 114
#   f32  400 x 512 x 512   NN  83 / 103 / 110   TN  65 /  85 / 107   NT 102 / 104 / 110
#   f32  10,000 x 64 x 256 NN  77 /  78 /  66   TN  61 /  53 /  45   NT  98 /  81 /  76
#   f64  256 x 256 x 256   NN  31 /  40 /  43   TN  27 /  36 /  39   NT  36 /  34 /  34
INTEL = "GenuineIntel "
SMALL = 1 << 20  # m n k up to which our own need no copies there, ...
SLIM = 256  # ... and bytes of a row of B, ...
FEW = {"NN": 16, "TN": 16, "NT": 256}  # ... and rows of C


def _choose_on_intel(m: int, n: int, k: int, size: int, strides: tuple[int, int, int, int]) -> Way:
    """Choose for a processor of Intel with vectors of 64 bytes; ``size`` is that of an element in bytes."""
    layout = "TN" if strides[0] == 1 != strides[1] else "NT" if strides[2] == 1 != strides[3] else "NN"
    return "own" if m * n * k <= SMALL or n * size <= SLIM or m <= FEW[layout] else "interleaved"


def _takes(rows: int, columns: int, row: int, column: int) -> bool:
    """Whether OpenBLAS can read a matrix: one of its strides is 1, and what lies along that does not overlap."""
    by_rows = (column == 1 or columns <= 1) and (row >= columns or rows <= 1)
    by_columns = (row == 1 or rows <= 1) and (column >= rows or columns <= 1)
    return by_rows or by_columns
