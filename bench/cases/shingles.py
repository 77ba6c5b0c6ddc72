"""MinHash signatures and exact Jaccard similarities of texts, against datasketch and Python's sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from gpuspark import functions
from gpuspark.bench.cases import Aim, Case
from gpuspark.bench.spark_functions import untyped_functions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SHORTEST, LONGEST = 200, 600
SHINGLE = 5
PERMUTATIONS, BANDS = 128, 32


def texts(rows: int) -> pa.Table:
    """Returns a text of random letters per row, and a copy of it with about every 20th letter changed."""
    random = np.random.default_rng(13)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(random.integers(SHORTEST, LONGEST + 1, rows), out=offsets[1:])
    alphabet = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz    ", np.uint8)
    letters = alphabet[random.integers(0, 30, offsets[-1])]
    changed = np.where(random.random(offsets[-1]) < 0.05, alphabet[random.integers(0, 30, offsets[-1])], letters)
    columns = [
        pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data.tobytes()))
        for data in (letters, changed)
    ]
    return pa.table(columns, names=["a", "b"])


def signatures(frame: DataFrame) -> DataFrame:
    """Returns the lengths of the signatures: their numbers differ between libraries."""
    from pyspark.sql import functions as spark_functions

    return frame.select(spark_functions.size(functions.minhash("a", shingle=SHINGLE)).alias("numbers"))


def datasketch(frame: DataFrame, at_once: bool = True) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("array<bigint>")
    def minhash(text: pd.Series) -> pd.Series:
        from datasketch import MinHash

        signatures = []
        for value in text:
            sketch = MinHash(num_perm=128)
            shingles = {value[i : i + SHINGLE].encode() for i in range(len(value) - SHINGLE + 1)}
            if at_once:
                sketch.update_batch(shingles)
            else:
                for shingle in shingles:
                    sketch.update(shingle)
            signatures.append(sketch.hashvalues.astype("i8"))
        return pd.Series(signatures)

    return frame.select(spark_functions.size(minhash("a")).alias("numbers"))


def datasketch_by_shingle(frame: DataFrame) -> DataFrame:
    return datasketch(frame, at_once=False)


def jaccard(frame: DataFrame) -> DataFrame:
    return frame.select(functions.jaccard("a", "b", shingle=SHINGLE).alias("similarity"))


def python_sets(frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("double")
    def similarity(a: pd.Series, b: pd.Series) -> pd.Series:
        def shingles(text: str) -> set[str]:
            return {text[i : i + SHINGLE] for i in range(len(text) - SHINGLE + 1)}

        pairs = ((shingles(x), shingles(y)) for x, y in zip(a, b, strict=True))
        return pd.Series([len(x & y) / len(x | y) for x, y in pairs])

    return frame.select(similarity("a", "b").alias("similarity"))


def number_rows(rows: int) -> pa.Table:
    """Returns a signature of 128 numbers per row."""
    values = np.random.default_rng(14).integers(0, 2**32, rows * PERMUTATIONS)
    offsets = np.arange(rows + 1, dtype=np.int32) * PERMUTATIONS
    return pa.table({"signature": pa.ListArray.from_arrays(offsets, values)})


def bands(frame: DataFrame) -> DataFrame:
    """Returns the number of keys: the keys themselves differ between hash functions."""
    from pyspark.sql import functions as spark_functions

    return frame.select(spark_functions.size(functions.lsh_bands("signature", bands=BANDS)).alias("keys"))


def python_bands(frame: DataFrame) -> DataFrame:
    spark_functions = untyped_functions()

    @spark_functions.pandas_udf("array<bigint>")
    def keys(signature: pd.Series) -> pd.Series:
        length = PERMUTATIONS // BANDS
        return pd.Series(
            [[hash(row[b : b + length].tobytes()) for b in range(0, len(row), length)] for row in signature]
        )

    return frame.select(spark_functions.size(keys("signature")).alias("keys"))


_MEAN = (SHORTEST + LONGEST) // 2

CASES = [
    Case(
        name="minhash",
        data=lambda rows: texts(rows).select(["a"]),
        elements=20_000,
        unit=f"texts of {SHORTEST} to {LONGEST} characters",
        paths={
            "gpuspark": signatures,
            "pandas_udf with datasketch": datasketch,
            "pandas_udf with datasketch, a shingle at a time": datasketch_by_shingle,
        },
        oracle="pandas_udf with datasketch",
        bytes_in=_MEAN,
        bytes_out=8 * 128,
        operations=3 * 128 * _MEAN,
        aims=(Aim("gpuspark", "pandas_udf with datasketch", 5),),
        capped={"pandas_udf with datasketch": 5_000, "pandas_udf with datasketch, a shingle at a time": 400},
        note="Only the lengths of the signatures are compared here; the tests compare both with exact similarities.",
    ),
    Case(
        name="jaccard",
        data=texts,
        elements=50_000,
        unit=f"pairs of texts of {SHORTEST} to {LONGEST} characters",
        paths={"gpuspark": jaccard, "pandas_udf with sets": python_sets},
        oracle="pandas_udf with sets",
        bytes_in=2 * _MEAN,
        bytes_out=8,
        operations=40 * _MEAN,
        aims=(Aim("gpuspark", "pandas_udf with sets", 3),),
        capped={"pandas_udf with sets": 20_000},
    ),
    Case(
        name="lsh_bands",
        data=number_rows,
        elements=100_000,
        unit=f"signatures of {PERMUTATIONS} numbers, in {BANDS} bands",
        paths={"gpuspark": bands, "pandas_udf with hash": python_bands},
        oracle="pandas_udf with hash",
        bytes_in=8 * PERMUTATIONS,
        bytes_out=8 * BANDS,
        operations=10 * PERMUTATIONS,
        note="Only the number of keys is compared: the keys differ between the two.",
    ),
]
