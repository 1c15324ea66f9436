"""A loop of one's own that is fed from a file, batch by batch."""

import numpy as np

import undertow as ut


def test_columns_of_a_memory_map_are_told_as_those_of_an_array(tmp_path):
    """It is given as it is, batch by batch."""
    rng = np.random.default_rng(0)
    X = 2000 * rng.standard_normal((400, 8))
    y = (X[:, 0] > 0).astype(int)
    np.save(tmp_path / "X.npy", X)

    def loss(p, X, y):
        z = ut.watch(np.maximum(X @ p["V"], 0) @ p["W"] + p["b"], "z")
        return -np.mean(ut.log_softmax(z, axis=1)[np.arange(len(y)), y])

    told = []
    for given in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        draw = np.random.default_rng(1)
        p = {"V": draw.standard_normal((8, 16)) / 2, "W": draw.standard_normal((16, 2)) / 4, "b": np.zeros(2)}
        measured = ut.flow.recorded(loss)
        for k in range(100):
            rows = slice(k % 12 * 32, k % 12 * 32 + 32)
            _, gradient = measured(p, given[rows], y[rows])
            p = {name: x - 0.05 * gradient[name] for name, x in p.items()}
        told.append([x.kind for x in measured.findings])
    assert told == [["input-not-scaled"]] * 2
