"""Whole numbers and running sums: kernels give what NumPy gives, to the last bit."""

import warnings
from typing import Any

import numpy as np
import pytest

import undertow as ut
from compiled_graphs import run_compiled
from undertow.compile import operations
from undertow.errors import UnsupportedError
from undertow.graph import evaluate
from undertow.trace import trace_function

UNSIGNED = [np.uint8, np.uint16, np.uint32, np.uint64]
WHOLES = [np.int8, np.int16, np.int32, np.int64, *UNSIGNED]


@pytest.mark.parametrize("dtype", WHOLES)
@pytest.mark.parametrize("function", [np.floor_divide, np.remainder, np.fmod])
def test_quotients_of_whole_numbers(function, dtype):
    """All signs, both ends, and the divisor 0."""
    ends = np.iinfo(dtype)
    x = np.array([ends.min, ends.min + 1, -100, -7, -2, -1, 0, 1, 2, 7, 100, ends.max - 1, ends.max]).astype(dtype)
    a, b = (v.ravel() for v in np.meshgrid(x, x))
    with np.errstate(all="ignore"):
        wanted = function(a, b)
    found = ut.compile(lambda a, b: function(a, b))(a, b)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype
    for divisor in (3, -7, 0, -1, 1, 64) if ends.min else (3, 0, 1, 64):
        with np.errstate(all="ignore"):
            wanted = function(a, divisor)
        np.testing.assert_array_equal(ut.compile(lambda a, d=divisor: function(a, d))(a), wanted)


@pytest.mark.parametrize("dtype", WHOLES)
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 7, 20, 63])
def test_powers_of_whole_numbers_wrap_around(exponent, dtype):
    x = np.arange(-11, 12).astype(dtype)
    found, wanted = ut.compile(lambda x: x**exponent)(x), x**exponent
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize("dtype", UNSIGNED)
def test_whole_numbers_without_a_sign_have_powers_of_any_exponent(dtype):
    x, y = (v.ravel().astype(dtype) for v in np.meshgrid([0, 1, 2, 3, 7, 200, -1], [0, 1, 2, 5, 31, 64, 255]))
    np.testing.assert_array_equal(ut.compile(lambda x, y: x**y)(x, y), x**y)


PAIRS = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum, "minimum": np.minimum,
    "less": np.less, "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "floor_divide": np.floor_divide, "remainder": np.remainder, "gcd": np.gcd,
    "bitwise_xor": np.bitwise_xor, "left_shift": np.left_shift, "right_shift": np.right_shift, "divide": np.divide,
}  # fmt: skip


@pytest.mark.parametrize("other", [*WHOLES, np.float16, np.float32])
@pytest.mark.parametrize("dtype", UNSIGNED)
def test_pairs_with_one_without_a_sign_are_promoted_and_wrap_around_as_numpys(dtype, other):
    rng, (a, b) = np.random.default_rng(0), (np.iinfo(x) if np.dtype(x).kind in "iu" else None for x in (dtype, other))
    x = np.array([0, 1, 2, 7, 100, *rng.integers(a.max, size=60, dtype=dtype), a.max - 1, a.max], dtype)
    y = rng.permutation(x) if b is None else rng.integers(b.min, b.max, len(x), other, endpoint=True)
    y = np.minimum(y.astype(float), 60000).astype(other) if b is None else y
    for name, function in PAIRS.items():
        try:
            with np.errstate(all="ignore"):
                wanted = function(x, y)
        except TypeError:  # NumPy has none for these dtypes
            continue
        found = ut.compile(lambda x, y, f=function: f(x, y))(x, y)
        assert found.dtype == wanted.dtype, name
        np.testing.assert_array_equal(found, wanted, err_msg=name)


