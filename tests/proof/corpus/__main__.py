"""``python -m tests.proof.corpus [STEP]`` compares every function of the corpus, or every STEP-th one, with Python, and
writes docs/corpus.md.

The exit code is 1 if an answer differs from Python's.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tests.proof.corpus.examine import examine, prepare
from tests.proof.corpus.functions import public_functions
from tests.proof.corpus.report import page, total

PROCESSES = 2
PAGE = Path(__file__).parents[3] / "docs" / "corpus.md"


def main(step: int = 1) -> int:
    examined = []
    numbers = range(0, len(public_functions()), step)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, context, prepare) as pool:
        for function in pool.map(examine, numbers):
            examined.append(function)
            for outcome in function.outcomes:
                for difference in outcome.comparison.differences:
                    print(f"DIFFERENCE {function.name} {outcome.types} {difference}", flush=True)
    PAGE.write_text(page(version("fluids"), examined, step))
    differences = total(outcome.comparison for function in examined for outcome in function.outcomes).differences
    print(f"{len(examined)} functions, {len(differences)} differences: see {PAGE}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
