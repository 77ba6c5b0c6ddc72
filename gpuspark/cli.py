"""The command line: ``gpuspark info | demo | check``.

Exit codes: 0, done; 1, the job ran and its results are wrong, or it failed, or a function that was checked
does not run on a GPU; 2, it was called wrongly, or something that it needs is not installed.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)
Json = Annotated[bool, typer.Option("--json", help="for a machine to read")]


@app.callback()
def about() -> None:
    """Your PySpark functions, compiled, on the best device present.

    Exit codes: 0 done; 1 the job failed, its results are wrong, or a checked function does not run on a GPU;
    2 called wrongly, or not set up.
    """


@app.command()
def info(as_json: Json = False) -> None:
    """What is on this machine, and why a GPU is or is not used."""
    from gpuspark.errors import ConfigError
    from gpuspark.machine import info as look

    try:
        found = look()
    except ConfigError as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(found.to_dict(), default=str) if as_json else str(found))


@app.command()
def demo(as_json: Json = False) -> None:
    """The flights of New York 2013, on every device that is here, equal to plain PySpark."""
    from gpuspark.demo import NotSetUp, run

    try:
        result = run(quiet=as_json)
    except NotSetUp as missing:
        typer.echo(str(missing), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(result.to_dict()) if as_json else str(result))
    raise typer.Exit(0 if result.passed else 1)


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="a file such as job.py, or a module", metavar="FILE.py")],
    types: Annotated[str, typer.Option(help='the columns\' types, such as "double, int"; else many are tried')] = "",
    arch: Annotated[str, typer.Option(help="the GPU's compute capability, such as 80 or 90")] = "80",
    as_json: Json = False,
) -> None:
    """Will the functions of a file run on a GPU, for which types, and what would limit them? Needs no GPU."""
    from gpuspark.check import check as look
    from gpuspark.errors import CallError, DeclarationError

    try:
        found = look(target, types=[word.strip() for word in types.split(",") if word.strip()], arch=arch)
    except (CallError, DeclarationError) as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps([one.to_dict() for one in found]) if as_json else "\n\n".join(map(str, found)))
    raise typer.Exit(1 if any(one.runs is False for one in found) else 0)


def main() -> None:
    """The entry point of the ``gpuspark`` command."""
    app()
