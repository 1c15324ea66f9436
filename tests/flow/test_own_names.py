"""The record of a loop of one's own calls the parameters as the loss does."""

import numpy as np

import undertow as ut

DIGITS = ut.data.load_digits()
X, Y = 2 * DIGITS.X[:300].astype(np.float64) - 1, ut.one_hot(DIGITS.y[:300], 10)


def test_parameters_are_called_as_the_loss_calls_them():
    """Also those of lists; where it gives them no name, by their place."""
    rng = np.random.default_rng(0)
    params = [rng.normal(size=(64, 8)) / 8, rng.normal(size=(8, 10)) / 3], [np.zeros(8), np.zeros(10)]

    def loss(params, X, Y):
        W, b = params
        h = np.tanh(X @ W[0] + b[0])
        return -np.mean(np.sum(Y * ut.log_softmax(h @ W[1] + b[1], axis=1), axis=1))

    def by_place(params, X, Y):
        return loss((params[0], params[1]), X, Y) if params else 0.0

    for f, names in ((loss, ["W_0", "W_1", "b_0", "b_1"]), (by_place, ["W_0", "W_1", "b_0", "b_1"])):
        measured, now = ut.flow.recorded(f), params
        for _ in range(3):
            _, gradient = measured(now, X, Y)
            now = tuple([w - 0.1 * g for w, g in zip(p, q, strict=True)] for p, q in zip(now, gradient, strict=True))
        layers = [x for x in measured.flow.layers if x.kind == "parameter"]
        assert [x.name for x in layers] == names
        assert [x.path for x in layers] == ["[0][0]", "[0][1]", "[1][0]", "[1][1]"]
        assert layers[0].label == "parameter W_0" and np.isfinite(measured.flow.stat("dW.rms")[:, 2:]).all()
