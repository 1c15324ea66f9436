"""Each primitive that is written in ONNX computes there what it computes in NumPy, on the samples of its record."""

import math

import numpy as np
import pytest
import scipy.special  # noqa: F401 - its records are registered where it is imported

import undertow as ut
from undertow import nn
from undertow import primitives as P
from undertow.errors import UnsupportedError
from undertow.export import export_onnx
from undertow.export.onnx_builder import OPSET, Builder
from undertow.export.onnx_graph import RULES, write_graph
from undertow.export.onnx_parts import PARTS
from undertow.graph import INPUT, Graph, Node, Spec

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
P.load_scipy()

# In simpler operations: no entry of their own in RULES.
COMPOSED = ("roll", "rot90", "diff", "delete", "count_nonzero", "norm", "nansum", "nanprod",
            "nanmean", "sinc", "kron", "cross", "tril", "triu", "mean_where", "sum_options", "max_options")  # fmt: skip
SINGLE_ONLY = {"scipy_erf", "scipy_erfc", "scipy_ndtr", "normal_cdf", "tan", "arcsin", "arccos", "arctan", "sinh",
               "cosh", "arcsinh", "arccosh", "arctanh",
               "arctan2"}  # computed in float32 whatever the dtype  # fmt: skip


def compute(op, cases):
    """The results of one operation by onnxruntime, None where it is refused; a case is arguments and parameters."""
    b = Builder(onnx)
    describe = onnx.helper.make_tensor_value_info
    inputs, outputs, values, results = [], [], {}, []
    for number, (args, params) in enumerate(cases):
        nodes = [Node(INPUT, (), {}, Spec(x.shape, x.dtype)) for x in args]
        out = Node(op, tuple(nodes), params, op.infer(*[x.spec for x in nodes], **params))
        names = {node: f"x{number}_{i}" for i, node in enumerate(nodes)}
        b.dtypes |= {names[node]: x.dtype for node, x in zip(nodes, args, strict=True)}
        try:
            (result,) = write_graph(b, Graph(tuple(nodes), (out,)), names)
        except UnsupportedError:
            results.append(None)
            continue
        results.append(b.add("Identity", result, wish=f"result{number}"))
        inputs += [describe(names[node], b.type_of(x.dtype), x.shape) for node, x in zip(nodes, args, strict=True)]
        outputs.append(describe(results[-1], b.type_of(out.spec.dtype), out.spec.shape))
        values |= {names[node]: x for node, x in zip(nodes, args, strict=True)}
    used = [node for node in b.nodes if not any(x.startswith("x") and x not in values for x in node.input)]
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(used, "cases", inputs, outputs, b.constants), opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip([x for x in results if x], session.run([x for x in results if x], values), strict=True))
    return [None if x is None else found[x] for x in results]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", [*RULES, *PARTS, *COMPOSED])
def test_onnx_computes_what_numpy_does(name, dtype):
    op = P.REGISTRY[name]
    tolerance = 2e-5 if dtype == np.float32 or name in SINGLE_ONLY else 1e-9
    cases = []
    for sample in op.samples():
        args = [np.asarray(x) for x in sample.args]
        args = [x.astype(dtype) if x.dtype == np.float64 else x for x in args]
        params = {key: np.dtype(dtype) if x is np.dtype(np.float64) else x for key, x in sample.params.items()}
        if not sample.needs_values and not any(0 in x.shape for x in args):
            cases.append((args, params))
    results = compute(op, cases)
    compared = [(case, found) for case, found in zip(cases, results, strict=True) if found is not None]
    for (args, params), found in compared:
        with np.errstate(all="ignore"):
            wanted = np.asarray(op.forward(*args, **params))
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype or not args
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance, err_msg=f"{args} {params}")
    assert compared
    assert 2 * len(compared) >= len(cases) or name == "pad"  # most of its modes have no operator


EXTREMES = [-1e4, -90.0, -1e-6, 1e-6, 90.0, 1e4, math.inf, -math.inf]


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "expm1", "log1p", "tanh", "logaddexp"])
def test_large_and_small_numbers(name):
    """Where the textbook's formula would overflow or cancel."""
    op = P.REGISTRY[name]
    x = np.array([x for x in EXTREMES if x > -1 or name != "log1p"], np.float32)
    args = [x, np.zeros_like(x)] if name == "logaddexp" else [x]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(compute(op, [(args, {})])[0], op.forward(*args), rtol=1e-5, atol=1e-37)


