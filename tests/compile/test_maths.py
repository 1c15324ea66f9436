"""The mathematical functions of compiled kernels, against NumPy in higher precision and NumPy's special values."""

import ctypes
import math
from functools import cache

import numpy as np
import pytest
from scipy import special

from compiled_graphs import run_compiled
from undertow.compile.ir import Emitter, Module
from undertow.compile.llvm import Library, assemble
from undertow.compile.maths import FUNCTIONS
from undertow.trace import trace_function

DTYPES = {"f32": np.float32, "f64": np.float64}
# What holds a reference for each kind; where long double is no wider than double, the reference errs by an ulp too.
WIDER = {"f32": np.float64, "f64": np.longdouble}
BOUND = {"f32": 2.0, "f64": 2.0 if np.finfo(np.longdouble).nmant >= 63 else 3.0}
BINARY = ("power", "arctan2", "hypot", "logaddexp", "fmod", "remainder", "floor_divide")
EXACT = ("fmod", "remainder", "floor_divide")

# Values of 24 digits by mpmath, for which NumPy has no wider reference: x and the function of it.
PINNED = {
    "erf": """
        1e-300 1.12837916709551260217232e-300 1e-09 1.12837916709551264379728e-9 0.01 0.0112834155558496171507771
        0.1 0.112462916018284898404712 0.25 0.276326390168236932985068 0.4 0.42839235504666847645411
        0.5 0.520499877813046537682747 0.6 0.603856090847925905082307 0.7 0.677801193837418442276858
        0.75 0.711155633653515131598938 0.8 0.742100964707660512589787 0.9 0.796908212422832139664666
        0.92 0.806767721547761697037331 0.93 0.811563558584557759445589 0.95 0.820890807273277921585557
        1 0.842700792949714869341221 1.1 0.88020506957408172965726 1.25 0.922900128256458230136523
        1.5 0.966105146475310727066976 1.75 0.986671671219182443772211 2 0.995322265018952734162069
        2.5 0.999593047982555041060436 3 0.999977909503001414558627 3.5 0.999999256901627658587254
        4 0.999999984582742099719981 5 0.999999999998462540205572 5.5 0.999999999999992642152082
        -0.3 -0.328626759459127416189618 -0.85 -0.770668057608352520214931 -1.3 -0.934007944940652445850185
    """,
    "erfc": """
        1e-09 0.999999998871620832904487 0.01 0.988716584444150382849223 0.1 0.887537083981715101595288
        0.25 0.723673609831763067014932 0.4 0.57160764495333152354589 0.48 0.497250329305235121386028
        0.5 0.479500122186953462317253 0.55 0.436676633674891006978526 0.6 0.396143909152074094917693
        0.7 0.322198806162581557723142 0.74 0.295321922145254228122374 0.76 0.282463247194409147656579
        0.8 0.257899035292339487410213 0.9 0.203091787577167860335334 1 0.157299207050285130658779
        1.1 0.11979493042591827034274 1.25 0.0770998717435417698634765 1.5 0.0338948535246892729330237
        1.75 0.0133283287808175562277889 2 0.00467773498104726583793074 2.5 0.000406952017444958939564216
        3 0.0000220904969985854413727761 3.17 0.00000735812671355743647079486 4 1.54172579002800188521597e-8
        5 1.53745979442803485018834e-12 7 4.18382560777941439861401e-23 9 4.1370317465138102380539e-37
        12 1.35626116920590421278031e-64 16 2.32848575157153069336487e-113 20 5.395865611607900928935e-176
        25 8.30017257119652275204401e-274 26.25 1.19107677067262300403121e-301 26.5 2.21090766426373427592924e-307
        26.625 2.87437187806423350551466e-310 27 5.23704892378925568501607e-319 -0.3 1.32862675945912741618962
        -0.6 1.60385609084792590508231 -0.85 1.77066805760835252021493 -1.3 1.93400794494065244585019
        -3 1.99997790950300141455863 -5 1.99999999999846254020557
    """,
}  # fmt: skip


