"""The command line: ``gpuspark info | demo | check | replay | bench | report``.

Exit codes: 0, success; 1, the job failed or its results are wrong, a checked function does not run on a GPU, or a
replayed batch still fails; 2, wrong usage, something needed is not installed, a checked file decorates nothing or ends
with an error, or a capsule cannot be used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

app = typer.Typer(no_args_is_help=True, add_completion=False)
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.callback()
def about() -> None:
    """Runs PySpark functions, compiled, on the best device present.

    Exit codes: 0 success; 1 the job failed, its results are wrong, a checked function does not run on a GPU, or a
    replayed batch still fails; 2 wrong usage, or something is not set up.
    """


@app.command()
def info(as_json: Json = False) -> None:
    """Shows the devices and packages of this machine, and why a GPU is or is not used."""
    from gpuspark.errors import ConfigError
    from gpuspark.tools.info import info as collect

    try:
        facts = collect()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(facts.to_dict(), default=str) if as_json else str(facts))


@app.command()
def demo(as_json: Json = False) -> None:
    """Runs three functions over the flights of New York 2013 on every device of this machine, and compares with plain
    PySpark."""
    from gpuspark.tools.demo import NotSetUp, run

    try:
        result = run(quiet=as_json)
    except NotSetUp as missing:
        typer.echo(str(missing), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(result.to_dict()) if as_json else str(result))
    raise typer.Exit(0 if result.passed else 1)


class _WithArguments(TyperCommand):
    """A command that keeps the arguments after ``--``, which are for another program, in ``context.meta``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        ctx.meta["arguments"] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])


@app.command(cls=_WithArguments)
def check(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="a file such as job.py, or a module", metavar="FILE.py")],
    types: Annotated[
        str, typer.Option(help='types of the columns, such as "double, int"; default: tries several')
    ] = "",
    arch: Annotated[str, typer.Option(help="the GPU's compute capability, such as 80 or 90")] = "80",
    as_json: Json = False,
) -> None:
    """Checks whether the functions of a file run on a GPU, for which types, and what limits their speed. Needs no GPU.

    Runs the top level of the file, without Spark. Arguments for the file go after --, as in: check job.py -- --rate 2.

    Exit codes: 0 every function runs on a GPU, as far as is known; 1 one does not; 2 the file does not exist,
    decorates nothing, or ends with an error or a non-zero exit code, so that there may be more functions than were
    checked.
    """
    from gpuspark.errors import CallError, DeclarationError
    from gpuspark.tools.check import check_file

    column_types = [name.strip() for name in types.split(",") if name.strip()]
    try:
        result = check_file(target, types=column_types, arch=arch, arguments=context.meta["arguments"])
    except (CallError, DeclarationError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    functions = result.functions
    typer.echo(json.dumps([f.to_dict() for f in functions]) if as_json else "\n\n".join(map(str, functions)))
    for note in result.notes:
        typer.echo(f"{target}: {note}", err=True)
    raise typer.Exit(result.exit_code)


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="a file from spark.gpuspark.capsule.folder", metavar="CAPSULE")],
    device: Annotated[str, typer.Option(help="cpu, emulated, cuda, python, or all")] = "all",
    show: Annotated[bool, typer.Option("--show", help="describe the capsule, and run nothing")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="run the capsule's code without asking")] = False,
    out: Annotated[Path | None, typer.Option(help="write the rows that still fail to this new capsule")] = None,
    as_json: Json = False,
) -> None:
    """Runs a batch that failed in a task again, without Spark, and finds the few rows that still fail.

    No code from the capsule runs before you agree. Exit codes: 0 nothing fails any more; 1 something still fails;
    2 the capsule or the device that it failed on cannot be used here, or you did not agree.
    """
    from gpuspark.errors import CapsuleError
    from gpuspark.execution.capsule import read, write
    from gpuspark.tools.replay import describe, devices_named, report
    from gpuspark.tools.replay import replay as run_again

    try:
        capsule, devices = read(path), devices_named(device)
        if out is not None and out.exists():
            raise CapsuleError(f"--out {out} exists already. Name a new file.")
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
    except (CapsuleError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report(capsule, outcomes)) if as_json else "\n".join(map(str, outcomes)))
    not_run = [outcome.device for outcome in outcomes if outcome.unusable]
    unsure = capsule.manifest.device in not_run or len(not_run) == len(outcomes)
    raise typer.Exit(1 if failing else 2 if unsure else 0)


def _ask_to_run(path: Path) -> None:
    """Raises :class:`~gpuspark.errors.CapsuleError` if the user does not agree, or cannot be asked."""
    from gpuspark.errors import CapsuleError

    if not sys.stdin.isatty():
        raise CapsuleError(f"Nothing was run: replaying {path} runs code from it. Agree to that with --yes.")
    question = "Run it? This runs code from the file, which may differ from the source above"
    if not typer.confirm(question, err=True):
        raise CapsuleError("Nothing was run.")


bench = typer.Typer(no_args_is_help=False, add_completion=False)
app.add_typer(bench, name="bench", help="Runs the benchmark, on this machine or a cluster.")


@bench.callback(invoke_without_command=True)
def run_bench(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help="smoke (minutes; its figures mean nothing), core, or full")] = "core",
    case: Annotated[list[str] | None, typer.Option(help="only this case; may be repeated")] = None,
    path: Annotated[str | None, typer.Option(help="only this path, and the transport floor")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="measured rounds; default: the suite's")] = None,
    out: Annotated[Path, typer.Option(help="folder for the records and the report")] = Path("artifacts/bench"),
    master: Annotated[str, typer.Option(help="Spark's master; all cores of this machine by default")] = "local[*]",
    device: Annotated[str, typer.Option(help="spark.gpuspark.device")] = "auto",
    mlflow: Annotated[str | None, typer.Option(help="a tracking store for the run: sqlite:///runs.db")] = None,
) -> None:
    """Runs the cases of the benchmark; ``gpuspark bench compare A B`` compares two runs.

    Exit codes: 1 a path gave wrong results, 2 the case, path or suite does not exist.
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
    except Unknown as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except WrongResults as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


@bench.command()
def compare(
    before: Annotated[Path, typer.Argument(help="a folder of a run, or its records.jsonl")],
    after: Annotated[Path, typer.Argument(help="the folder or records.jsonl of a later run")],
) -> None:
    """Shows what became faster or slower between two runs, each relative to its own transport floor."""
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
