"""Clipping bounds what it promises to bound, keeps what it need not change, and refuses NaN by name."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import undertow as ut
from undertow import optim
from undertow.errors import ArgumentError, TrainingError
from undertow.optim.norm import measure


@given(arrays(np.float64, 5, elements=st.floats(-1e150, 1e150)), st.floats(1e-3, 1e3))
def test_the_global_norm_never_exceeds_the_limit_and_the_direction_stays(g, limit):
    """The clipped norm is min(norm, limit), computed by hypot, and the result is a multiple of g."""
    clipped = np.concatenate(optim.clip_by_global_norm(limit)((g[:2], g[2:])))
    norm = np.hypot.reduce(g)
    assert np.hypot.reduce(clipped) == pytest.approx(min(norm, limit), rel=1e-9)
    if norm > 0:
        np.testing.assert_allclose(clipped, g * (min(norm, limit) / norm), rtol=1e-9)


def test_the_global_norm_is_that_of_torch():
    """PyTorch's clip_grad_norm_ gives the same gradients, up to its 1e-6 in the denominator."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    g = [rng.standard_normal((3, 4)), rng.standard_normal(4)]
    p = [torch.zeros(x.shape, dtype=torch.float64, requires_grad=True) for x in g]
    for t, x in zip(p, g, strict=True):
        t.grad = torch.tensor(x)
    torch.nn.utils.clip_grad_norm_(p, 0.5)
    for t, x in zip(p, optim.clip_by_global_norm(0.5)(g), strict=True):
        np.testing.assert_allclose(x, t.grad.numpy(), rtol=1e-5)


def test_squares_do_not_overflow_in_float32():
    """Gradients of 1e30, whose squares float32 cannot hold, are scaled to the limit."""
    (g,) = optim.clip_by_global_norm(1.0)((np.array([3e30, 4e30], np.float32),))
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


def test_clipping_by_value_bounds_every_entry():
    """Entries outside ±limit become ±limit, others stay, float32 stays, the caller's array stays."""
    g = np.array([-3.0, 0.25, 3.0], np.float32)
    (clipped,) = optim.clip_by_value(0.5)((g,))
    np.testing.assert_array_equal(clipped, np.array([-0.5, 0.25, 0.5], np.float32))
    assert clipped.dtype == np.float32 and g[0] == -3