SPECIAL = [-math.inf, -2.0, -0.5, -0.0, 0.0, 0.5, 2.0, math.inf, math.nan]


@pytest.mark.parametrize(
    "name",
    ["arctan2", "copysign", "heaviside", "fmax", "fmin", "fmod", "isclose", "nan_to_num", "scipy_xlogy", "scipy_entr"],
)
def test_special_points(name):
    op = P.REGISTRY[name]
    x, y = (np.float32(v) for v in np.meshgrid(SPECIAL[:-1] if name == "copysign" else SPECIAL, SPECIAL[:-1]))
    args = {"nan_to_num": [x], "scipy_entr": [x], "scipy_xlogy": [y, x]}.get(name, [x, y])
    params = {"nan_to_num": {"nan": 3.0}, "isclose": {"rtol": 1e-5, "atol": 1e-8, "equal_nan": True}}.get(name, {})
    with np.errstate(all="ignore"):
        wanted = op.forward(*args, **params)
    np.testing.assert_allclose(compute(op, [(args, params)])[0], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", ["median", "quantile", "percentile"])
@pytest.mark.parametrize("method", ["linear", "inverted_cdf", "hazen", "nearest", "median_unbiased"])
@pytest.mark.parametrize("axis", [(1,), (0, 2), (0, 1, 2)])
def test_quantiles(function, method, axis):
    q = 0.5 if function == "median" else (0.0, 0.31, 1.0) if function == "quantile" else (7.0, 50.0)
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    params = {"axis": axis, "keepdims": True, "q": q, "dtype": None, "method": method, "function": function}
    more = {} if function == "median" else {"q": q, "method": method}
    wanted = getattr(np, function)(x, axis=axis, keepdims=True, **more)
    found = compute(P.REGISTRY[function], [([x], {**params, "nan": False})])[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


LAYERS = {
    "sort": lambda x: np.sort(x, axis=1)[:, ::-1] * np.argsort(x, axis=1),
    "median": lambda x: x - np.median(x, axis=1, keepdims=True),
    "quantile": lambda x: x * np.quantile(x, [0.2, 0.7], axis=1).T[:, :1],
    "interp": lambda x: np.interp(x, [-1.0, 0.0, 1.5], [0.0, 1.0, -4.0]),
    "tile": lambda x: np.tile(x, (1, 2))[:, 3:9] + np.repeat(x, [1, 2, 0, 1, 1, 1], axis=1),
    "diagonal": lambda x: np.diagonal(x[:, :, None] * x[:, None, :], axis1=1, axis2=2),
    "trace": lambda x: x + np.trace(x[:, :, None] * x[:, None, :], axis1=2, axis2=1)[:, None],
    "bits": lambda x: np.where((x > 0) & (x < 1) | ~(x > -1) ^ (x > 2), x, np.round(x, 1)),
    "angle": lambda x: np.degrees(np.arctan2(x, x[:, ::-1])) + np.fmod(x, 0.7),
    "choose": lambda x: np.choose((x > 0) * 1, [x, 2 * x]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_any_number_of_rows(name, tmp_path):
    """NumPy computes the same of 1 and of 7 rows, of which the ONNX model knows nothing when it is written."""
    layer = nn.Lambda(LAYERS[name], name)
    run = ut.Run(nn.initialize(nn.Sequential(nn.Dense(3, 6), layer), 0), settings={"loss": "mean_squared_error"})
    session = runtime.InferenceSession(export_onnx(run, tmp_path / "model.onnx").read_bytes())
    for rows in (1, 7):
        X = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        z = X @ run.model.layers[0].W + run.model.layers[0].b
        np.testing.assert_allclose(session.run(None, {"X": X})[0], LAYERS[name](z), rtol=2e-5, atol=2e-5)


def test_an_operation_that_the_compiler_writes_in_itself_is_refused(tmp_path):
    def count(x):
        found = np.zeros_like(x)
        np.add.at(found, (slice(None), [0, 0, 2]), x[:, :3])
        return found

    run = ut.Run(nn.initialize(nn.Sequential(nn.Dense(3, 6), nn.Lambda(count, "count")), 0), settings={"loss": "huber"})
    with pytest.raises(UnsupportedError, match="cannot be written in ONNX: there is no operator for it"):
        export_onnx(run, tmp_path / "model.onnx")
