"""Layers, activations, initialisers and losses: plain NumPy code over parameter trees."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.nn.activations import (
        ACTIVATIONS,
        build_activation,
        describe_activation,
        identity,
        lecun_tanh,
        log_softmax,
        sigmoid,
        softmax,
        softplus,
        softsign,
        tanh,
    )
    from undertow.nn.class_weights import class_weights
    from undertow.nn.classification_losses import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        categorical_cross_entropy,
        categorical_cross_entropy_with_logits,
        categorical_hinge,
        hinge,
        kullback_leibler,
        kullback_leibler_with_logits,
        squared_hinge,
    )
    from undertow.nn.containers import Concat, Residual, Sequential
    from undertow.nn.description import LAYERS, build_model, describe_model, register_layer
    from undertow.nn.embedding import EmbedColumns, Embedding
    from undertow.nn.focal_losses import (
        binary_focal,
        binary_focal_with_logits,
        categorical_focal,
        categorical_focal_with_logits,
    )
    from undertow.nn.from_data import bias_from_frequencies, lsuv, start_at_frequencies
    from undertow.nn.gain import gain
    from undertow.nn.initialisers import (
        INITIALISERS,
        build_initialiser,
        constant,
        describe_initialiser,
        normal,
        truncated_normal,
        uniform,
        zeros,
    )
    from undertow.nn.layer import list_layers
    from undertow.nn.layers import Dense
    from undertow.nn.loss_record import Loss
    from undertow.nn.losses import LOSSES, build_loss, find_loss
    from undertow.nn.mode import (
        current,
        draws_numbers,
        example_keys,
        is_training,
        normal_like,
        replace,
        training,
        uniform_like,
    )
    from undertow.nn.normalisation import BatchNorm, LayerNorm, RMSNorm
    from undertow.nn.orthogonal import delta_orthogonal, orthogonal
    from undertow.nn.parallel import Parallel
    from undertow.nn.parameters import (
        expected_shapes,
        is_initialized,
        map_layers,
        parameters_of,
        put_parameters,
        trained_leaves,
        trained_paths,
    )
    from undertow.nn.prelu import PReLU
    from undertow.nn.rectifiers import (
        celu,
        elu,
        gelu,
        hard_sigmoid,
        hard_tanh,
        leaky_relu,
        mish,
        relu,
        relu6,
        selu,
        silu,
    )
    from undertow.nn.regression_losses import (
        cosine,
        gaussian,
        half_squared_error,
        huber,
        log_cosh,
        mean_absolute_error,
        mean_squared_error,
        mean_squared_logarithmic_error,
        poisson,
        quantile,
    )
    from undertow.nn.regularising import Dropout, Noise
    from undertow.nn.reshaping import Flatten, Lambda, Reshape, Scale
    from undertow.nn.structure import drop_final_activation, final_activation, initialize
    from undertow.nn.summary import Summary, summary
    from undertow.nn.variance_scaling import (
        glorot_normal,
        glorot_uniform,
        he_normal,
        he_uniform,
        lecun_normal,
        lecun_uniform,
    )

__all__ = [
    "Dense",
    "Sequential",
    "Residual",
    "Parallel",
    "Concat",
    "Dropout",
    "Noise",
    "BatchNorm",
    "LayerNorm",
    "RMSNorm",
    "Embedding",
    "EmbedColumns",
    "Flatten",
    "Reshape",
    "Scale",
    "Lambda",
    "PReLU",
    "LAYERS",
    "register_layer",
    "initialize",
    "is_initialized",
    "list_layers",
    "map_layers",
    "parameters_of",
    "put_parameters",
    "expected_shapes",
    "trained_leaves",
    "trained_paths",
    "describe_model",
    "build_model",
    "summary",
    "Summary",
    "final_activation",
    "drop_final_activation",
    "is_training",
    "draws_numbers",
    "training",
    "example_keys",
    "uniform_like",
    "normal_like",
    "replace",
    "current",
    "ACTIVATIONS",
    "describe_activation",
    "build_activation",
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "lecun_tanh",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
    "INITIALISERS",
    "describe_initialiser",
    "build_initialiser",
    "bias_from_frequencies",
    "constant",
    "delta_orthogonal",
    "gain",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "lsuv",
    "normal",
    "orthogonal",
    "start_at_frequencies",
    "truncated_normal",
    "uniform",
    "zeros",
    "LOSSES",
    "Loss",
    "build_loss",
    "find_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "binary_focal",
    "binary_focal_with_logits",
    "categorical_cross_entropy",
    "categorical_cross_entropy_with_logits",
    "categorical_focal",
    "categorical_focal_with_logits",
    "categorical_hinge",
    "class_weights",
    "cosine",
    "gaussian",
    "half_squared_error",
    "hinge",
    "huber",
    "kullback_leibler",
    "kullback_leibler_with_logits",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "quantile",
    "squared_hinge",
]

attach(
    __name__,
    {
        "undertow.nn.activations": (
            "ACTIVATIONS build_activation describe_activation identity lecun_tanh log_softmax sigmoid "
            "softmax softplus softsign tanh"
        ),
        "undertow.nn.class_weights": "class_weights",
        "undertow.nn.classification_losses": (
            "binary_cross_entropy binary_cross_entropy_with_logits categorical_cross_entropy "
            "categorical_cross_entropy_with_logits categorical_hinge hinge kullback_leibler "
            "kullback_leibler_with_logits squared_hinge"
        ),
        "undertow.nn.containers": "Concat Residual Sequential",
        "undertow.nn.description": "LAYERS build_model describe_model register_layer",
        "undertow.nn.embedding": "EmbedColumns Embedding",
        "undertow.nn.focal_losses": (
            "binary_focal binary_focal_with_logits categorical_focal categorical_focal_with_logits"
        ),
        "undertow.nn.from_data": "bias_from_frequencies lsuv start_at_frequencies",
        "undertow.nn.gain": "gain",
        "undertow.nn.initialisers": (
            "INITIALISERS build_initialiser constant describe_initialiser normal truncated_normal uniform zeros"
        ),
        "undertow.nn.layer": "list_layers",
        "undertow.nn.layers": "Dense",
        "undertow.nn.loss_record": "Loss",
        "undertow.nn.losses": "LOSSES build_loss find_loss",
        "undertow.nn.mode": "current draws_numbers example_keys is_training normal_like replace training uniform_like",
        "undertow.nn.normalisation": "BatchNorm LayerNorm RMSNorm",
        "undertow.nn.orthogonal": "delta_orthogonal orthogonal",
        "undertow.nn.parallel": "Parallel",
        "undertow.nn.parameters": (
            "expected_shapes is_initialized map_layers parameters_of put_parameters trained_leaves trained_paths"
        ),
        "undertow.nn.prelu": "PReLU",
        "undertow.nn.rectifiers": "celu elu gelu hard_sigmoid hard_tanh leaky_relu mish relu relu6 selu silu",
        "undertow.nn.regression_losses": (
            "cosine gaussian half_squared_error huber log_cosh mean_absolute_error mean_squared_error "
            "mean_squared_logarithmic_error poisson quantile"
        ),
        "undertow.nn.regularising": "Dropout Noise",
        "undertow.nn.reshaping": "Flatten Lambda Reshape Scale",
        "undertow.nn.structure": "drop_final_activation final_activation initialize",
        "undertow.nn.summary": "Summary summary",
        "undertow.nn.variance_scaling": "glorot_normal glorot_uniform he_normal he_uniform lecun_normal lecun_uniform",
    },
    remedies="LAYERS",
)
