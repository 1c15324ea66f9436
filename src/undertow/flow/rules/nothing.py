"""What is said where a network has learned nothing of its inputs: whether there is anything to learn."""

from __future__ import annotations

from typing import Any, Final

from undertow.flow.findings import Remedy
from undertow.flow.record import Flow
from undertow.flow.rules import remedies as R
from undertow.flow.rules.written import train_call

CHANCE: Final = 3.0  # deviations below which the nearest rows, and a linear function, tell nothing of targets, ...
SURE: Final = 5.0  # ... and beyond which they surely do
BELONGS: Final = (
    "Look whether each row of y belongs to its row of X.",
    "print(*zip(X[:5], y[:5]), sep='\\n')  # as they are given to train",
)


def tell_signal(flow: Flow) -> tuple[str, list[tuple[str, Any, str | None]]]:
    """Say whether inputs tell anything of targets, apart from the network.

    Args:
        flow: the record.

    Returns:
        A sentence with a space before it, ``""`` where nothing is sure, and rows of evidence.

    Source: derived here; see `undertow.flow.neighbours.measure_signal`.
    """
    told = flow.facts.get("signal") or {}
    if not told:
        return "", []
    near, linear = told["neighbours"], told["linear"]
    rows: list[tuple[str, Any, str | None]] = [
        ("what the nearest rows tell of the target, in deviations of chance", near, f"above {SURE:g}")
    ]
    if linear == linear:
        rows.append(("what a linear function does", linear, f"above {SURE:g}"))
    if near < CHANCE and not linear > CHANCE:
        others = "Neither the nearest rows nor a linear function tell anything of the target"
        others = others if linear == linear else "The nearest rows tell nothing of the target"
        return f" {others}: the inputs may carry no signal.", rows
    if near > SURE or linear > SURE:
        by = "the nearest rows" if near > SURE else "a linear function"
        return f" There is something to learn: {by} tell{'s' if near <= SURE else ''} of the target.", rows
    return "", rows


def compare_with_chance(flow: Flow) -> list[Remedy]:
    """How to see whether there is a signal; nothing where there surely is one.

    Args:
        flow: the record.

    Returns:
        A look at whether rows belong together, and a comparison with shuffled targets.

    Source: Zhang et al., Understanding deep learning requires rethinking generalization, ICLR 2017, section 2.
    """
    told = flow.facts.get("signal") or {}
    if told and (told["neighbours"] > SURE or told["linear"] > SURE):
        return [R.mend_data(*BELONGS)]
    code = "y = y[rng.permutation(len(y))]  # train so, and compare the loss of rows that no step has seen"
    if not flow.of_loop:
        code = (
            "shuffled = y[np.random.default_rng(0).permutation(len(y))]\n"
            f"{train_call(flow, y='shuffled')}\n"
            "print(run.history[-1])"
        )
    return [
        R.mend_data(*BELONGS),
        R.mend_data(
            "Look whether a training on shuffled targets does as well on rows held out: then the inputs tell nothing "
            "of the target, and other columns are needed, not other settings.",
            code,
        ),
    ]
