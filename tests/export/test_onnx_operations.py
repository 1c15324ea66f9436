"""Each primitive that is written in ONNX computes there what it computes in NumPy, on the samples of its record."""

import math

import numpy as np
import pytest
import scipy.special  # noqa: F401 - its records are registered where it is imported

from undertow import primitives as P
from undertow.errors import UnsupportedError
from undertow.export.onnx_builder import OPSET, Builder
from undertow.export.onnx_graph import RULES, write_graph
from undertow.graph import INPUT, Graph, Node, Spec

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
P.load_scipy()

# In simpler operations: no entry of their own in RULES.
COMPOSED = ("roll", "tile", "repeat", "rot90", "diff", "delete", "count_nonzero", "norm", "nansum", "nanprod",
            "nanmean", "sinc", "kron", "cross", "tril", "triu", "mean_where", "sum_options", "max_options")  # fmt: skip
SINGLE_ONLY = {"scipy_erf", "scipy_erfc", "scipy_ndtr", "normal_cdf", "tan", "arcsin", "arccos", "arctan", "sinh",
               "cosh", "arcsinh", "arccosh", "arctanh"}  # computed in float32 whatever the dtype  # fmt: skip


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
@pytest.mark.parametrize("name", [*RULES, *COMPOSED])
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
