"""Commands about losses and steps: explain, check, bench."""

from __future__ import annotations

from typing import Annotated

import typer

from undertow.cli.app import app
from undertow.cli.output import say


@app.command()
def explain(
    what: Annotated[str, typer.Argument(help="A run folder, or file.py:loss.")],
    derivation: Annotated[bool, typer.Option(help="The chain rule step by step, instead of source.")] = False,
    values: Annotated[bool, typer.Option(help="The derivation with numbers.")] = False,
    latex: Annotated[bool, typer.Option(help="The derivation as a LaTeX document.")] = False,
) -> None:
    """Print the backward pass of a run or a loss as NumPy source.

    Of file.py:loss, the arguments to try it with are what loss_example() or example() in the file returns, or
    variables of the file that are called like the parameters, or the parameters' defaults. A method is named with its
    class, a dataclass: file.py:Net.loss, for which the file makes an object.

    Example: undertow explain net.py:loss --derivation
    """
    from undertow.api import backprop
    from undertow.export.functions import name_origins
    from undertow.report import read_subject, run_user_code

    subject = read_subject(what)
    with run_user_code(subject.file):
        found = backprop(subject.function, *subject.args)
    for graph in (found.graph, found.plain):  # lines of our layers say nothing to who reads the program
        name_origins(graph, {file.name for file in subject.file.parent.glob("*.py")})
    for name in found.unreached:
        typer.echo(f"note: the loss does not depend on {name}: its gradient is zero.", err=True)
    if derivation or values or latex:
        say(found.derivation(values=values, format="latex" if latex else "text"))
    else:
        say(found.source)


@app.command()
def check(
    what: Annotated[str, typer.Argument(help="file.py:loss")],
    tolerance: Annotated[float, typer.Option(help="Largest relative error.")] = 1e-6,
    gradient: Annotated[
        str | None, typer.Option(help="A function of the file that gives the gradient, written by hand.")
    ] = None,
) -> None:
    """Compare the gradient of your loss with numeric derivatives.

    The exit code is 1 where it is wrong.

    The arguments to try it with are what loss_example() or example() in the file returns, or variables of the file
    that are called like the parameters, or the parameters' defaults. A method is named with its class, a dataclass:
    file.py:Net.loss, for which the file makes an object.

    Checked is Undertow's gradient, or with --gradient your own: a function of the same arguments. What is wrong with it
    is told by what its mistake looks like.

    Example: undertow check net.py:loss --gradient backward
    """
    from undertow.check import check_gradient
    from undertow.errors import GradientError
    from undertow.report import function_beside, read_subject, run_user_code

    subject = read_subject(what)
    own = function_beside(subject, gradient) if gradient is not None else None
    try:
        with run_user_code(subject.file):
            report = check_gradient(subject.function, *subject.args, tolerance=tolerance, gradient=own)
    except GradientError as error:
        say(str(error))
        raise typer.Exit(1) from None
    say(str(report))


@app.command()
def bench(
    workloads: Annotated[str, typer.Option(help="Some of S, M, L, W, XL.")] = "S,M,L,W",
    threads: Annotated[int | None, typer.Option(help="Threads to use [default: all that the process may use].")] = None,
    profile: Annotated[bool, typer.Option(help="Add the time of every kernel.")] = False,
) -> None:
    """Time compiled training steps on this machine. Peers side by side: `make bench` in a checkout.

    Example: undertow bench --workloads M --threads 1 --profile
    """
    from undertow.compile import set_threads
    from undertow.report.bench import bench as measure

    set_threads(threads)
    measure([name for name in workloads.split(",") if name], profile, say)
