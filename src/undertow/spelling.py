"""What somebody meant by a name that is not there: ours for a misspelt one, or for that of another library."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ELSEWHERE: Final[dict[str, str]] = {
    # losses and metrics
    "mse": "mean_squared_error",
    "l2": "mean_squared_error",
    "squarederror": "mean_squared_error",
    "mae": "mean_absolute_error",
    "l1": "mean_absolute_error",
    "absoluteerror": "mean_absolute_error",
    "smoothl1": "huber",
    "pinball": "quantile",
    "cosinesimilarity": "cosine",
    "crossentropy": "categorical_cross_entropy",
    "sparsecategoricalcrossentropy": "categorical_cross_entropy",
    "nll": "categorical_cross_entropy",
    "logloss": "categorical_cross_entropy",
    "bce": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy_with_logits",
    "kl": "kullback_leibler",
    "kldiv": "kullback_leibler",
    "kldivergence": "kullback_leibler",
    "poissonnll": "poisson",
    "gaussiannll": "gaussian",
    "msle": "mean_squared_logarithmic_error",
    "meansquaredlog": "mean_squared_logarithmic_error",
    "meansquaredlogerror": "mean_squared_logarithmic_error",
    "focal": "categorical_focal",
    "acc": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "r2score": "r2",
    "rsquared": "r2",
    "auroc": "auc",
    "f1score": "f1",
    "sensitivity": "recall",
    "brier": "brier_score",
    "prauc": "average_precision",
    "valloss": "validation_loss",
    "valacc": "validation_accuracy",
    "valaccuracy": "validation_accuracy",
    # activations
    "swish": "silu",
    "linear": "identity",
    "logistic": "sigmoid",
    # optimizers and schedules
    "gd": "sgd",
    "cosineannealing": "cosine",
    "cosineannealinglr": "cosine",
    "cosineannealingwarmrestarts": "cosine_restarts",
    "onecyclelr": "one_cycle",
    "exponentiallr": "exponential",
    "steplr": "step_decay",
}
"""Names in other libraries, without case and joints, and ours."""


def meant_name(name: object, known: Iterable[str]) -> str | None:
    """Find the known name that somebody meant.

    Args:
        name: what was written; anything that is no text is like no name.
        known: the names that are there.

    Returns:
        The known name that differs by case and joints only, or is the one for what another library calls so, or is
        spelt most like it; None where none is close.

    Source: derived here; likeness is that of `difflib.get_close_matches`, 0.7 or more.

    Example:
        >>> meant_name("ReLU", ["relu", "tanh"]), meant_name("MSELoss", ["mean_squared_error"])
        ('relu', 'mean_squared_error')
    """
    if not isinstance(name, str):
        return None
    import difflib

    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(_fold(candidate), candidate)
    plain = _fold(name)
    for form in (plain, plain.removesuffix("loss"), plain.removesuffix("error")):
        if form in folded:
            return folded[form]
        ours = _fold(ELSEWHERE.get(form, ""))
        if ours in folded:
            return folded[ours]
    near = difflib.get_close_matches(plain, list(folded), 1, cutoff=0.7)
    return folded[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Put the name that was meant into a sentence for a message.

    Args:
        name: what was written.
        known: the names that are there.

    Returns:
        ``"Did you mean 'relu'? "``, with a blank at the end; empty where nothing is close.

    Source: derived here.

    Example:
        >>> did_you_mean("rleu", ["relu", "tanh"])
        "Did you mean 'relu'? "
        >>> did_you_mean("banana", ["relu", "tanh"])
        ''
    """
    meant = meant_name(name, known)
    return "" if meant is None else f"Did you mean {meant!r}? "


def offer(name: object, known: Iterable[str]) -> str:
    """Say what there is in place of a name that is not there: what was meant, and all names.

    Args:
        name: what was written.
        known: the names that are there.

    Returns:
        The end of a message, without its full stop.

    Source: derived here.

    Example:
        >>> offer("rleu", ["relu", "tanh"])
        "Did you mean 'relu'? Use one of relu, tanh"
    """
    known = list(known)
    return f"{did_you_mean(name, known)}Use one of {', '.join(known)}"


def _fold(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
