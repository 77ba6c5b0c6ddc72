"""``gs.map_in_arrow`` compared with PySpark's mapInArrow, and its messages for wrong bodies."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from pyspark.errors import PythonException

import gpuspark as gs
from gpuspark import kernels
from tests.support.devices import DEVICES

SCHEMA = (
    "n bigint, x double, s string, b boolean, d date, t timestamp, c decimal(10,2), a array<int>, "
    "m map<string,int>, r struct<p:bigint,q:string>, y binary, z timestamp_ntz"
)


@pytest.fixture(scope="module")
def frame(spark):
    return spark.range(0, 300, 1, 3).selectExpr(
        "id n", "if(id % 5 = 0, null, id / 7D) x", "if(id % 4 = 0, null, concat('s', id)) s", "id % 2 = 0 b",
        "date_add(date'2020-01-01', cast(id as int)) d", "timestamp_seconds(id * 3600) t",
        "cast(id as decimal(10,2)) c", "array(cast(id as int), null) a", "map('k', cast(id as int)) m",
        "named_struct('p', id, 'q', string(id)) r", "cast(string(id) as binary) y",
        "cast(timestamp_seconds(id) as timestamp_ntz) z",
    )  # fmt: skip


def unchanged(batches):
    yield from batches


@pytest.mark.parametrize("device", DEVICES)
def test_every_type_passes_as_in_pyspark(spark, frame, device) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    ours = gs.map_in_arrow(frame, unchanged, frame.schema)
    theirs = frame.mapInArrow(lambda batches: batches, frame.schema)
    assert ours.schema == theirs.schema
    assert sorted(map(repr, ours.collect())) == sorted(map(repr, theirs.collect()))


@pytest.mark.parametrize("device", DEVICES)
def test_compiled_functions_kernels_and_arrays_inside_a_body(spark, frame, device) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    gs.ledger(spark).clear()
    scale = 3.0

    @gs.udf("double")
    def scaled(x, n):
        return x * scale + n

    def body(batches):
        for batch in batches:
            km = kernels.haversine(batch["n"], 0.0, 0.0, batch["n"])
            squares = batch.xp.square(batch["n"].values)
            yield (
                batch.with_column("f", scaled(batch["x"], batch["n"]))
                .with_column("k", km)
                .with_column("q", squares)
                .select(["n", "x", "f", "k", "q"])
            )

    rows = gs.map_in_arrow(frame, body, "n bigint, x double, f double, k double, q bigint").collect()
    assert len(rows) == 300
    for row in rows:
        assert row.f == (None if row.x is None else row.x * 3.0 + row.n)
        assert row.k == pytest.approx(_distance(row.n, 0.0, 0.0, row.n), rel=1e-9, abs=1e-6)
        assert row.q == row.n**2
    assert {name for summary in gs.ledger(spark).summary() for name in summary.devices} == {device}


def _distance(lat1, lon1, lat2, lon2):
    """Returns the distance by the angle between two vectors in space, without the haversine formula."""

    def vector(lat, lon):
        phi, lam = np.radians(lat), np.radians(lon)
        return np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])

    one, other = vector(lat1, lon1), vector(lat2, lon2)
    return 6371.0088 * math.atan2(np.linalg.norm(np.cross(one, other)), one @ other)


def test_empty_partitions_limits_and_no_output(spark) -> None:
    nothing = gs.map_in_arrow(spark.range(0), unchanged, "id bigint")
    assert nothing.collect() == []
    assert len(gs.map_in_arrow(spark.range(0, 1000, 1, 1), unchanged, "id bigint").limit(3).collect()) == 3
    silent = gs.map_in_arrow(spark.range(10), lambda batches: (b for b in batches if False), "id bigint")
    assert silent.collect() == []


def _returns_none(batches):
    return None


def _yields_arrow(batches):
    for batch in batches:
        yield batch.to_arrow()


def _yields_other_names(batches):
    for batch in batches:
        yield batch.with_column("v", batch["id"])


def _yields_as_many_of_other_names(batches):
    for batch in batches:
        yield batch.with_column("v", batch["id"]).select(["v"])


def _yields_other_types(batches):
    for batch in batches:
        yield gs.Batch.from_arrow(pa.record_batch({"id": batch.to_arrow()["id"].cast(pa.string())}))


def _wrong_length(batches):
    for batch in batches:
        yield batch.with_column("id", np.zeros(3))


def _misspells(batches):
    for batch in batches:
        yield batch.select(["ids"])


def _raises(batches):
    for batch in batches:
        raise LookupError("no such airport")
        yield batch


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (_returns_none, r"_returns_none returned NoneType, not an iterator.*generator"),
        (_yields_arrow, r"yielded a RecordBatch, not a gs\.Batch.*from_arrow"),
        (_yields_other_names, r"yielded the columns \['id', 'v'\], declared are \['id'\].*select"),
        (_yields_as_many_of_other_names, r"yielded the columns \['v'\], declared are \['id'\]"),
        (_yields_other_types, r"column 'id' as string, declared is int64.*Cast"),
        (_wrong_length, r"column 'id' has 3 rows and the batch 10"),
        (_misspells, r"there is no column 'ids'. Did you mean 'id'"),
        (_raises, r"LookupError: no such airport"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_errors_of_a_body_are_named(spark, body, message) -> None:
    with pytest.raises(PythonException, match=f"(?s){message}.*gpuspark: function={body.__name__}"):
        gs.map_in_arrow(spark.range(0, 10, 1, 1), body, "id bigint").collect()


def test_nulls_in_a_column_declared_not_null_are_refused(spark) -> None:
    def halves(batches):
        for batch in batches:
            yield batch.with_column("id", pa.array([None if v % 2 else v for v in batch["id"].values.tolist()]))

    message = "(?s)halves yielded column 'id' with 5 nulls, declared is int64 not null.*gpuspark: function=halves"
    with pytest.raises(PythonException, match=message):
        gs.map_in_arrow(spark.range(0, 10, 1, 1), halves, "id bigint not null").collect()


def test_a_declared_schema_must_be_columns(spark) -> None:
    with pytest.raises(ValueError, match="not a list of columns"):
        gs.map_in_arrow(spark.range(1), unchanged, "bigint")


class Sequence:
    """An iterable with ``__getitem__`` only."""

    def __init__(self, items):
        self.items = list(items)

    def __getitem__(self, number):
        return self.items[number]


ANY_ITERABLE = "spark.sql.execution.pythonUDF.mapInBatch.legacy.acceptAnyIterable.enabled"


def test_any_iterable_of_batches_is_accepted_as_in_pyspark(spark) -> None:
    frame = spark.range(0, 4, 1, 2)
    frames = [gs.map_in_arrow(frame, made, "id bigint") for made in (list, tuple, Sequence, lambda batches: batches)]
    expected = sorted(frame.collect())
    assert [sorted(each.collect()) for each in frames] == [expected] * len(frames)
    spark.conf.set(ANY_ITERABLE, "false")
    try:
        with pytest.raises(PythonException, match="list returned list, not an iterator"):
            frames[0].collect()
        assert sorted(frames[-1].collect()) == expected
    finally:
        spark.conf.unset(ANY_ITERABLE)


@pytest.mark.parametrize("wrong", [1, None, "text"])
def test_other_results_than_iterables_of_batches_are_named(spark, wrong) -> None:
    message = (
        "yielded a str, not a gs.Batch" if wrong == "text" else f"returned {type(wrong).__name__}, not an iterator"
    )
    with pytest.raises(PythonException, match=f"<lambda> {message}"):
        gs.map_in_arrow(spark.range(1), lambda batches: wrong, "id bigint").collect()


def test_a_batch_keeps_the_metadata_of_sparks_schema(spark) -> None:
    """Metadata and nullability, which Spark compares with the declared schema if a setting says so."""
    frame = spark.range(1).withMetadata("id", {"unit": "m"})

    def tell(batches):
        for batch in batches:
            field = (batch if isinstance(batch, pa.RecordBatch) else batch.select(["id"])).schema.field("id")
            told = pa.record_batch({"told": [f"{field.metadata} {field.nullable}"]})
            yield told if isinstance(batch, pa.RecordBatch) else gs.Batch.from_arrow(told)

    ours, theirs = gs.map_in_arrow(frame, tell, "told string"), frame.mapInArrow(tell, "told string")
    assert ours.collect() == theirs.collect()
    spark.conf.set("spark.sql.execution.arrow.pyspark.validateSchema.enabled", "true")
    try:
        assert gs.map_in_arrow(frame, unchanged, "id bigint not null").count() == 1
    finally:
        spark.conf.unset("spark.sql.execution.arrow.pyspark.validateSchema.enabled")
