"""User-defined types, vectors and variants as columns and results, compared with plain PySpark."""

from __future__ import annotations

import pyarrow as pa
import pytest

import gpuspark as gs
from gpuspark.errors import CallError
from gpuspark.execution.user_types import holds_user_type, object_uses
from gpuspark.spark.arrow_types import arrow_type


def first(v):
    return float(v[0])


def kind(v):
    return f"{type(v).__module__}.{type(v).__name__} {v!r}"


def size(v):
    return len(v)


def kept(v):
    return v


@pytest.fixture(scope="module")
def objects(spark):
    """A frame with a vector, a sparse vector, a point, an array of points, a variant, and a variant in a struct."""
    from pyspark.ml.linalg import Vectors
    from pyspark.sql import functions
    from pyspark.testing.objects import ExamplePoint

    rows = [
        (Vectors.dense([0.2, 0.8]), ExamplePoint(1.0, 2.0), [ExamplePoint(3.0, 4.0)]),
        (Vectors.sparse(2, [1], [0.5]), ExamplePoint(5.0, 6.0), []),
    ]
    frame = spark.createDataFrame(rows, ["v", "p", "ps"]).coalesce(1)
    variant = functions.parse_json(functions.lit('{"a": [1, 2]}'))
    return frame.withColumn("x", variant).withColumn("s", functions.struct("v", "x")).cache()


def test_bodies_get_pysparks_objects(spark, objects) -> None:
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql import functions
    from pyspark.testing.objects import ExamplePointUDT

    spark.conf.set("spark.gpuspark.fallback", "silent")
    calls = [(first, "double", "v"), (size, "int", "v"), (kept, VectorUDT(), "v"), (kept, ExamplePointUDT(), "p"),
             (kept, "variant", "x"), *((kind, "string", name) for name in objects.columns)]  # fmt: skip
    ours, theirs = (
        objects.select(*(make(body, declared)(name).alias(f"c{n}") for n, (body, declared, name) in enumerate(calls)))
        for make in (gs.udf, functions.udf)
    )
    assert ours.schema == theirs.schema
    assert str(ours.collect()) == str(theirs.collect())
    name = "gpuspark_kind"
    for registered in (gs.udf(kind, "string").spark_udf(), gs.udf(kind, "string")):
        spark.udf.register(name, registered)
        assert objects.selectExpr(f"{name}(p)").collect()[0][0] == theirs.collect()[0]["c6"]


def test_ledger_and_configuration_apply_to_functions_that_pyspark_runs(spark, objects) -> None:
    from pyspark.errors import PythonException

    spark.conf.set("spark.gpuspark.fallback", "silent")
    gs.ledger(spark).clear()

    @gs.udf("double")
    def scaled(v, *, by=1.0):
        return v[1] * by

    assert [r[0] for r in objects.select(scaled("v", by=2.0)).collect()] == [1.6, 1.0]
    assert objects.selectExpr("cast(null as double) v").select(scaled("v")).distinct().collect()[0][0] is None
    records = [record for record in gs.ledger(spark).records if record.function == "scaled"]
    assert {record.device for record in records} == {"python"}
    assert sum(record.rows for record in records) == 4
    assert any("v is not used as a number" in reason for record in records for reason in record.reasons)
    spark.conf.set("spark.gpuspark.fallback", "raise")
    with pytest.raises(PythonException, match="v is not used as a number"):
        objects.select(scaled("v")).collect()


def test_binary_values_follow_sparks_setting(spark) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    setting = "spark.sql.execution.pyspark.binaryAsBytes"
    column = spark.sql("select cast('x' as binary) b").select(gs.udf(lambda b: f"{b!r}", "string")("b"))
    seen = []
    for value in ("true", "false"):
        spark.conf.set(setting, value)
        seen.append(column.collect()[0][0])
    spark.conf.unset(setting)
    assert seen == ["b'x'", "bytearray(b'x')"]


def _stored(values: object, declared: object) -> pa.Array:
    return pa.array([values], arrow_type(declared))  # type: ignore[arg-type]


def test_vectors_that_arrive_as_structs_are_refused() -> None:
    """As in a process that never loaded ``pyspark.ml``, and so cannot know the type."""
    from pyspark.ml.linalg import Matrices, MatrixUDT, Vectors, VectorUDT
    from pyspark.sql.types import ArrayType, StructType

    vector = dict(zip(("type", "size", "indices", "values"), VectorUDT().serialize(Vectors.dense([0.2])), strict=True))
    fields = MatrixUDT.sqlType().fieldNames()
    matrix = dict(zip(fields, MatrixUDT().serialize(Matrices.dense(1, 1, [2.0])), strict=True))
    text = gs.udf(lambda v: f"{v}", "string")
    with pytest.raises(CallError, match=r"column v holds vectors of pyspark.ml.*vector_to_array\(v\)"):
        text(_stored(vector, VectorUDT()))
    with pytest.raises(CallError, match="matrices"):
        text(_stored({"m": [matrix]}, StructType().add("m", ArrayType(MatrixUDT()))))
    plain = pa.array([{"type": 1, "size": None, "indices": None, "values": [0.2]}])
    assert text(plain).to_pylist()[0].startswith("Row(type=1")


def test_types_that_contain_a_user_defined_type() -> None:
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import ArrayType, DoubleType, IntegerType, MapType, StructType

    assert holds_user_type(MapType(IntegerType(), ArrayType(StructType().add("v", VectorUDT()))))
    assert not holds_user_type(MapType(IntegerType(), ArrayType(StructType().add("v", DoubleType()))))
    assert not holds_user_type("array<double>")


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (first, 1), (size, 1), (lambda v: sum(x for x in v), 1), (lambda a, b: a + b, 0),
        (lambda a: (1.0, 2.0)[int(a)], 0), (len, 0), (lambda v, c: v.x if c else 1.0, 1), (kind, 3),
        (lambda a, b: (a - b).days + a.real, 0), (lambda v: f"{v}", 1),
        (lambda v: v.year, 1), (lambda v: v.weekday(), 1),
    ],
)  # fmt: skip
def test_uses_of_a_parameter_as_an_object_are_found(body, parts) -> None:
    assert len(object_uses(body)) == parts
