"""The classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from undertow.errors import ArgumentError
from undertow.keywords import explain_keywords
from undertow.sklearn.base import BaseNetwork, is_stochastic, keep_settings
from undertow.sklearn.settings import check_class_weight
from undertow.sklearn.targets import Target, balanced_weights, knows_probabilities, target_of_classes

Array = NDArray[Any]


def _knows_probabilities(estimator: Any) -> bool:
    if not knows_probabilities(estimator.loss):
        raise AttributeError(f"the loss {estimator.loss} knows no probabilities. Use log_loss, or predict.")
    return True


class MLPClassifier(ClassifierMixin, BaseNetwork):
    """A network that tells classes apart, with scikit-learn's names and defaults.

    Args:
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
        loss: ``"log_loss"``, a loss of classes of `undertow.nn` or its name, or a function (output, y) → one number.
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
        class_weight: ``"balanced"``, by which every class has the same sum of weights, sample_weight counted; a dict
            of a weight for each class; or None.

    Attributes:
        classes_: the classes, or 0 … k − 1 for labels.
        coefs_, intercepts_: W and b of each layer; model_ the `undertow.nn` model that holds them.
        run_: the `undertow.train.Run` behind the fit.
        loss_, best_loss_, loss_curve_: the mean loss of an epoch with its penalty.
        validation_scores_, validation_loss_curve_, best_validation_score_: on what was held out.
        n_iter_, t_: epochs of the last fit; examples seen in all.
        n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as in scikit-learn.

    Raises:
        ArgumentError: ``MLPClassifier: alpha must be 0 or more, got -1.``
        FitDiverged: ``the fit stopped being finite. … The loss became inf at epoch 3, step 2. Try …``; a ValueError.

    Warns:
        ConvergenceWarning: max_iter was reached before the loss settled.

    Source: scikit-learn 1.9, MLPClassifier, whose numbers it gives for the same random_state, to rounding.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = MLPClassifier([16], learning_rate_init=0.03, tol=0.01, random_state=0).fit(X, y)
        >>> model.score(X, y) > 0.95, model.predict_proba(X[:2]).shape
        (True, (2, 3))
    """

    @explain_keywords
    def __init__(
        self,
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
        loss: Any = "log_loss",
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
        class_weight: Any = None,
    ) -> None:
        keep_settings(self, locals())

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> MLPClassifier:
        """Fit the network.

        Args:
            X: inputs, (n, d), an array, a frame or a sparse matrix.
            y: classes, (n,), or labels as 0 and 1, (n, k).
            sample_weight: of the examples, (n,), or None.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, classes: ArrayLike | None = None
    ) -> MLPClassifier:
        """Train one epoch on these examples.

        Args:
            X: see `fit`.
            y: see `fit`.
            sample_weight: see `fit`.
            classes: all classes that will come; needed in the first call.

        Returns:
            The estimator.
        """
        if not hasattr(self, "classes_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._classes_to_come = unique_labels(classes)
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit: {self.classes_!r}")
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Predict the classes of X (m, d): (m,), or labels (m, k), a sparse matrix where those of the fit were."""
        outputs = self._outputs(X)
        decided = self._target.decide(outputs)
        if self._target.kind == "multilabel":
            return csr_matrix(decided) if getattr(self, "_has_sparse_labels", False) else decided
        return np.asarray(self.classes_[np.minimum(decided, len(self.classes_) - 1)])

    @available_if(_knows_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each class for X (m, d): (m, K)."""
        outputs = self._outputs(X)
        p = self._target.probabilities(outputs)
        return p if self._target.kind == "multilabel" or len(self.classes_) > 1 else np.ones((len(p), 1), p.dtype)

    @available_if(_knows_probabilities)  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of what `predict_proba` gives."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def _read_targets(self, y: Any, first: bool) -> tuple[Target, Array]:
        check_classification_targets(y)
        is_multilabel = type_of_target(y) == "multilabel-indicator"
        if not is_multilabel and y.ndim > 1:
            raise ValueError(f"y is {y.shape}. Multioutput target data is not supported with label binarization")
        if first:
            self._learn_classes(y, is_multilabel)
        elif is_multilabel != (self._target.kind == "multilabel") or (is_multilabel and y.shape[1] != self.n_outputs_):
            raise ValueError(f"y is {y.shape}, but the estimator was fitted to {self._target.kind} targets.")
        if is_multilabel:
            return self._target, np.asarray(y, np.int64)
        found = np.unique(y)
        if self.warm_start and not first and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {found}"
            )
        if len(np.setdiff1d(found, self.classes_)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {found}."
            )
        return self._target, np.searchsorted(self.classes_, y)

    def _learn_classes(self, y: Any, is_multilabel: bool) -> None:
        to_come = self.__dict__.pop("_classes_to_come", None)
        if is_multilabel:
            self.classes_ = np.arange(y.shape[1])
            kind = "multilabel"
        else:
            self.classes_ = np.unique(y) if to_come is None else np.asarray(to_come)
            kind = "binary" if len(self.classes_) <= 2 else "multiclass"
        self._target = target_of_classes(self.loss, kind, len(self.classes_))

    def _weights_of_classes(self, y: Any, weights: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ArgumentError(
                "class_weight='balanced' is not known in partial_fit, which does not see all examples. Give a dict."
            )
        check_class_weight(self.class_weight, self.classes_)
        if self.class_weight == "balanced":
            return balanced_weights(y, weights)
        return np.asarray(compute_sample_weight(self.class_weight, y))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
