"""``python -m tests.corpus [STEP]``: compares every function of the corpus (or every STEP-th one) with Python, and
writes docs/corpus.md.

Ends with exit code 1 where an answer differs from Python's."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tests.corpus.comparison import compare, type_choices
from tests.corpus.functions import member, public_functions
from tests.corpus.report import Examined, page, total

ROWS = 100
PROCESSES = 2
PATIENCE = 600
"""Seconds for one function; after these its process ends, and says where it was."""
PAGE = Path(__file__).parents[2] / "docs" / "corpus.md"


def examine(number: int) -> Examined:
    """The function of this number, with each choice of column types."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    function = public_functions()[number]
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        chosen = member(function)
        if isinstance(chosen, str):
            return Examined(name, chosen)
        return Examined(name, "", tuple(compare(chosen, types, ROWS) for types in type_choices(chosen)))
    finally:
        faulthandler.cancel_dump_traceback_later()


def prepare() -> None:
    """Functions of the corpus may warn, and write files where they are run."""
    warnings.simplefilter("ignore")
    os.chdir(tempfile.gettempdir())


def main(step: int = 1) -> int:
    examined = []
    numbers = range(0, len(public_functions()), step)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, prepare) as pool:
        for one in pool.map(examine, numbers):
            examined.append(one)
            for outcome in one.outcomes:
                for difference in outcome.comparison.differences:
                    print(f"DIFFERENCE {one.name} {outcome.types} {difference}", flush=True)
    PAGE.write_text(page(version("fluids"), examined, step))
    differences = total(outcome.comparison for one in examined for outcome in one.outcomes).differences
    print(f"{len(examined)} functions, {len(differences)} differences: see {PAGE}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
