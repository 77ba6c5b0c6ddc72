"""The command line: ``gpuspark info | demo | check | replay | bench | report``.

Exit codes: 0, done; 1, the job ran and its results are wrong, or it failed, or a function that was checked
does not run on a GPU, or a replayed batch still fails; 2, it was called wrongly, something that it needs is not
installed, a file that was checked decorates nothing or ends with an error, or a capsule cannot be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

app = typer.Typer(no_args_is_help=True, add_completion=False)
Json = Annotated[bool, typer.Option("--json", help="for a machine to read")]


@app.callback()
def about() -> None:
    """Your PySpark functions, compiled, on the best device present.

    Exit codes: 0 done; 1 the job failed, its results are wrong, a checked function does not run on a GPU, or a
    replayed batch still fails; 2 called wrongly, or not set up.
    """


@app.command()
def info(as_json: Json = False) -> None:
    """What is on this machine, and why a GPU is or is not used."""
    from gpuspark.errors import ConfigError
    from gpuspark.tools.info import info as look

    try:
        found = look()
    except ConfigError as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(found.to_dict(), default=str) if as_json else str(found))


@app.command()
def demo(as_json: Json = False) -> None:
    """The flights of New York 2013, on every device that is here, equal to plain PySpark."""
    from gpuspark.tools.demo import NotSetUp, run

    try:
        result = run(quiet=as_json)
    except NotSetUp as missing:
        typer.echo(str(missing), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(result.to_dict()) if as_json else str(result))
    raise typer.Exit(0 if result.passed else 1)


class _WithArguments(TyperCommand):
    """A command whose words after ``--`` are another program's: they are kept in ``context.meta``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta["arguments"] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])


@app.command(cls=_WithArguments)
def check(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="a file such as job.py, or a module", metavar="FILE.py")],
    types: Annotated[str, typer.Option(help='the columns\' types, such as "double, int"; else many are tried')] = "",
    arch: Annotated[str, typer.Option(help="the GPU's compute capability, such as 80 or 90")] = "80",
    as_json: Json = False,
) -> None:
    """Will the functions of a file run on a GPU, for which types, and what would limit them? Needs no GPU.

    The file's top level is run, without Spark; give it arguments after --, as in: check job.py -- --rate 2.

    Exit codes: 0 none is known not to run on a GPU; 1 one does not; 2 there is no such file, nothing is decorated in
    it, or it ends with an error or an exit code other than 0, so that there may be more functions than were checked.
    """
    from gpuspark.errors import CallError, DeclarationError
    from gpuspark.tools.check import look

    words = [word.strip() for word in types.split(",") if word.strip()]
    try:
        looked = look(target, types=words, arch=arch, arguments=context.meta["arguments"])
    except (CallError, DeclarationError) as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    found = looked.functions
    typer.echo(json.dumps([one.to_dict() for one in found]) if as_json else "\n\n".join(map(str, found)))
    for note in looked.notes:
        typer.echo(f"{target}: {note}", err=True)
    raise typer.Exit(looked.exit_code)


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="a file that spark.gpuspark.capsule.folder kept", metavar="CAPSULE")],
    device: Annotated[str, typer.Option(help="cpu, emulated, cuda, python, or all")] = "all",
    show: Annotated[bool, typer.Option("--show", help="say what is in it, and run nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="run the code that is in it without asking")] = False,
    out: Annotated[Path | None, typer.Option(help="write the rows that still fail to this new capsule")] = None,
    as_json: Json = False,
) -> None:
    """Runs a batch that failed in a task again, without Spark, and finds the few rows that still show it.

    Nothing in a capsule runs before you have agreed. Exit codes: 0 nothing is wrong any more; 1 it still is;
    2 the capsule cannot be used here, the device that it failed on neither, or you did not agree.
    """
    from gpuspark.errors import CapsuleError
    from gpuspark.execution.capsule import read, write
    from gpuspark.tools.replay import describe, devices_named, report
    from gpuspark.tools.replay import replay as run_again

    try:
        capsule, devices = read(path), devices_named(device)
        if out is not None and out.exists():
            raise CapsuleError(f"--out {out} is there already. Name a new file.")
        if show and as_json:
            typer.echo(json.dumps(report(capsule, [])))
        else:
            typer.echo(describe(capsule), err=as_json)
        if show:
            return
        if not yes:
            _ask_to_run(path)
        outcomes = run_again(capsule, devices)
        failing = [outcome for outcome in outcomes if outcome.trouble]
        if out is not None and failing:
            write(capsule.take(failing[0].places), out)
    except (CapsuleError, OSError) as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report(capsule, outcomes)) if as_json else "\n".join(map(str, outcomes)))
    not_run = [outcome.device for outcome in outcomes if outcome.unusable]
    unsure = capsule.manifest.device in not_run or len(not_run) == len(outcomes)
    raise typer.Exit(1 if failing else 2 if unsure else 0)


def _ask_to_run(path: Path) -> None:
    """Raises :class:`~gpuspark.errors.CapsuleError` where the user does not agree, or cannot be asked."""
    from gpuspark.errors import CapsuleError

    if not sys.stdin.isatty():
        raise CapsuleError(f"Nothing was run: to replay {path} is to run code from it. Agree to that with --yes.")
    question = "Run it? This runs code from the file, which may be other than the text above"
    if not typer.confirm(question, err=True):
        raise CapsuleError("Nothing was run.")


bench = typer.Typer(no_args_is_help=False, add_completion=False)
app.add_typer(bench, name="bench", help="Measures every path, on this machine or a cluster.")


@bench.callback(invoke_without_command=True)
def run_bench(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help="smoke (minutes, no figures to keep), core, or full")] = "core",
    case: Annotated[list[str] | None, typer.Option(help="only this case; may be given several times")] = None,
    path: Annotated[str | None, typer.Option(help="only this path, beside the transport floor")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="counted rounds, if not those of the suite")] = None,
    out: Annotated[Path, typer.Option(help="where the records and the report go")] = Path("artifacts/bench"),
    master: Annotated[str, typer.Option(help="Spark's master; all cores of this machine by default")] = "local[*]",
    device: Annotated[str, typer.Option(help="spark.gpuspark.device")] = "auto",
    mlflow: Annotated[str | None, typer.Option(help="a tracking store for the run: sqlite:///runs.db")] = None,
) -> None:
    """Runs the benchmark's cases; ``gpuspark bench compare A B`` holds two runs against each other.

    Exit codes: 1 where a path gave wrong results, 2 for a case, path or suite that there is not.
    """
    if context.invoked_subcommand:
        return
    from gpuspark.bench.command import Unknown
    from gpuspark.bench.command import bench as measure
    from gpuspark.bench.run import WrongResults

    try:
        measure(
            suite=suite, only=case or [], path=path, rounds=rounds, out=out, master=master, device=device, mlflow=mlflow
        )
    except Unknown as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from None
    except WrongResults as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(1) from None


@bench.command()
def compare(
    before: Annotated[Path, typer.Argument(help="a folder of a run, or its records.jsonl")],
    after: Annotated[Path, typer.Argument(help="another")],
) -> None:
    """What became faster or slower from one run to another, each against its own transport floor."""
    from gpuspark.bench.command import comparison

    typer.echo(comparison(before, after))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="the folder of a run")] = Path("artifacts/bench")) -> None:
    """Writes report.html and report.md of the records in a folder."""
    from gpuspark.bench.command import write_report

    typer.echo("\n".join(map(str, write_report(folder))))


def main() -> None:
    """The entry point of the ``gpuspark`` command."""
    app()
