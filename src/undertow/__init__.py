"""Undertow: backpropagation for NumPy code. A backward pass you can read, watch and trust."""

from typing import TYPE_CHECKING

from undertow.allocation import KEEPS_FREED_MEMORY as KEEPS_FREED_MEMORY
from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow import data, flow, nn, optim
    from undertow.api import Backprop, backprop
    from undertow.bridges import to_jax, to_torch
    from undertow.check import GradientReport, check_gradient
    from undertow.compile import compile, get_threads, set_threads, show_config
    from undertow.custom import checkpoint, clip_cotangent, custom_vjp, implicit_root, watch
    from undertow.derivatives import hessian, hvp, jacobian, jvp, vjp
    from undertow.errors import (
        ArgumentError,
        ControlFlowError,
        DataError,
        DataWarning,
        DTypeError,
        EscapedTracerError,
        GradientError,
        GraphError,
        InPlaceError,
        NonScalarError,
        PairingWarning,
        PositionError,
        RunError,
        ShapeError,
        ThreadError,
        TrainingError,
        UndertowError,
        UnsupportedError,
    )
    from undertow.per_example import per_example_grad
    from undertow.primitives.stable import (
        log_softmax,
        logsumexp,
        one_hot,
        polygamma,
        sigmoid,
        softmax,
        softplus,
        stop_gradient,
    )
    from undertow.public_gradient import grad, value_and_grad
    from undertow.train import CrossValidation, Run, Trainer, cross_validate, find_learning_rate, load, train
    from undertow.train.resume import resume

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "Backprop",
    "ControlFlowError",
    "CrossValidation",
    "DTypeError",
    "DataError",
    "DataWarning",
    "EscapedTracerError",
    "GradientError",
    "GradientReport",
    "GraphError",
    "InPlaceError",
    "NonScalarError",
    "PairingWarning",
    "PositionError",
    "Run",
    "Trainer",
    "RunError",
    "ShapeError",
    "ThreadError",
    "TrainingError",
    "UndertowError",
    "UnsupportedError",
    "backprop",
    "check_gradient",
    "checkpoint",
    "clip_cotangent",
    "compile",
    "cross_validate",
    "custom_vjp",
    "data",
    "find_learning_rate",
    "flow",
    "get_threads",
    "grad",
    "hessian",
    "hvp",
    "implicit_root",
    "jacobian",
    "jvp",
    "load",
    "log_softmax",
    "logsumexp",
    "nn",
    "one_hot",
    "optim",
    "per_example_grad",
    "polygamma",
    "resume",
    "set_threads",
    "show_config",
    "sigmoid",
    "softmax",
    "softplus",
    "stop_gradient",
    "to_jax",
    "to_torch",
    "train",
    "value_and_grad",
    "vjp",
    "watch",
]

attach(
    __name__,
    {
        "undertow.api": "Backprop backprop",
        "undertow.bridges": "to_jax to_torch",
        "undertow.check": "GradientReport check_gradient",
        "undertow.compile": "compile get_threads set_threads show_config",
        "undertow.public_gradient": "grad value_and_grad",
        "undertow.custom": "checkpoint clip_cotangent custom_vjp implicit_root watch",
        "undertow.derivatives": "hessian hvp jacobian jvp vjp",
        "undertow.errors": (
            "ArgumentError ControlFlowError DataError DataWarning DTypeError EscapedTracerError GradientError "
            "GraphError InPlaceError NonScalarError PairingWarning PositionError RunError ShapeError ThreadError "
            "TrainingError UndertowError UnsupportedError"
        ),
        "undertow.per_example": "per_example_grad",
        "undertow.primitives.stable": "log_softmax logsumexp one_hot polygamma sigmoid softmax softplus stop_gradient",
        "undertow.train": "CrossValidation Run Trainer cross_validate find_learning_rate load train",
        "undertow.train.resume": "resume",
    },
    remedies="PACKAGE",
)
