"""Update rules, schedules and clipping: pure functions over parameter trees, in plain NumPy."""

from typing import TYPE_CHECKING

from undertow.lazy import attach

if TYPE_CHECKING:
    from undertow.optim.adaptive import AdadeltaState, AdagradState, RMSpropState, adadelta, adagrad, rmsprop
    from undertow.optim.clipping import (
        CLIPS,
        Clip,
        Clipped,
        build_clip,
        clip_adaptive,
        clip_by_global_norm,
        clip_by_layer_norm,
        clip_by_norm,
        clip_by_value,
    )
    from undertow.optim.cycles import cosine, cosine_restarts, one_cycle, warmup
    from undertow.optim.finite import NON_FINITE, all_finite, check_finite, keep_if, read_policy, zero_non_finite
    from undertow.optim.groups import GroupedState, grouped
    from undertow.optim.lbfgs import LBFGSReport, minimize_lbfgs
    from undertow.optim.moments import (
        AdamState,
        AMSGradState,
        NAdamState,
        adam,
        adamax,
        adamw,
        amsgrad,
        lamb,
        nadam,
        radam,
    )
    from undertow.optim.names import name_leaves
    from undertow.optim.plateau import Plateau, PlateauState, reduce_on_plateau
    from undertow.optim.registry import OPTIMIZERS, SCHEDULES, WRAPPERS, build_optimizer, build_schedule, find_optimizer
    from undertow.optim.rules import LionState, MomentumState, Optimizer, ScheduledState, lion, momentum, nesterov, sgd
    from undertow.optim.schedule import Schedule, of_function, steps_in_all, table, tabulate
    from undertow.optim.schedules import constant, exponential, inverse_square_root, piecewise, polynomial, step_decay
    from undertow.optim.wrappers import (
        AccumulatedState,
        AveragedState,
        LookaheadState,
        ScaledState,
        accumulate,
        average_of,
        averaged,
        clip_trained,
        lookahead,
        scaled,
        with_scale,
    )

__all__ = [
    # rules
    "Optimizer", "OPTIMIZERS", "WRAPPERS", "find_optimizer", "build_optimizer",
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta",
    "adam", "amsgrad", "adamw", "adamax", "nadam", "radam", "lion", "lamb",
    # schedules
    "Schedule", "SCHEDULES", "build_schedule", "of_function", "tabulate", "table", "steps_in_all",
    "constant", "piecewise", "step_decay", "exponential", "polynomial", "inverse_square_root",
    "cosine", "cosine_restarts", "one_cycle", "warmup",
    "reduce_on_plateau", "Plateau", "PlateauState",
    # around a rule
    "grouped", "lookahead", "averaged", "average_of", "accumulate", "scaled", "with_scale", "name_leaves",
    # clipping, and gradients that are not finite
    "Clip", "Clipped", "CLIPS", "build_clip",
    "clip_by_value", "clip_by_norm", "clip_by_global_norm", "clip_by_layer_norm", "clip_adaptive", "clip_trained",
    "NON_FINITE", "read_policy", "check_finite", "all_finite", "keep_if", "zero_non_finite",
    # states
    "MomentumState", "LionState", "AdagradState", "RMSpropState", "AdadeltaState", "AdamState", "AMSGradState",
    "NAdamState", "ScheduledState", "LookaheadState", "AveragedState", "AccumulatedState", "ScaledState",
    "GroupedState",
    # without batches
    "minimize_lbfgs", "LBFGSReport",
]  # fmt: skip

attach(
    __name__,
    {
        "undertow.optim.adaptive": "AdadeltaState AdagradState RMSpropState adadelta adagrad rmsprop",
        "undertow.optim.clipping": (
            "CLIPS Clip Clipped build_clip clip_adaptive clip_by_global_norm clip_by_layer_norm clip_by_norm "
            "clip_by_value"
        ),
        "undertow.optim.cycles": "cosine cosine_restarts one_cycle warmup",
        "undertow.optim.finite": "NON_FINITE all_finite check_finite keep_if read_policy zero_non_finite",
        "undertow.optim.groups": "GroupedState grouped",
        "undertow.optim.lbfgs": "LBFGSReport minimize_lbfgs",
        "undertow.optim.moments": "AdamState AMSGradState NAdamState adam adamax adamw amsgrad lamb nadam radam",
        "undertow.optim.names": "name_leaves",
        "undertow.optim.plateau": "Plateau PlateauState reduce_on_plateau",
        "undertow.optim.registry": "OPTIMIZERS SCHEDULES WRAPPERS build_optimizer build_schedule find_optimizer",
        "undertow.optim.rules": "LionState MomentumState Optimizer ScheduledState lion momentum nesterov sgd",
        "undertow.optim.schedule": "Schedule of_function steps_in_all table tabulate",
        "undertow.optim.schedules": "constant exponential inverse_square_root piecewise polynomial step_decay",
        "undertow.optim.wrappers": (
            "AccumulatedState AveragedState LookaheadState ScaledState accumulate average_of averaged "
            "clip_trained lookahead scaled with_scale"
        ),
    },
    remedies="RULES",
)
