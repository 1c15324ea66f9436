"""The functions without a NumPy name, as they are written into the module: the same operations as ours."""

from __future__ import annotations

from typing import Final

HELPERS: Final[dict[str, str]] = {
    "softmax": '''def softmax(x, axis):
    """exp(x) / Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isfinite(shift), shift, 0))
    total = np.sum(e, axis=axis, keepdims=True)
    return e / np.where(total == 0, 1, total)''',
    "log_softmax": '''def log_softmax(x, axis):
    """x − log Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isfinite(shift), shift, 0)
    total = np.sum(np.exp(shifted), axis=axis, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))''',
    "logsumexp": '''def logsumexp(x, axis=None, keepdims=False):
    """log Σ exp(x), shifted by the largest element so that nothing overflows."""
    shift = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(shift), shift, 0)
    result = np.log(np.sum(np.exp(x - shift), axis=axis, keepdims=True)) + shift
    return result if keepdims else np.squeeze(result, axis=axis)''',
    "sigmoid": '''def sigmoid(x):
    """1 / (1 + exp(−x)), by the exponential that cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)''',
    "prod_others": '''def prod_others(x, axis):
    """For each element, the product of the others along these axes; zeros do no harm."""
    order = (*(i for i in range(x.ndim) if i not in axis), *axis)
    moved = np.transpose(x, order)
    kept = moved.shape[: x.ndim - len(axis)]
    flat = np.reshape(moved, (*kept, int(np.prod(moved.shape[len(kept) :], dtype=np.int64))))
    before, after = np.ones_like(flat), np.ones_like(flat)
    np.cumprod(flat[..., :-1], axis=-1, out=before[..., 1:])
    np.cumprod(flat[..., :0:-1], axis=-1, out=after[..., -2::-1])
    return np.transpose(np.reshape(before * after, moved.shape), np.argsort(order))''',
    "one_hot": '''def one_hot(labels, depth, dtype):
    """Integer labels as rows with a single 1."""
    return (np.asarray(labels)[..., None] == np.arange(depth)).astype(dtype)''',
    "add_at": '''def add_at(shape, key, values):
    """Zeros with the values added at these places; places that repeat add up."""
    result = np.zeros(shape, np.asarray(values).dtype)
    np.add.at(result, key, values)
    return result''',
    "put_at": '''def put_at(x, key, values):
    """A copy of x with x[key] = values done."""
    result = np.array(x)
    result[key] = values
    return result''',
}
