"""The command line: ``gpuspark info | demo``.

Exit codes: 0, done; 1, the job ran and its results are wrong, or it failed; 2, it was called wrongly or
something that it needs is not installed.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Your PySpark functions, compiled, on GPUs.")
Json = Annotated[bool, typer.Option("--json", help="for a machine to read")]


@app.callback()
def about() -> None:
    """Your PySpark functions, compiled, on the best device present. Exit codes: 0 done, 1 failed, 2 not set up."""


@app.command()
def info(as_json: Json = False) -> None:
    """What is on this machine, and why a GPU is or is not used."""
    from gpuspark.machine import info as look

    found = look()
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
    raise typer.Exit(0 if result.equal else 1)


def main() -> None:
    """The entry point of the ``gpuspark`` command."""
    app()
