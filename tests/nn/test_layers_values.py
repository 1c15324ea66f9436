"""What layers compute, and their gradients, against formulas written out here, PyTorch, and finite differences."""

import math

import numpy as np
import pytest

import undertow as ut
from undertow import nn
from undertow.errors import ArgumentError, DataError


def rng(seed=0):
    return np.random.default_rng(seed)


def filled(layer, seed=0, dtype=np.float64):
    """A layer whose parameters are random, so that none is a special case; variances are positive."""
    layer = nn.initialize(layer, seed, dtype)
    draw = rng(seed + 1)
    values = {
        path: np.asarray(value + draw.uniform(0.1, 0.5, np.shape(value)), dtype)
        for path, value in nn.parameters_of(layer).items()
    }
    return nn.put_parameters(layer, values)


def by_formula(layer, x, training=False):
    """The same layers, each in one line of NumPy."""
    kind = type(layer).__name__
    if kind == "Dense":
        return np.einsum("...i,ij->...j", x, layer.W) + (0 if layer.b is None else layer.b)
    if kind == "BatchNorm":
        flat = x.reshape(-1, x.shape[-1])
        mean, variance = (flat.mean(0), flat.var(0)) if training else (layer.mean, layer.variance)
        return layer.gain * (x - mean) / (variance + layer.epsilon) ** 0.5 + layer.shift
    if kind == "LayerNorm":
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return layer.gain * (x - mean) / (variance + layer.epsilon) ** 0.5 + layer.shift
    if kind == "RMSNorm":
        return x / ((x**2).sum(-1, keepdims=True) / x.shape[-1] + layer.epsilon) ** 0.5 * layer.gain
    if kind == "Scale":
        return x * layer.gain
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "Reshape":
        return x.reshape(len(x), *layer.shape)
    if kind == "Embedding":
        return np.stack([layer.W[int(code)] for code in x.ravel()]).reshape(*x.shape, -1)
    raise AssertionError(kind)


LAYERS = [
    (nn.Dense(4, 3), (5, 4)),
    (nn.Dense(4, 3, bias=False), (5, 2, 4)),
    (nn.BatchNorm(4), (5, 4)),
    (nn.BatchNorm(4, momentum=0.3, epsilon=0.01), (5, 2, 3, 4)),
    (nn.LayerNorm(4), (5, 4)),
    (nn.LayerNorm(4), (5, 3, 4)),
    (nn.RMSNorm(4), (5, 4)),
    (nn.Scale(), (5, 4)),
    (nn.Scale(4, start=0.0), (5, 4)),
    (nn.Flatten(), (5, 2, 3)),
    (nn.Reshape((3, 2)), (5, 6)),
    (nn.Reshape((-1, 2)), (5, 6)),
    (nn.Embedding(7, 3), (5, 2)),
]


def inputs(layer, shape, dtype=np.float64):
    if isinstance(layer, nn.Embedding):
        return rng().integers(0, layer.n, shape).astype(dtype)
    return rng().standard_normal(shape).astype(dtype) + 0.3


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: repr(x))
@pytest.mark.parametrize("trains", [False, True])
def test_a_layer_computes_its_formula_and_the_gradient_is_that_of_differences(layer, shape, trains):
    """Forward values agree with a line of NumPy; gradients by parameters and input with finite differences."""
    layer, x = filled(layer), inputs(layer, shape)
    direction = rng(3).standard_normal(np.shape(layer(x)))

    def loss(layer, x):
        if not trains:
            return np.sum(layer(x) * direction)
        with nn.training(None):
            return np.sum(layer(x) * direction)

    assert loss(layer, x) == pytest.approx(np.sum(by_formula(layer, x, trains) * direction), rel=1e-10)
    if nn.parameters_of(layer):
        ut.check_gradient(loss, layer, x)
    if not isinstance(layer, nn.Embedding):
        ut.check_gradient(lambda x: loss(layer, x), x)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: repr(x))