@pytest.mark.parametrize("clip", [optim.clip_by_value(1.0), optim.clip_by_global_norm(1.0)], ids=lambda c: c.name)
@pytest.mark.parametrize(("bad", "kind"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_a_gradient_that_is_not_finite_is_named(clip, bad, kind):
    """Clipping would hide an infinity and spread a NaN: both are errors that name the parameter."""
    with pytest.raises(TrainingError, match=rf"the gradient of \['b'\] is not finite \(1 of 2 entries, {kind}\)"):
        clip({"a": np.ones(3), "b": np.array([1.0, bad]), "f": abs})


# The norm


def exact_norm(arrays):
    """The 2-norm by fractions: no rounding but the last."""
    total = sum((Fraction(float(x)) ** 2 for a in arrays for x in np.ravel(a)), Fraction(0))
    scale = 1
    while total and total < Fraction(2) ** 200:  # room for the digits of an integer root
        total, scale = total * 2**400, scale * 2**200
    return Fraction(math.isqrt(int(total)), scale)


def in_ulps(found, exact):
    return abs(Fraction(float(found)) - exact) / Fraction(math.ulp(float(exact)))


MAGNITUDES = [1.0, 1e-3, 1e30, 1e-30, 1e-44, 1e150, 1e160, 1e200, 1e300, 1e-150, 1e-160, 1e-200, 1e-310, 5e-324]


MIXED = [(1e300, 1.0, 1e-300), (1e-160, 1e-150), (1.0, 1e-8)]
POSSIBLE = [  # sizes that the dtype has
    (dtype, sizes)
    for dtype in (np.float32, np.float64)
    for sizes in [*((m,) for m in MAGNITUDES), *MIXED]
    if float(np.finfo(dtype).smallest_subnormal) <= min(sizes) and max(sizes) <= float(np.finfo(dtype).max) / 10
]


@pytest.mark.parametrize(("dtype", "sizes"), POSSIBLE, ids=str)
@pytest.mark.parametrize("how", ["eagerly", "compiled"])
def test_the_norm_is_right_at_every_magnitude(dtype, sizes, how):
    """Within 4 units in the last place of the exact norm: near overflow, among subnormals, and all mixed."""
    rng = np.random.default_rng(1)
    arrays = [(rng.standard_normal((40, 5)) * size).astype(dtype) for size in sizes]
    norm = lambda *arrays: norm_of_all(arrays)
    found = (ut.compile(norm) if how == "compiled" else norm)(*arrays)
    assert in_ulps(found, exact_norm(arrays)) <= 4


def norm_of_all(arrays):
    root, unit = measure(arrays)
    return root / unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_of_many_entries_is_right(dtype):
    """A million entries: the sum's rounding does not grow with their number beyond 4 units."""
    g = np.random.default_rng(2).standard_normal((1000, 1000)).astype(dtype)
    exact = math.sqrt(math.fsum(float(x) ** 2 for x in g.ravel()))
    for found in (norm_of_all([g]), ut.compile(lambda g: norm_of_all([g]))(g)):
        assert abs(float(found) - exact) <= 4 * math.ulp(exact)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("how", ["eagerly", "compiled"])
def test_the_norm_of_zeros_and_of_what_is_not_finite(dtype, how):
    """0 of zeros; NaN or infinite, never a number, where one entry is not finite, whatever the others are."""
    norm = lambda g, h: norm_of_all([g, h])
    norm = ut.compile(norm) if how == "compiled" else norm
    zeros = np.zeros(3, dtype)
    assert norm(zeros, zeros) == 0
    for bad in (np.nan, np.inf, -np.inf):
        for other in (0.0, 1.0, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal):
            g = np.array([other, bad], dtype)
            assert not np.isfinite(norm(g, zeros)) and not np.isfinite(norm(zeros, g))
    assert np.isfinite(norm(np.array([np.finfo(dtype).max], dtype), zeros))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [1e-3, 1.0])
def test_gradients_near_the_end_of_the_range_are_clipped_to_full_precision(dtype, limit):
    """The largest numbers there are, whose norm is none any more: direction and length are right to a few digits."""
    most = float(np.finfo(dtype).max)
    shares = np.array([1.0, -0.5, 0.25, 1.0])
    for optimum in (optim.clip_by_global_norm(limit), optim.clip_by_norm(limit)):
        (g,), factor, finite = optimum.apply_with_factor(((shares * most).astype(dtype),))
        assert finite and 0 < factor < 1e-30 and g.dtype == dtype
        np.testing.assert_allclose(g, shares / np.linalg.norm(shares) * limit, rtol=4 * np.finfo(dtype).eps)


def test_a_norm_within_the_limit_leaves_the_bits_alone():
    """Factor 1 is exact, also for subnormals and for the largest norm that is allowed."""
    for g in (np.array([3.0, 4.0]), np.array([5e-324, 1e-310]), np.array([0.0])):
        clipped, factor, _ = optim.clip_by_global_norm(5.0).apply_with_factor(g)
        assert factor == 1 and clipped.tobytes() == g.tobytes()


# The other rules

TREE = {"layers": [{"W": np.full((2, 2), 3.0), "b": np.full(7, 2.0)}, {"W": np.full((1, 2), 0.1), "b": np.zeros(2)}]}


def test_a_layer_is_what_stands_together():
    """W and b of the first layer have the norm 8 together and are halved; the second layer stays."""
    clipped, factor, finite = optim.clip_by_layer_norm(4.0).apply_with_factor(TREE)
    assert factor == 0.5 and finite
    for key in ("W", "b"):
        np.testing.assert_array_equal(clipped["layers"][0][key], TREE["layers"][0][key] / 2)
        np.testing.assert_array_equal(clipped["layers"][1][key], TREE["layers"][1][key])


def test_by_norm_each_array_stands_alone():
    """W has the norm 6, the first b √28: only W exceeds 5.5."""
    clipped, factor, _ = optim.clip_by_norm(5.5).apply_with_factor(TREE)
    assert factor == pytest.approx(5.5 / 6)
    np.testing.assert_allclose(clipped["layers"][0]["W"], 2.75)
    np.testing.assert_array_equal(clipped["layers"][0]["b"], 2.0)


def test_adaptive_clipping_goes_by_units():
    """The paper's equation told in loops: columns of matrices, kernels by their last axis, vectors as a whole."""
    rng = np.random.default_rng(4)
    shapes = [(4, 3), (2, 2, 3, 5), (6,), ()]
    grads, params = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    params[0][:, 1] = 0.0
    params[0][:, 2] = 50.0
    clipped, factor, _ = optim.clip_adaptive(0.3).apply_with_factor(grads, params)
    factors = []
    for g, w, c in zip(grads, params, clipped, strict=True):
        units = [(..., i) for i in range(g.shape[-1])] if g.ndim > 1 else [...]
        for unit in units:
            most = 0.3 * max(np.sqrt(np.sum(w[unit] ** 2)), 1e-3)
            factors.append(min(1.0, most / np.sqrt(np.sum(g[unit] ** 2))))
            np.testing.assert_allclose(c[unit], g[unit] * factors[-1], rtol=1e-12)
    assert factor == pytest.approx(min(factors)) and max(factors) == 1.0 > min(factors)
    with pytest.raises(ArgumentError, match="Give it the parameters"):
        optim.clip_adaptive().apply(grads)


CLIPS = [
    optim.clip_by_value(0.7), optim.clip_by_norm(0.7), optim.clip_by_global_norm(0.7), optim.clip_by_layer_norm(0.7),
    optim.clip_adaptive(0.05, 0.01),
]  # fmt: skip


@pytest.mark.parametrize("clip", CLIPS, ids=lambda c: c.name)
def test_the_factor_and_the_finite_flag_trace(clip):
    """Compiled, gradients, factor and flag are those computed eagerly, clipped or not, finite or not."""
    compiled = ut.compile(lambda grads, params: tuple(clip.apply_with_factor(grads, params)))
    params = {"W": np.full((2, 2), 4.0, np.float32), "b": np.ones(1)}
    for W, finite in ((5.0, True), (0.01, True), (np.nan, False), (np.inf, False)):
        grads = {"W": np.array([[W, 0.001], [0.0, 0.002]], np.float32), "b": np.array([0.003])}
        with np.errstate(all="ignore"):
            expected, factor, flag = clip.apply_with_factor(grads, params)
        found = compiled(grads, params)
        assert bool(flag) is bool(found[2]) is finite
        if finite:
            assert float(found[1]) == pytest.approx(float(factor), rel=1e-6)
            assert (float(factor) < 1) is (W == 5.0)
        for key in grads:
            assert found[0][key].dtype == expected[key].dtype == grads[key].dtype
            np.testing.assert_allclose(found[0][key], expected[key], rtol=1e-6)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda c: c.name)
