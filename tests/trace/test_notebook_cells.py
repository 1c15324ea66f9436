"""What is typed into a notebook is called by the number of its cell, as the notebook calls it."""

import linecache
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import undertow as ut

CELL = "ipykernel_17/2672819505.py"
SOURCE = """
def loss(W, X):
    z = X @ W
    return np.sum(z ** 2)
"""


@pytest.fixture
def cell(monkeypatch):
    """A function that stands in the third cell: IPython knows the number by the file's name."""
    shell = SimpleNamespace(compile=SimpleNamespace(_filename_map={CELL: 3}))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(linecache.cache, CELL, (len(SOURCE), None, SOURCE.splitlines(True), CELL))
    names = {"np": np}
    exec(compile(SOURCE, CELL, "exec"), names)
    return names["loss"]


def test_origins_and_errors_name_the_cell(cell):
    W, X = np.ones((3, 2)), np.ones((4, 3))
    bp = ut.backprop(cell, W, X)
    assert "# (m, 2)  In[3]:3" in bp.source and "of loss (In[3])" in bp.source
    with pytest.raises(ut.ShapeError, match=r"X @ W \(In\[3\]:3\)"):
        ut.grad(cell)(W, np.ones((4, 5)))
    with pytest.raises(ut.NonScalarError, match=r"<lambda> \(test_notebook_cells.py:\d+\)"):
        ut.grad(lambda w: w * cell(W, X))(np.ones(2))


def test_without_a_shell_files_keep_their_names(cell, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert "2672819505.py:3" in ut.backprop(cell, np.ones((3, 2)), np.ones((4, 3))).source
