"""Powers of truth values have the dtype that NumPy gives them."""

import numpy as np
import pytest

import undertow as ut
from undertow.trace import trace_function

POWERS = [lambda b: b**2, lambda b: b**3, lambda b: b**2.0, lambda b: b**b, lambda b: 2**b, lambda b: np.power(b, 2)]


@pytest.mark.parametrize("f", [*POWERS, lambda b: b ** np.int64(2), lambda b: (b > 0) ** 2])
def test_powers_have_numpys_dtype(f):
    b = np.array([[True, False], [True, True]])
    spec = trace_function(f, (b,)).graph.outputs[0].spec
    assert spec.dtype == f(b).dtype and spec.shape == b.shape


def test_a_compiled_square_of_truth_values():
    b = np.array([True, False, True])
    found = ut.compile(lambda b: b**2)(b)
    assert found.dtype == np.int8 and found.tolist() == [1, 0, 1]


@pytest.mark.parametrize("f", [lambda x: max(x, key=abs), lambda x: sorted(x, key=lambda v: -v)[0]])
def test_no_function_of_numpys_is_proposed_for_what_takes_a_key(f):
    with pytest.raises(ut.ControlFlowError, match="truth value of a traced number") as caught:
        ut.backprop(lambda x: f(x) * 1.0, np.array([1.0, -2.0]))
    assert "np.max" not in str(caught.value) and "np.sort" not in str(caught.value)
