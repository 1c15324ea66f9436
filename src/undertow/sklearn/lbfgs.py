"""The solver lbfgs: all examples at once, by SciPy, with a compiled gradient."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from undertow import trees
from undertow.errors import ArgumentError
from undertow.public_gradient import value_and_grad
from undertow.sklearn.diverged import FitDiverged, name_layer
from undertow.sklearn.learner import Rule
from undertow.sklearn.programs import borrow, give_back
from undertow.train.objective import Target
from undertow.train.run import Run
from undertow.train.setup import draws_numbers


class FlatLoss:
    """The loss and its gradient as functions of one vector, and what the fit met on its way.

    Args:
        gradient: (model, X, target) → (loss, a tree like the model).
        model: where it starts.
        X: inputs, (n, d).
        target: what belongs to them.
    """

    def __init__(self, gradient: Any, model: Any, X: Any, target: Target) -> None:
        self.gradient, self.X, self.target = gradient, X, target
        self.leaves, self.rebuild = trees.flatten(model)
        self.places = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, np.ndarray)]

    def start(self) -> Any:
        """The parameters of the model, as one vector."""
        return np.concatenate([np.ravel(self.leaves[i]) for i in self.places]).astype(np.float64)

    def model(self, x: Any) -> Any:
        """The model of a vector."""
        new, at = list(self.leaves), 0
        for i in self.places:
            leaf = self.leaves[i]
            new[i] = x[at : at + leaf.size].reshape(leaf.shape).astype(leaf.dtype)
            at += leaf.size
        return self.rebuild(new)

    def __call__(self, x: Any) -> tuple[float, Any]:
        """Compute both."""
        with np.errstate(all="ignore"):
            loss, grads = self.gradient(self.model(x), self.X, self.target)
        found = trees.flatten(grads)[0]
        return float(loss), np.concatenate([np.ravel(found[i]) for i in self.places]).astype(np.float64)


def fit_lbfgs(estimator: Any, rule: Rule, X: Any, target: Target, settings: dict[str, Any], offset: float) -> Any:
    """Fit by L-BFGS; what it tells is kept on the estimator.

    Args:
        estimator: the estimator; its ``model_`` is where it starts.
        rule: its loss is made small.
        X: inputs, (n, d).
        target: what belongs to them.
        settings: of the run, as plain data.
        offset: is added to the loss that is told.

    Returns:
        The model.

    Raises:
        ArgumentError: ``lbfgs needs a loss without chance: …``
        FitDiverged: the parameters are not finite at its end.

    Source: Byrd et al., SIAM J. Sci. Comput. 16, 1995; SciPy's L-BFGS-B without bounds.
    """
    model = estimator.model_
    if draws_numbers(model, X[:2]) or not all(trees.unmarked(model, "not_trained")):
        raise ArgumentError(
            "lbfgs needs a loss without chance that is the same for a batch and for all examples: leave dropout and "
            "batch normalisation out, or use another solver."
        )
    key = None if rule.key is None else ("lbfgs", rule.key)
    gradient = borrow(key, lambda: value_and_grad(rule.loss, fallback="numpy"))
    loss = FlatLoss(gradient, model, X, target)
    options = {"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol}

    def after_iteration(intermediate_result: Any) -> None:
        row = {"epoch": len(estimator._history) + 1, "loss": float(intermediate_result.fun) + offset}
        estimator._history.append(row)
        if estimator.verbose:
            print(f"Iteration {row['epoch']}, loss = {row['loss']:.8f}")

    try:
        found = minimize(loss, loss.start(), jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
    finally:
        give_back(key, gradient)
    if not np.isfinite(found.x).all() or not np.isfinite(found.fun):
        run = Run(model, estimator._history, [], settings, "diverged")
        where = name_layer(loss.model(found.x), X)
        raise FitDiverged(
            f"the fit by lbfgs stopped being finite. {where} Scale X and y to mean 0 and deviation 1, give a larger "
            "alpha, or use another solver.".replace("  ", " "),
            run,
        )
    if not found.success:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message} "
            "Give a larger max_iter, or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
    estimator.n_iter_ = max(1, min(int(found.nit), estimator.max_iter))
    estimator.loss_ = float(found.fun) + offset
    return loss.model(found.x)
