"""The regressor."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from undertow.keywords import explain_keywords
from undertow.sklearn.base import BaseNetwork, is_stochastic, keep_settings
from undertow.sklearn.targets import Target, target_of_values

Array = NDArray[Any]


class MLPRegressor(RegressorMixin, BaseNetwork):
    """A network that predicts values, with scikit-learn's names and defaults.

    With several outputs the loss is the sum over them, whose gradient scikit-learn follows too; the loss that it
    reports is their mean.

    Args:
        loss: ``"squared_error"``, ½ (p − y)²; ``"poisson"``, of counts; a loss of `undertow.nn` or its name; or a
            function (output, y) → one number.
        hidden_layer_sizes: the widths of the hidden layers.
        activation: ``"relu"``, ``"tanh"``, ``"logistic"``, ``"identity"``, another of ``undertow.nn.ACTIVATIONS`` or a
            function; a list gives one to each hidden layer.
        solver: ``"adam"``, ``"sgd"``, ``"lbfgs"``, another of ``undertow.optim.OPTIMIZERS``, or an `Optimizer`.
        alpha: the factor of the penalty ½ α Σ W² / m, where m is the number of examples of the batch.
        batch_size: examples a step; ``"auto"`` is 200, or all where there are fewer.
        learning_rate: of sgd: ``"constant"``, ``"invscaling"`` or ``"adaptive"``.
        learning_rate_init: the learning rate.
        power_t: the exponent of ``"invscaling"``.
        max_iter: the most epochs, or iterations of lbfgs.
        shuffle: whether the order of examples changes from epoch to epoch.
        random_state: a seed, a RandomState, or None.
        tol: an epoch that improves by less counts as none.
        verbose: whether to print a line an epoch.
        warm_start: whether ``fit`` goes on with the parameters that are there.
        momentum: of sgd.
        nesterovs_momentum: whether it is Nesterov's.
        early_stopping: whether a part is held out, and the score on it decides when to stop and which model to keep.
        validation_fraction: the share that is held out.
        beta_1, beta_2, epsilon: of adam.
        n_iter_no_change: how many epochs without improvement are waited for.
        max_fun: the most evaluations of the loss by lbfgs.
        layers: widths, a list of layers of `undertow.nn`, or a model; in place of hidden_layer_sizes.
        dropout: the share that is dropped behind each hidden layer; a list gives one to each.
        norm: ``"batch"``, ``"layer"`` or None: what stands between each hidden layer and its activation.
        residual: whether each hidden layer adds to what it takes.
        optimizer: see ``solver``, before which it goes.
        schedule: a schedule of `undertow.optim`, in place of learning_rate_init.
        clip: a clipping rule of `undertow.optim`.
        monitor: what early stopping watches: ``"validation_score"``, which None is too, or ``"validation_loss"``.
        callbacks: see `undertow.train.Callback`.
        flow: True records how the gradient flows: ``run_.flow``, ``run_.findings``; not with lbfgs.
        n_threads: how many threads are used; None for what `undertow.set_threads` said.
        dtype: float32 or float64. None: float32 for 1,000 examples and more that it tells apart, unless the solver is
            lbfgs; else that of X. Predictions have that of X.
        initialiser: a name or function of `undertow.nn`; None draws the numbers that scikit-learn draws.

    Attributes:
        coefs_, intercepts_: W and b of each layer; model_ the `undertow.nn` model that holds them.
        run_: the `undertow.train.Run` behind the fit.
        loss_, best_loss_, loss_curve_: the mean loss of an epoch with its penalty.
        validation_scores_, validation_loss_curve_, best_validation_score_: on what was held out.
        n_iter_, t_: epochs of the last fit; examples seen in all.
        n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as in scikit-learn.

    Raises:
        ArgumentError: ``MLPRegressor: alpha must be 0 or more, got -1.``
        FitDiverged: ``the fit stopped being finite. … The loss became inf at epoch 3, step 2. Try …``; a ValueError.

    Warns:
        ConvergenceWarning: max_iter was reached before the loss settled.

    Source: scikit-learn 1.9, MLPRegressor, whose numbers it gives for the same random_state, to rounding.

    Example:
        >>> import numpy as np
        >>> X = np.linspace(-1, 1, 200)[:, None]
        >>> model = MLPRegressor("squared_error", [16], solver="lbfgs", random_state=0).fit(X, np.sin(3 * X[:, 0]))
        >>> model.score(X, np.sin(3 * X[:, 0])) > 0.99
        True
    """

    @explain_keywords
    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        layers: Any = None,
        dropout: Any = 0.0,
        norm: str | None = None,
        residual: bool = False,
        optimizer: Any = None,
        schedule: Any = None,
        clip: Any = None,
        monitor: str | None = None,
        callbacks: Any = None,
        flow: bool = False,
        n_threads: int | None = None,
        dtype: Any = None,
        initialiser: Any = None,
    ) -> None:
        keep_settings(self, locals())

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> MLPRegressor:
        """Fit the network.

        Args:
            X: inputs, (n, d), an array, a frame or a sparse matrix.
            y: values, (n,) or (n, k).
            sample_weight: of the examples, (n,), or None.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> MLPRegressor:
        """Train one epoch on these examples; see `fit`."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Predict values for X (m, d): (m,) or (m, k)."""
        outputs = self._outputs(X)
        return self._target.decide(outputs)

    def _read_targets(self, y: Any, first: bool) -> tuple[Target, Array]:
        found = target_of_values(self.loss, y)
        if not first and found.n_outputs != self.n_outputs_:
            now, before = (n // found.loss.columns for n in (found.n_outputs, self.n_outputs_))
            raise ValueError(f"y has {now} columns, but the estimator was fitted to {before}.")
        self._target = found
        return found, y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
