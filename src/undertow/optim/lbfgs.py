"""L-BFGS for losses of all data at once, by SciPy, over parameter trees."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertow import trees
from undertow.errors import ArgumentError, DTypeError, TrainingError
from undertow.optim.names import name_leaves
from undertow.optim.settings import read_amount, read_count
from undertow.primitives import spec_of
from undertow.public_gradient import value_and_grad
from undertow.trace import is_array_like


@dataclass(frozen=True)
class LBFGSReport:
    """How a minimisation went.

    Attributes:
        loss: the smallest loss found, that of the parameters returned.
        iterations: steps taken.
        evaluations: of the loss and its gradient.
        converged: whether SciPy's criterion was met.
        message: why it ended.
        losses: after each iteration; the first is that of the parameters given.
    """

    loss: float
    iterations: int
    evaluations: int
    converged: bool
    message: str
    losses: list[float]


class _Evaluation:
    """The loss and the gradient over one flat vector; remembers the best point."""

    def __init__(self, loss: Callable[..., Any], params: Any, args: tuple[Any, ...], compile: bool) -> None:
        self.leaves, self.rebuild = trees.flatten(params)
        self.args = args
        self.gradient = value_and_grad(loss, compile=compile, fallback="numpy" if compile else None)
        self.places = [i for i, leaf in enumerate(self.leaves) if is_array_like(leaf)]
        for i in self.places:
            if not isinstance(leaf := self.leaves[i], float) and spec_of(leaf).dtype.kind != "f":
                name = name_leaves(params)[i] or "params"
                raise DTypeError(
                    f"minimize_lbfgs: {name} is {spec_of(leaf).dtype}, which cannot be changed by degrees. Give floats."
                )
        self.count = 0
        self.best: tuple[float, NDArray[Any]] | None = None

    def start(self) -> NDArray[Any]:
        """The parameters given, as one vector."""
        if not any(np.size(self.leaves[i]) for i in self.places):
            raise ArgumentError("minimize_lbfgs: params hold no arrays of numbers. Give the parameters to change.")
        return np.concatenate([np.ravel(self.leaves[i]).astype(np.float64) for i in self.places])

    def tree(self, x: NDArray[Any], exact: bool = True) -> Any:
        """The tree of a vector: in float64, or in the dtypes of the parameters given."""
        new, at = list(self.leaves), 0
        for i in self.places:
            leaf = self.leaves[i]
            part = x[at : at + np.size(leaf)].reshape(np.shape(leaf))
            at += np.size(leaf)
            if isinstance(leaf, float):
                new[i] = float(part)
            else:
                new[i] = part.astype(np.float64 if exact else leaf.dtype)
        return self.rebuild(new)

    def __call__(self, x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        with np.errstate(all="ignore"):
            value, grads = self.gradient(self.tree(x), *self.args)
        self.count += 1
        loss = float(value)
        found = trees.flatten(grads)[0]
        gradient = np.concatenate([np.ravel(found[i]).astype(np.float64) for i in self.places])
        if not math.isfinite(loss) or not np.isfinite(gradient).all():
            if self.best is None:
                raise TrainingError(
                    f"minimize_lbfgs: the loss is {loss} at the parameters given, or its gradient is not finite. "
                    "Start elsewhere, or scale the inputs."
                )
            return math.inf, np.zeros_like(x)  # the line search comes back from here
        if self.best is None or loss < self.best[0]:
            self.best = loss, x.copy()
        return loss, gradient


def minimize_lbfgs(
    loss: Callable[..., Any],
    params: Any,
    *args: Any,
    max_iterations: int = 200,
    tolerance: float = 1e-8,
    history: int = 10,
    compile: bool = True,
) -> tuple[Any, LBFGSReport]:
    """Minimise a loss of all data at once by L-BFGS: curvature from the last steps, and a line search.

    It is computed in float64; the result has the dtypes of the parameters. It suits losses without chance in them:
    no batches, no dropout.

    Args:
        loss: ``loss(params, *args)`` → one number.
        params: a tree of arrays and floats, where it starts; it stays as it is.
        args: the loss's other arguments.
        max_iterations: 1 or more.
        tolerance: it ends where no entry of the gradient is larger, or where an iteration lowers the loss by a smaller
            share than about 10⁻³ times it; 0 or more.
        history: of how many steps curvature is remembered, 1 or more.
        compile: whether the gradient is compiled.

    Returns:
        The best parameters found, and an `LBFGSReport`. Ctrl-C ends early with the best so far.

    Raises:
        ArgumentError: ``minimize_lbfgs needs SciPy. Install it with: pip install scipy``
        TrainingError: the loss is not finite at the parameters given.

    Source: Byrd et al., A limited memory algorithm for bound constrained optimization, SIAM J. Sci. Comput. 16, 1995;
        SciPy's L-BFGS-B without bounds.

    Example:
        >>> w, report = minimize_lbfgs(lambda w: np.sum((w - 3.0) ** 4), np.zeros(2), compile=False)
        >>> w.round(1), report.converged
        (array([3., 3.]), True)
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise ArgumentError("minimize_lbfgs needs SciPy. Install it with: pip install scipy") from None
    options = {
        "maxiter": read_count("minimize_lbfgs", "max_iterations", max_iterations),
        "gtol": read_amount("minimize_lbfgs", "tolerance", tolerance),
        "ftol": tolerance * 1e-3,
        "maxcor": read_count("minimize_lbfgs", "history", history),
        "maxfun": 20 * max_iterations + 20,
    }
    evaluation = _Evaluation(loss, params, args, compile)
    start = evaluation.start()
    losses: list[float] = [evaluation(start)[0]]

    def after_iteration(intermediate_result: Any) -> None:
        losses.append(float(intermediate_result.fun))

    converged, message = False, "interrupted"
    try:
        found = minimize(evaluation, start, jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
        converged, message = bool(found.success), str(found.message)
    except KeyboardInterrupt:
        pass
    assert evaluation.best is not None
    value, x = evaluation.best
    report = LBFGSReport(value, len(losses) - 1, evaluation.count, converged, message, losses)
    return evaluation.tree(x, exact=False), report