SINGLE = {
    "negative": np.negative, "absolute": np.absolute, "sign": np.sign, "invert": np.invert, "square": np.square,
    "exp": lambda x: np.exp(x // 32), "sqrt": np.sqrt, "bits": np.bitwise_count, "sorted": np.sort,
    "places": lambda x: np.argsort(x, kind="stable"), "sum": np.sum, "product": np.prod, "largest": np.max,
    "smallest": np.min, "running": np.cumsum, "median": np.median, "place": np.argmax, "signbit": np.signbit,
    "search": lambda x: np.searchsorted(np.sort(x), x), "all large": lambda x: x < 300, "none below": lambda x: x <= -1,
    "a product": lambda x: x[:8] @ x[8:16], "clipped": lambda x: np.clip(x, 20, 100), "different": np.diff,
    "shares": lambda x: x / 255, "long": lambda x: np.sort(np.concatenate([x] * 9)), "histogram": np.histogram,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [*UNSIGNED, np.int8])
@pytest.mark.parametrize("name", SINGLE)
def test_functions_of_small_and_unsigned_numbers(name, dtype):
    f, ends = SINGLE[name], np.iinfo(dtype)
    x = np.random.default_rng(1).integers(ends.min, ends.max, 40, dtype, endpoint=True)
    with np.errstate(all="ignore"):
        wanted = f(x)
    found = ut.compile(f)(x)
    for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (found, wanted)), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        rtol = {2: 1e-3, 4: 1e-6}.get(np.asarray(b).itemsize, 1e-12) if np.asarray(b).dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=rtol)


@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("edge_order", [1, 2])
def test_slopes_at_unsigned_places_that_fall(dtype, edge_order):
    """np.gradient makes floats of the places first: their differences would wrap around."""
    f, x = np.arange(4.0) ** 2, np.array([9, 5, 3, 1], dtype)
    wanted = np.gradient(f, x, edge_order=edge_order)
    found = [
        ut.compile(lambda f, x: np.gradient(f, x, edge_order=edge_order))(f, x),
        ut.compile(lambda f: np.gradient(f, x, edge_order=edge_order))(f),
        ut.vjp(lambda f: np.gradient(f, x, edge_order=edge_order), f)[0],
    ]
    np.testing.assert_allclose(found, [wanted] * 3, rtol=1e-12)


PADDED: tuple[dict[str, Any], ...] = (
    *({"mode": mode} for mode in ("edge", "wrap", "reflect", "symmetric", "maximum", "minimum", "mean", "median")),
    *({"mode": mode, "reflect_type": "odd"} for mode in ("reflect", "symmetric")),
    *({"mode": mode, "stat_length": 2} for mode in ("maximum", "mean", "median")),
    {"mode": "linear_ramp"}, {"mode": "linear_ramp", "end_values": (3, -4)}, {"constant_values": ((1, 2), (3, 4))},
)  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16, np.float32])
@pytest.mark.parametrize("how", PADDED)
def test_padding_of_whole_numbers_is_computed_of_them(how, dtype):
    """Compiled, what is around was looked up where the largest, the mean and so on of the places lie."""
    x = np.array([[3, 1, 4], [4, 5, 9], [9, 8, 2], [0, 7, 6]], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's casts of a negative end to unsigned
        wanted = np.pad(x, ((2, 1), (0, 3)), **how)
    for found in (
        ut.compile(lambda x: np.pad(x, ((2, 1), (0, 3)), **how))(x),
        ut.value_and_grad(lambda w: (w, np.pad((w * x).astype(dtype), ((2, 1), (0, 3)), **how)), has_aux=True)(1.0)[0][
            1
        ],
    ):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-6 if dtype == np.float32 else 0)


