"""Edit distances of two texts per row, against Spark's own function and rapidfuzz, and a sweep over text lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gpuspark import functions, kernels
from gpuspark.bench.cases import BATCHES, Aim, Case, in_batches

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CUTOFF = 10
RAPIDFUZZ = "mapInArrow with rapidfuzz"
LENGTHS = {5: "full", 10: "core", 20: "core", 40: "full"}
"""The lengths of the sweep, and the suite of each."""


def texts(rows: int, shortest: int, longest: int) -> pa.Table:
    """Returns two texts per row, of random letters and spaces, with uniformly distributed lengths."""
    random = np.random.default_rng(12)
    columns = []
    for _ in range(2):
        offsets = np.zeros(rows + 1, np.int32)
        np.cumsum(random.integers(shortest, longest + 1, rows), out=offsets[1:])
        letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz    ", np.uint8)[random.integers(0, 30, offsets[-1])]
        columns.append(pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(letters.tobytes())))
    return pa.table(columns, names=["a", "b"])


def gpuspark(frame: DataFrame, cutoff: int | None = None) -> DataFrame:
    return frame.select(functions.levenshtein("a", "b", cutoff=cutoff).alias("distance"))


def gpuspark_in_batches(frame: DataFrame, cutoff: int | None = None) -> DataFrame:
    return in_batches(frame, "distance", "int", partial(kernels.levenshtein, cutoff=cutoff))


def spark_sql(frame: DataFrame, cutoff: int | None = None) -> DataFrame:
    from pyspark.sql import functions as spark_functions

    return frame.select(spark_functions.levenshtein("a", "b", cutoff).alias("distance"))


def rapidfuzz(frame: DataFrame, cutoff: int | None = None) -> DataFrame:
    def distances(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from rapidfuzz.distance import Levenshtein
        from rapidfuzz.process import cpdist

        for batch in batches:
            a, b = batch["a"].to_pylist(), batch["b"].to_pylist()
            distance = cpdist(a, b, scorer=Levenshtein.distance, score_cutoff=cutoff).astype("i4")
            if cutoff is not None:
                distance[distance > cutoff] = -1
            yield pa.record_batch([distance], names=["distance"])

    return frame.mapInArrow(distances, "distance int")


def paths(cutoff: int | None = None) -> Mapping[str, Callable[[DataFrame], DataFrame]]:
    return {
        "gpuspark": partial(gpuspark, cutoff=cutoff),
        BATCHES: partial(gpuspark_in_batches, cutoff=cutoff),
        "Spark's levenshtein": partial(spark_sql, cutoff=cutoff),
        RAPIDFUZZ: partial(rapidfuzz, cutoff=cutoff),
    }


def case(
    name: str, shortest: int, longest: int, cutoff: int | None, aims: tuple[Aim, ...], note: str, **options: Any
) -> Case:
    mean = (shortest + longest) // 2
    return Case(
        name=name,
        data=partial(texts, shortest=shortest, longest=longest),
        elements=200_000,
        unit=f"pairs of {shortest} to {longest} characters" if shortest < longest else f"pairs of {mean} characters",
        paths=paths(cutoff),
        oracle=RAPIDFUZZ,
        bytes_in=2 * mean,
        bytes_out=4,
        operations=40 * mean,
        aims=aims,
        capped={"Spark's levenshtein": 100_000},
        note=note,
        **options,
    )


NO_SLOWER = Aim(BATCHES, RAPIDFUZZ, 1, missed="most time goes into moving the texts, which both paths do")
SWEEP = "A point of a sweep over lengths: gpuspark breaks even with Spark's function where both take equally long."

CASES = [
    case("levenshtein", 60, 120, None, (Aim("gpuspark", "Spark's levenshtein", 10), NO_SLOWER), "", suite="smoke"),
    case("levenshtein_cutoff", 60, 120, CUTOFF, (NO_SLOWER,), f"Distances above {CUTOFF} are returned as -1."),
    *(
        case(
            f"levenshtein_{n}",
            n,
            n,
            None,
            (NO_SLOWER,) if n >= 20 else (),
            SWEEP,
            along=("characters of a text", n),
            suite=suite,
        )
        for n, suite in LENGTHS.items()
    ),
]
