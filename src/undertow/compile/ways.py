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
# thread of a Xeon (Cascade Lake, peak 151; MKL does 120 to 135), own / packed / interleaved / OpenBLAS:
#   f32  64 x 128 x 64     NN 130 / 105 /  95 / 130   TN  88 / 104 /  92 / 128   NT 117 / 101 /  99 /  76
#   f32  256 x 128 x 256   NN 138 / 123 / 122 / 115   TN  92 /  96 / 121 / 114   NT 130 / 120 / 122 / 109
#   f32  100 x 300 x 200   NN  94 / 106 / 116 / 109   TN  88 /  82 / 116 / 110   NT 113 / 108 / 114 /  97
#   f32  256 x 256 x 256   NN 126 / 122 / 131 / 110   TN 103 /  95 / 128 / 110   NT 133 / 121 / 126 / 105
#   f32  32 x 512 x 512    NN  72 /  92 /  82 /  79   TN  67 /  71 /  85 /  72   NT  90 /  87 /  80 /  65
#   f32  16 x 512 x 512    NN  80 /  66 /  62 /  61   TN  53 /  54 /  60 /  55   NT  69 /  62 /  63 /  44
#   f32  512 x 512 x 16    NN  70 /  96 /  68 /  58   TN  83 / 104 /  66 /  57   NT  73 /  73 /  65 /  56
#   f32  784 x 512 x 128   NN  86 / 116 / 123 / 109   TN  91 /  92 / 115 / 108   NT 120 / 117 / 130 / 109
#   f32  10,000 x 64 x 256 NN  88 /  89 /  79 /  73   TN  71 /  73 /  58 /  63   NT 100 /  87 /  73 /  74
#   f32  1000 cubed        NN  69 / 103 / 116 / 113   TN  67 /  81 / 105 / 115   NT  93 /  98 / 117 / 116
#   f64  256 x 256 x 256   NN  47 /  53 /  52 /  48   TN  33 /  44 /  51 /  46   NT  59 /  55 /  53 /  48
#   f64  2048 x 2048 x 512 NN  15 /  40 /  45 /  54   TN  17 /  36 /  36 /  43   NT  47 /  44 /  49 /  53
INTEL = "GenuineIntel "
SMALL = 1 << 20  # m n k up to which our own need no copies there, ...
FEW = {"NN": 24, "TN": 16, "NT": 256}  # ... rows of C up to which those of A need none, ...
SLIM = 512  # ... and bytes of a row of B up to which those of B need none
FLAT, SHALLOW = 48, 16  # rows, and terms of a sum, up to which a larger block of A is the faster copy


def _choose_on_intel(m: int, n: int, k: int, size: int, strides: tuple[int, int, int, int]) -> Way:
    """Choose for a processor of Intel with vectors of 64 bytes; ``size`` is that of an element in bytes."""
    upright, turned = strides[0] == 1 != strides[1], strides[2] == 1 != strides[3]
    layout = "TN" if upright else "NT" if turned else "NN"
    narrow = n * size < SLIM if upright else n * size <= SLIM
    if m * n * k <= SMALL or m <= FEW[layout] or narrow:
        return "own"
    flat = k <= SHALLOW or (m <= FLAT and not upright)
    return "packed" if flat else "interleaved"


def _takes(rows: int, columns: int, row: int, column: int) -> bool:
    """Whether OpenBLAS can read a matrix: one of its strides is 1, and what lies along that does not overlap."""
    by_rows = (column == 1 or columns <= 1) and (row >= columns or rows <= 1)
    by_columns = (row == 1 or rows <= 1) and (column >= rows or columns <= 1)
    return by_rows or by_columns
