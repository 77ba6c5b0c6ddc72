"""``python -m tests.proof.spark_own``: runs Spark's own tests plainly and on gpuspark, and writes docs/spark-tests.md.

Ends with 1 where a test differs that is not listed, or a listed one passes. With words, only the modules whose names
end in one of them run, and the others' outcomes stay as they were; ``--recorded`` runs nothing.
"""

from __future__ import annotations

import argparse

from tests.proof.spark_own import differences, outcomes, page
from tests.proof.spark_own.cases import PLAIN, WAYS


def main() -> int:
    asked = arguments()
    for way in asked.way or WAYS:
        for tests in WAYS[way]:
            if not asked.recorded and (not asked.modules or _module(tests).endswith(tuple(asked.modules))):
                outcomes.keep(way, outcomes.run(way, tests))
    recorded = {way: outcomes.kept(way) for way in WAYS}
    known = differences.read()
    ours = [way for way in WAYS if way != PLAIN]
    differing = [test for way in ours for test in outcomes.differing(recorded[PLAIN], way, recorded[way])]
    plain = {outcome.test for outcome in recorded[PLAIN] if outcome.outcome == "passed"}
    ran = [(outcome.name, way) for way in ours for outcome in recorded[way] if outcome.test in plain]
    page.write(recorded, known, differing)
    new = differences.unlisted(known, differing)
    complaints = [f"not listed: {test.name} on {test.way}: {test.reason}" for test in new]
    complaints += [f"passes now: {test}" for test in differences.outdated(known, differing, ran)]
    if {o.module for o in recorded[PLAIN]} == set(map(_module, WAYS[PLAIN])):
        names = [outcome.name for outcome in recorded[PLAIN]]
        complaints += [f"is no test: {pattern}" for pattern in differences.superfluous(known, names)]
    print(*complaints, f"{len(ran)} runs of tests that pass plainly, {len(differing)} differ: {page.PAGE}", sep="\n")
    return bool(complaints)


def _module(tests: str) -> str:
    return tests.partition(":")[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof.spark_own", description=__doc__)
    parser.add_argument("modules", nargs="*", help="ends of the names of modules, as test_udf")
    parser.add_argument("--way", action="append", choices=[*WAYS])
    parser.add_argument("--recorded", action="store_true", help="run nothing, and write the page from earlier outcomes")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