@pytest.mark.parametrize("source", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("target", [*WHOLES, np.float16, np.float32])
def test_casts_of_floats_round_and_wrap_around_as_numpys(source, target):
    """Of uint32, NumPy itself has several answers for what does not fit, by an array's length."""
    halves = np.arange(65536).astype(np.uint16).view(np.float16).astype(source)
    if source == np.float16:
        x = halves
    else:
        between = (halves[:-1] + halves[1:]) / 2
        beside = [np.nextafter(between, end, dtype=source) for end in (np.inf, -np.inf)]
        x = np.concatenate([halves, between, *beside, [1e30, -1e30, 4e9, 2.0**63, -1.0]])
    if target == np.uint32:
        x = x[(x > -(2.0**31)) & (x < 2.0**32)]
    x = x.astype(source)
    with np.errstate(all="ignore"):
        wanted = x.astype(target)
    np.testing.assert_array_equal(ut.compile(lambda x: x.astype(target))(x), wanted)


@pytest.mark.parametrize("source", WHOLES)
def test_casts_of_whole_numbers(source):
    ends, rng = np.iinfo(source), np.random.default_rng(2)
    x = np.array([ends.min, ends.max, *rng.integers(ends.min, ends.max, 500, source), *np.arange(0, 70000, 37)])
    x = x.astype(source)
    for target in (*WHOLES, np.float16, np.float32, np.float64, bool):
        with np.errstate(all="ignore"):
            wanted = x.astype(target)
        np.testing.assert_array_equal(ut.compile(lambda x, t=target: x.astype(t))(x), wanted)


def test_every_float16_goes_through_functions_as_numpys():
    x = np.arange(65536).astype(np.uint16).view(np.float16)
    one = [np.spacing, np.nan_to_num, np.sqrt, lambda x: np.round(x, 1), lambda x: x + 0.1, lambda x: np.frexp(x)[0]]
    pairs = [np.nextafter, np.multiply, np.divide, np.floor_divide, np.maximum, np.less_equal]
    for f in (*one, lambda x: np.ldexp(x, -12), *(lambda x, f=f: f(x, x[::-1]) for f in pairs)):
        with np.errstate(all="ignore"):
            wanted = f(x)
        found = ut.compile(f)(x)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_exponents_that_may_be_negative_have_no_kernel():
    x = np.arange(1, 6)
    with pytest.raises(UnsupportedError, match=r"power .*does not compile"):
        ut.compile(lambda x: x**x)(x)
    np.testing.assert_array_equal(ut.compile(lambda x: x**x, fallback="numpy")(x), x**x)
    with pytest.raises(ValueError, match="negative integer powers"):
        ut.compile(lambda x: x**-2, fallback="numpy")(x)


VIEWS = [
    lambda x: x, lambda x: x[::-1, :, ::2], lambda x: np.swapaxes(x, 0, 2), lambda x: x[1],
    lambda x: np.broadcast_to(x[:1], x.shape), lambda x: x[:, 2, 1], lambda x: x[:0], lambda x: x[:, :1],
]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, bool])
@pytest.mark.parametrize("function", [np.cumsum, np.cumprod])
def test_running_sums_along_any_axis_of_any_view(function, dtype, threads, monkeypatch):
    monkeypatch.setattr(operations, "WORTH_SHARING", 1)
    x = (np.random.default_rng(0).normal(size=(5, 4, 6)) * 3).astype(dtype)
    for number, view in enumerate(VIEWS):
        for axis in [None, *range(-view(x).ndim, 0)]:
            graph = trace_function(lambda x, view=view, axis=axis: function(view(x), axis=axis), (x,)).graph
            (found,) = run_compiled(graph, [x], threads)
            wanted = function(view(x), axis=axis)
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted, err_msg=f"view {number}, axis {axis}")


@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_of_running_products_with_zeros_compile(axis):
    x = np.random.default_rng(1).normal(size=(6, 7))
    x[2, 3] = x[4, 3] = x[2, 5] = 0
    found = ut.value_and_grad(lambda x: np.sum(np.sin(np.cumprod(x, axis=axis))), compile=True)(x)
    wanted = ut.value_and_grad(lambda x: np.sum(np.sin(np.cumprod(x, axis=axis))))(x)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-12, atol=1e-14)


# ---- random programs ------------------------------------------------------------------------------