def test_settings_make_the_rule_again(clip):
    """Through JSON and back."""
    again = optim.build_clip(json.loads(json.dumps({"name": clip.name, **clip.settings})))
    assert again.settings == clip.settings and repr(again) == repr(clip)
    params = np.ones((2, 2))
    np.testing.assert_array_equal(again(3 * params, params), clip(3 * params, params))
    assert optim.build_clip(None) is None


@pytest.mark.parametrize(
    "settings",
    [
        [], 3, {}, {"name": "clip"}, {"name": "clip_by_norm"}, {"name": "clip_by_norm", "limit": 0},
        {"name": "clip_by_norm", "limit": "1"}, {"name": "clip_by_norm", "limit": 1, "x": 2},
    ],
)  # fmt: skip
def test_hostile_settings_are_refused(settings):
    """Whatever a damaged file holds is an ArgumentError."""
    with pytest.raises(ArgumentError):
        optim.build_clip(settings)


# Gradients that are not finite


@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_an_update_is_left_out_where_a_gradient_is_not_finite(bad):
    """Compiled and eagerly: parameters and state stay bit by bit, and all of them; a finite gradient moves both."""
    rule = optim.adam(0.1)
    params = {"W": np.array([1.0, -0.0], np.float32), "b": np.array(3.0)}
    state = rule.init(params)
    grads = {"W": np.array([1.0, 2.0], np.float32), "b": np.array(0.5 if bad is None else bad)}

    def step(grads, state, params):
        return optim.keep_if(optim.all_finite(grads), rule.update(grads, state, params), (params, state))

    for do in (step, ut.compile(step)):
        with np.errstate(all="ignore"):
            new, new_state = do(grads, state, params)
        assert float(new_state.t) == (1.0 if bad is None else 0.0)
        for key, w in params.items():
            assert (np.asarray(new[key]).tobytes() == w.tobytes()) is (bad is not None)
            assert new[key].dtype == w.dtype
    with np.errstate(all="ignore"):
        assert type(step(grads, state, params)[1].t) is float


def test_entries_that_are_not_finite_become_zero():
    """Others keep their bits, float32 its dtype, and it compiles."""
    g = {"a": np.array([1.5, np.nan, -np.inf, -0.0], np.float32), "f": abs}
    for zero in (optim.zero_non_finite(g)["a"], ut.compile(lambda a: optim.zero_non_finite((a,))[0])(g["a"])):
        assert zero.dtype == np.float32 and zero.tobytes() == np.array([1.5, 0, 0, -0.0], np.float32).tobytes()
    assert optim.zero_non_finite(g)["f"] is abs


def test_the_policy_is_one_of_three():
    """A name that is none is refused with those that are."""
    assert [optim.read_policy(name) for name in optim.NON_FINITE] == ["raise", "skip", "zero"]
    for wrong in ("ignore", None, 3, []):
        with pytest.raises(ArgumentError, match="Use one of raise, skip, zero"):
            optim.read_policy(wrong)