def test_a_layer_in_float32_stays_there_compiled_and_traced_for_any_batch(layer, shape):
    """float32 in, float32 out; the compiled layer agrees and one trace serves two batch sizes; gains are told so."""
    layer, x = filled(layer, dtype=np.float32), inputs(layer, shape, np.float32)
    h = layer(x)
    assert h.dtype == np.float32
    compiled = ut.compile(lambda layer, x: layer(x))
    np.testing.assert_allclose(compiled(layer, x), h, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(compiled(layer, x[:3]), layer(x[:3]), rtol=2e-6, atol=2e-6)


def test_residual_concat_and_parallel_compute_their_formulas():
    """h = x W + s f(x); [x, f(x)]; [a(x), b(x)]; a(x) + b(x)."""
    x = rng().standard_normal((5, 4))
    block = filled(nn.Residual(nn.Dense(4, 3), "tanh", projection="auto", scale=1 / math.sqrt(2)))
    (f, _), W = block.layers, block.projection.W
    np.testing.assert_allclose(block(x), x @ W + np.tanh(x @ f.W + f.b) / 2**0.5, rtol=1e-12)
    assert block.projection.b is None
    dense = filled(nn.Concat(nn.Dense(4, 3), "tanh"))
    np.testing.assert_allclose(dense(x), np.hstack([x, np.tanh(x @ dense.layers[0].W + dense.layers[0].b)]))
    beside = filled(nn.Parallel(nn.Dense(4, 3), nn.Sequential(nn.Dense(4, 2), "tanh"), "identity"))
    a, (b, _) = beside.layers[0], beside.layers[1].layers
    np.testing.assert_allclose(beside(x), np.hstack([x @ a.W + a.b, np.tanh(x @ b.W + b.b), x]), rtol=1e-12)
    added = filled(nn.Parallel(nn.Dense(4, 4), "tanh", combine="add"))
    np.testing.assert_allclose(added(x), x @ added.layers[0].W + added.layers[0].b + np.tanh(x), rtol=1e-12)
    for model in (block, dense, beside, added):
        ut.check_gradient(lambda model, x: np.sum(np.tanh(model(x))), model, x)


def test_columns_of_a_table_are_embedded_and_the_others_pass():
    """The others stand first, in their order; the embeddings follow in the order of their columns."""
    layer = filled(nn.EmbedColumns(5, {3: (4, 2), 1: (3, 3)}))
    x = rng().standard_normal((6, 5))
    x[:, 1], x[:, 3] = [0, 1, 2, 0, 1, 2], [3, 2, 1, 0, 0, 3]
    first, second = layer.embeddings
    assert (first.n, second.n) == (3, 4)
    wanted = [[*row[[0, 2, 4]], *first.W[int(row[1])], *second.W[int(row[3])]] for row in x]
    np.testing.assert_allclose(layer(x), wanted)
    assert layer.fan_out == np.shape(wanted)[1]
    ut.check_gradient(lambda layer: np.sum(np.tanh(layer(x))), layer)
    only = filled(nn.EmbedColumns(1, {0: (3, 2)}))
    np.testing.assert_allclose(only(x[:, 1:2]), only.embeddings[0].W[[0, 1, 2, 0, 1, 2]])


def test_codes_that_occur_twice_add_up_in_the_gradient():
    """Each row of W collects the cotangents of all its uses; rows that are not used get 0."""
    layer = filled(nn.Embedding(5, 2))
    codes, ct = np.array([[3.0, 1.0], [3.0, 3.0]]), rng().standard_normal((2, 2, 2))
    found = ut.grad(lambda layer: np.sum(layer(codes) * ct))(layer).W
    wanted = np.zeros((5, 2))
    for code, row in zip(codes.ravel(), ct.reshape(-1, 2), strict=True):
        wanted[int(code)] += row
    np.testing.assert_allclose(found, wanted)


@pytest.mark.parametrize("bad", [-1, 7, 2.5, math.nan, math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_code_that_is_none_is_told_with_its_column(bad, dtype):
    """Negative, too large, broken and missing codes are an error, never a row counted from the end."""
    if dtype == np.int64 and not float(bad).is_integer():
        pytest.skip("no integer")
    x = np.zeros((3, 2), dtype)
    x[1, 1] = bad
    with pytest.raises(DataError, match=r"Embedding\(7, 3\): x holds .*, but the codes are 0 to 6"):
        filled(nn.Embedding(7, 3))(x)
    with pytest.raises(DataError, match=r"column 1 of x holds"):
        filled(nn.EmbedColumns(2, {1: (7, 3)}))(x)


def test_a_compiled_step_does_not_read_beyond_an_embedding():
    """Where values cannot be looked at, the compiled program itself refuses the position."""
    layer = filled(nn.Embedding(7, 3), dtype=np.float32)
    compiled = ut.compile(lambda layer, x: layer(x))
    x = np.array([1, 6], np.float32)
    np.testing.assert_array_equal(compiled(layer, x), layer.W[[1, 6]])
    for bad in (7, 1e9, math.nan):
        with pytest.raises(ut.errors.PositionError):
            compiled(layer, np.array([1, bad], np.float32))


def test_float32_codes_beyond_what_float32_counts_are_refused():
    """Above 2^24 neighbouring codes would be the same float32."""
    layer = nn.Embedding(2**24 + 1, 1, W=np.zeros((2**24 + 1, 1), np.float32))
    with pytest.raises(ArgumentError, match="Give codes in float64 or int64"):
        layer(np.zeros(1, np.float32))
    assert layer(np.array([2**24])).shape == (1, 1)


def test_layers_of_one_name_agree_with_torch():
    """PyTorch's layers of the same parameters give the same values and gradients."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = rng().standard_normal((6, 3, 4))
    ct = rng(1).standard_normal(x.shape)
    cases = [
        (nn.LayerNorm(4), lambda x, p: functional.layer_norm(x, (4,), p["gain"], p["shift"], 1e-5)),
        (nn.RMSNorm(4), lambda x, p: functional.rms_norm(x, (4,), p["gain"], 1e-6)),
        (
            nn.BatchNorm(4),
            lambda x, p: functional.batch_norm(
                x.reshape(-1, 4), p["mean"], p["variance"], p["gain"], p["shift"], True
            ).reshape(x.shape),
        ),
        (nn.PReLU(4), lambda x, p: functional.prelu(x.reshape(-1, 4), p["slope"]).reshape(x.shape)),
        (nn.Embedding(4, 4), None),
    ]
    for layer, reference in cases:
        layer = filled(layer)
        given = {
            k: torch.tensor(v, requires_grad=k not in ("mean", "variance")) for k, v in nn.parameters_of(layer).items()
        }
        if reference is None:
            codes = rng().integers(0, 4, (6, 3))
            z = functional.embedding(torch.tensor(codes), given["W"])
            inner = lambda layer, codes=codes: layer(codes)
        else:
            z = reference(torch.tensor(x), given)
            inner = lambda layer: layer(x)
        z.backward(torch.tensor(ct))
        with nn.training(None):
            np.testing.assert_allclose(inner(layer), z.detach().numpy(), rtol=1e-9, atol=1e-12)
            found = ut.grad(lambda layer, inner=inner: np.sum(inner(layer) * ct))(layer)
        for path, value in nn.parameters_of(found).items():
            if given[path].requires_grad:
                np.testing.assert_allclose(value, given[path].grad.numpy(), rtol=1e-8, atol=1e-11)


def test_a_model_with_embeddings_compiles_around_its_arrays():
    """Codes that are traced look rows up in arrays that are not, which NumPy's own index cannot do."""
    x = np.stack([rng(1).normal(size=6), rng(2).integers(0, 5, 6), rng(3).normal(size=6)], axis=1)
    model = nn.initialize(nn.Sequential(nn.EmbedColumns(3, columns={1: (5, 2)}), nn.Dense(4, 2)), 0, np.float64)
    rows = model.layers[0].embeddings[0].W[x[:, 1].astype(int)]
    W, b = model.layers[1].W, model.layers[1].b
    wanted = np.concatenate([x[:, [0, 2]], rows], axis=1) @ W + b
    np.testing.assert_allclose(ut.compile(model)(x), wanted, rtol=1e-12)
    gradient = ut.value_and_grad(lambda x: np.sum(model(x)), compile=True)(x)[1]
    np.testing.assert_allclose(gradient, np.tile([W[0].sum(), 0, W[1].sum()], (6, 1)), rtol=1e-12)


def test_several_axes_are_normalised_together_by_what_the_error_says():
    """PyTorch's LayerNorm((3, 4)), in one line of NumPy: each number has a gain and a shift of its own."""
    with pytest.raises(ArgumentError) as told:
        nn.LayerNorm((3, 4))
    make = str(told.value).split(" are ")[1].removesuffix(".")
    model = filled(eval(make, vars(nn)))
    x = rng(7).normal(size=(5, 3, 4))
    spread = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    gain, shift = (part.reshape(3, 4) for part in (model.layers[1].gain, model.layers[1].shift))
    np.testing.assert_allclose(model(x), gain * spread + shift, rtol=1e-12)