def step(x, pool, rng):
    """One more value of a random program of whole numbers, floats, running sums and sums of products."""
    other, kind = pool[rng.integers(len(pool))], rng.integers(8)
    whole = x.dtype.kind in "ib"
    if kind == 0 and whole:
        return [np.floor_divide, np.remainder, np.fmod][rng.integers(3)](x, int(rng.choice([-5, -1, 2, 3, 7])))
    if kind == 1 and whole:
        return x ** int(rng.integers(4))
    if kind in (2, 3) and x.ndim:
        axis = int(rng.integers(x.ndim))
        return np.cumsum(x, axis=axis) if kind == 2 or whole else np.cumprod(np.tanh(x), axis=axis)
    if kind == 4 and x.ndim:
        return [x[::-1], np.swapaxes(x, 0, -1), x[1:] if x.shape[0] > 1 else x][rng.integers(3)]
    if kind == 5:
        return (x * 3 + 0.5).astype(np.int64) if not whole else x * 0.25
    if x.ndim == 2 and not whole and kind == 6:
        return x @ np.sin(x).T + np.cos(x) @ x.T * 1.0 + (x * 2) @ x.T
    return x + other if x.shape == other.shape else np.tanh(x * 0.5)


def make_program(seed):
    rng = np.random.default_rng(seed)
    a, b = (int(rng.choice([1, 2, 5, 16, 33])) for _ in range(2))
    inputs = [rng.normal(size=(a, b)), rng.integers(-9, 10, (a, b)), rng.normal(size=(b,)), rng.integers(-3, 4, (2, a))]

    def program(*xs):
        rng, pool = np.random.default_rng(seed + 1), list(xs)
        for _ in range(int(rng.integers(4, 14))):
            made = step(pool[rng.integers(max(0, len(pool) - 5), len(pool))], pool, rng)
            pool.append(np.clip(made, -9, 9))
        return tuple(pool[-3:])

    return program, inputs


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", range(2))
def test_random_programs_of_whole_numbers_and_running_sums(block, threads, monkeypatch):
    monkeypatch.setattr(operations, "WORTH_SHARING", 1)
    for seed in range(block * 15, block * 15 + 15):
        program, inputs = make_program(11 * seed)
        graph = trace_function(program, inputs).graph
        wanted = evaluate(graph, inputs)
        for found, value in zip(run_compiled(graph, inputs, threads), wanted, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=f"program {seed}")


WHOLE = {
    "frexp": lambda x: np.frexp(x)[0],
    "frexp, exponents": lambda x: np.frexp(x)[1],
    "modf": lambda x: np.modf(x)[0],
    "modf, whole parts": lambda x: np.modf(x)[1],
    "round": np.round,
    "round to tens": lambda x: np.round(x, -1),
    "nan_to_num": np.nan_to_num,
    "norm 1": lambda x: np.linalg.norm(x[0], ord=1),
    "norm inf": lambda x: np.linalg.norm(x[0], ord=np.inf),
    "matrix norm 1": lambda x: np.linalg.norm(x, ord=1),
    "matrix norm -inf": lambda x: np.linalg.matrix_norm(x, ord=-np.inf),
    "vector norm": lambda x: np.linalg.vector_norm(x, ord=1, axis=1),
    "fabs": np.fabs,
    "angle": np.angle,
    "gradient": lambda x: np.gradient(x, axis=1),
    "sum from a fraction": lambda x: np.sum(x, axis=1, initial=-2.5),
    "prod from a fraction": lambda x: np.prod(x, axis=1, initial=0.5),
    "max from a fraction": lambda x: np.max(x, axis=1, initial=2.5),
}


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
@pytest.mark.parametrize("name", WHOLE)
def test_functions_of_whole_numbers_have_numpys_values_and_dtypes(name, dtype):
    f, x = WHOLE[name], np.array([[7, 14, 0, 3], [25, 1, 6, 200]]).astype(dtype)
    try:
        wanted = f(x)
    except (TypeError, OverflowError) as error:  # NumPy subtracts no truth values, and begins with no -2 unsigned
        pytest.skip(str(error))
    found = ut.compile(f, fallback="numpy")(x)
    assert (np.asarray(found).dtype, np.shape(found)) == (np.asarray(wanted).dtype, np.shape(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sinc_at_0_and_beside_it_in_every_precision(dtype):
    x = np.array([0.0, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny, 0.5, -2.25, np.nan], dtype)
    found = ut.compile(np.sinc, fallback="numpy")(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.sinc(x), rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