@cache
def kernel(name, kind, lanes):
    """A Python function that applies one of ours to whole arrays."""
    module = Module()
    names = ["x", "y"][: 2 if name in BINARY else 1]
    e = Emitter(module, "kernel", [*((arg, "ptr") for arg in [*names, "out"]), ("size", "i64")])
    with e.loop(0, e.args["size"], max(lanes, 1)) as i:
        loaded = [e.load(e.address(e.args[arg], i, kind), kind, lanes) for arg in names]
        e.store(FUNCTIONS[name](e, *loaded), e.address(e.args["out"], i, kind))
    e.finish()
    library = Library([assemble(str(module))])
    machine_code = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(names) + 1), ctypes.c_int64)(
        library.address("kernel")
    )

    def call(*arrays):
        size = len(arrays[0])
        arrays = [np.concatenate([x, np.ones(-size % 16, DTYPES[kind])]) for x in arrays]
        out = np.empty_like(arrays[0])
        machine_code(*(x.ctypes.data for x in [*arrays, out]), len(out))
        return out[:size]

    call.library = library  # its memory must live as long as the function
    return call


def reference(name, *args):
    """The function in NumPy, in the precision of the arguments."""
    if name == "sigmoid":
        z = np.exp(-np.abs(args[0]))
        return np.where(args[0] < 0, z, 1) / (1 + z)
    if name == "softplus":
        return np.maximum(args[0], 0) + np.log1p(np.exp(-np.abs(args[0])))
    if name in ("erf", "erfc"):
        return getattr(special, name)(*args)
    return getattr(np, name)(*args)


def ulps(result, exact, size):
    """How far results are from the exact values, in units in the last place of these; inf where kinds differ.

    Where ``size`` is larger than an exact value, its last place counts.
    """
    rounded = exact.astype(result.dtype)
    unit = np.maximum(np.spacing(np.maximum(np.abs(rounded), np.abs(size))), np.finfo(result.dtype).smallest_subnormal)
    distance = np.abs(result.astype(exact.dtype) - exact) / unit.astype(exact.dtype)
    same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    return np.where(np.isfinite(result) & np.isfinite(rounded), distance, np.where(same, 0, np.inf))


def special_values(dtype):
    """Numbers at which functions have corners."""
    info = np.finfo(dtype)
    sizes = [
        0.0,
        np.inf,
        1,
        0.5,
        2,
        3,
        1.5,
        info.max,
        info.smallest_subnormal,
        info.tiny,
        info.eps,
        2**24 - 1,
        2**53 - 1,
    ]
    with np.errstate(over="ignore"):
        return np.array([*sizes, *(-size for size in sizes), np.nan], dtype)


def spread(kind, seed=0):
    """Numbers of every size and sign: of the whole range, near 0, near ±1, and where exp overflows and underflows."""
    dtype, rng = DTYPES[kind], np.random.default_rng(seed)
    info, edge = np.finfo(dtype), 110 if kind == "f32" else 760
    exponents = rng.uniform(math.log2(info.smallest_subnormal), math.log2(info.max), 30_000)
    sizes = np.exp2(exponents.astype(np.longdouble)) * rng.choice([-1, 1], 30_000)
    near_one = 1 + rng.uniform(-1, 1, 20_000) * np.exp2(rng.uniform(-info.nmant - 1, 0, 20_000))
    linear = [rng.uniform(-bound, bound, 20_000) for bound in (1, 6, 20, edge)]
    return np.concatenate([sizes, near_one, -near_one[:5_000], *linear, special_values(dtype)]).astype(dtype)


def pairs(name, kind):
    """Pairs of numbers for a function of two."""
    dtype, rng = DTYPES[kind], np.random.default_rng(1)
    x, y = spread(kind), rng.permutation(spread(kind, 2))
    corners = [grid.ravel() for grid in np.meshgrid(special_values(dtype), special_values(dtype))]
    whole = [rng.integers(-20, 20, 5_000) for _ in range(2)]
    x, y = (np.concatenate(parts).astype(dtype) for parts in zip((x, y), corners, whole, strict=True))
    if name == "power":  # results of every size
        edge = 110 if kind == "f32" else 760
        base = np.exp(rng.uniform(-edge * 0.8, edge * 0.8, 40_000)).astype(dtype)
        base[:15_000] = 1 + rng.choice([-1, 1], 15_000) * np.exp2(rng.uniform(-20, -0.1, 15_000))
        exponent = (rng.uniform(-edge, edge, 40_000) / np.log(base.astype(np.float64))).astype(dtype)
        x, y = np.concatenate([x, base]), np.concatenate([y, exponent])
    return x, y


def arguments(name, kind):
    """What a function is tested on, the neighbourhood of its roots and poles included."""
    if name in BINARY:
        return pairs(name, kind)
    x = spread(kind)
    if name in ("sin", "cos", "tan"):
        # Doubles next to huge multiples are left out: the C library, which NumPy and we call there, errs at some.
        turns = (
            np.round(np.exp(np.random.default_rng(3).uniform(0, 25, 20_000))) if kind == "f64" else np.arange(1, 70_000)
        )
        quarters = (turns * (np.pi / 2)).astype(x.dtype)
        x = np.concatenate([x, quarters, -quarters])
    return (x,)


def assert_same_kind(result, expected, args):
    """Zeros with their signs, infinities and NaN are where NumPy has them."""
    for describe in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(describe(result), describe(expected), err_msg=str(args))
    zero = (expected == 0) & (result == 0)
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_function_is_within_two_ulp(name, kind):
    """One number at a time and 16 at once, over the whole range of arguments."""
    if (name, kind) in (("erf", "f64"), ("erfc", "f64")):
        pytest.skip("compared with other references below")
    args = arguments(name, kind)
    with np.errstate(all="ignore"):
        exact = reference(name, *(args if name in EXACT else (x.astype(WIDER[kind]) for x in args)))
    for lanes in (0, 16):
        with np.errstate(all="ignore"):
            result = kernel(name, kind, lanes)(*args)
            size = result.dtype.type(0)
            if name == "logaddexp":  # near its root, the last place of the two addends is all that can be known
                size = np.maximum(np.abs(np.maximum(*args)), (exact - np.maximum(*args)).astype(result.dtype))
            error = ulps(result, exact, size)
        worst = int(np.argmax(error))
        bound = 0 if name in EXACT else BOUND[kind]
        assert error[worst] <= bound, (lanes, error[worst], [x[worst] for x in args], result[worst], exact[worst])


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_special_values_are_numpys(name, kind):
    """0, -0, inf, NaN, the largest and smallest numbers, alone and in all pairs."""
    values = special_values(DTYPES[kind])
    args = [grid.ravel() for grid in np.meshgrid(values, values)] if name in BINARY else [values]
    with np.errstate(all="ignore"):
        expected = reference(name, *args)
        for lanes in (0, 16):
            assert_same_kind(kernel(name, kind, lanes)(*args), expected, args)


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_error_functions_of_doubles(name):
    """Pinned values to 2 ulp; everywhere else the C library's, which may err by one itself."""
    numbers = PINNED[name].split()
    x, exact = np.array(numbers[::2], np.float64), np.array([np.longdouble(text) for text in numbers[1::2]])
    dense = spread("f64")
    library = np.array([getattr(math, name)(x) for x in dense]).astype(np.longdouble)
    for lanes in (0, 16):
        with np.errstate(all="ignore"):
            assert ulps(kernel(name, "f64", lanes)(x), exact, 0.0).max() <= 2
            assert ulps(kernel(name, "f64", lanes)(dense), library, 0.0).max() <= 3


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_exact_results_are_exact(kind):
    """Powers of two and their logarithms carry no error."""
    n = np.arange(-140 if kind == "f32" else -1060, 127).astype(DTYPES[kind])
    powers = kernel("exp2", kind, 16)(n)
    np.testing.assert_array_equal(powers, np.exp2(n))
    np.testing.assert_array_equal(kernel("log2", kind, 16)(powers), n)
    np.testing.assert_array_equal(kernel("power", kind, 16)(np.full_like(n, 2), n), powers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [-1, -0.5, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, -2, 0.25])
def test_powers_whose_exponent_is_known(exponent, dtype):
    """Within two units in the last place, from the least numbers to the largest; special values as NumPy has them."""
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    wide = np.exp(rng.uniform(np.log(limits.tiny), np.log(limits.max), 20_000))
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, limits.tiny, limits.smallest_subnormal, limits.max]
    x = np.concatenate([rng.normal(size=10_000), wide, -wide, special, np.negative(special)]).astype(dtype)
    (found,) = run_compiled(trace_function(lambda x: x**exponent, [x]).graph, [x], 1)
    with np.errstate(all="ignore"):
        exact = x.astype(np.longdouble)
        exact = np.sqrt(exact) if exponent == 0.5 else np.power(exact, np.longdouble(exponent))  # as NumPy's ``x**0.5``
        expected = exact.astype(dtype)
    finite = np.abs(expected) < limits.max
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))  # those of zeros too
    error = np.abs(found[finite].astype(np.longdouble) - exact[finite])
    assert np.max(error / np.spacing(np.abs(expected[finite]))) <= 2
