"""``gs.udf`` in Spark: the same results as PySpark's own UDF, on every device."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest
from pyspark.errors import PythonException
from pyspark.sql import functions as F

import gpuspark as gs
from gpuspark.dialects.scalar import ScalarUDF
from gpuspark.errors import CallError, ConfigError, DeclarationError
from tests.support.devices import DEVICES


def score(a, b, c=1.0):
    if a < 0.1:
        return None
    return math.log(a) * 2 + b / a + c


@pytest.fixture(scope="module")
def frame(spark):
    return spark.range(0, 5000, 1, 3).selectExpr(
        "id n",
        "id / 5000D a",
        "if(id % 7 = 0, null, id * 1.0D) b",
        "cast(id % 100 as tinyint) t",
        "id % 3 = 0 flag",
        "date_add(date'2020-01-01', cast(id as int)) d",
        "cast(id as float) / 3 x",
    )


def _plans(df) -> str:
    return df._jdf.queryExecution().executedPlan().toString()


def _unnumbered(df) -> str:
    """Returns the plan without the ids that Spark gives to expressions."""
    return re.sub(r"#\d+L?|pythonUDF\d+", "", _plans(df))


@pytest.mark.parametrize("device", DEVICES)
def test_results_equal_pysparks(spark, frame, device) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    pairs = {
        "double": (score, ["a", "a"]),
        "bigint": (lambda n, t: n * t % 17, ["n", "t"]),
        "boolean": (lambda flag, n: flag and n > 10, ["flag", "n"]),
        "float": (lambda x: x * 2 + 1, ["x"]),
        "int": (lambda d: (d - d).days, ["d"]),
    }
    ours = [gs.udf(f, declared)(*columns).alias(declared) for declared, (f, columns) in pairs.items()]
    theirs = [F.udf(f, declared, useArrow=True)(*columns).alias(declared) for declared, (f, columns) in pairs.items()]
    actual, expected = frame.select(*ours), frame.select(*theirs)
    assert actual.schema == expected.schema
    for one, other in zip(actual.collect(), expected.collect(), strict=True):
        assert one[1:] == other[1:]
        if device == "python" or other.double is None:
            assert one.double == other.double
        else:  # devices have different logarithms
            assert one.double == pytest.approx(other.double, rel=1e-14)


@pytest.mark.parametrize("device", DEVICES)
def test_nulls_propagate_or_pass(spark, frame, device) -> None:
    spark.conf.set("spark.gpuspark.device", device)
    propagate = gs.udf("double")(lambda b: b + 1)
    passed = gs.udf("double", nulls="pass")(lambda b: -1.0 if b is None else b + 1)
    rows = frame.select("b", propagate("b").alias("p"), passed("b").alias("q")).collect()
    for row in rows:
        assert row.p == (None if row.b is None else row.b + 1)
        assert row.q == (-1.0 if row.b is None else row.b + 1)


def test_named_and_default_arguments(frame) -> None:
    f = gs.udf(score, "double")
    df = frame.where("a > 0.2 and b is not null")
    row = df.select(
        "a", "b", f("a", "b").alias("x"), f(b="b", a="a", c="a").alias("y"), f("a", c="b", b="a").alias("z")
    ).first()
    assert row.x == score(row.a, row.b)
    assert row.y == score(row.a, row.b, row.a)
    assert row.z == score(row.a, row.a, row.b)


@pytest.mark.parametrize("given", [(), ("a",), ("a", "a", "a", "a")])
def test_a_wrong_number_of_columns_is_named_before_spark_runs(spark, given) -> None:
    with pytest.raises(CallError, match=r"score\(a, b, c=1\.0\) was given \d columns.*Give one column per parameter"):
        gs.udf(score, "double")(*given) if given else gs.udf(score, "double").bind((), {})
    with pytest.raises(CallError, match="unexpected keyword argument 'z'"):
        gs.udf(score, "double")("a", "a", z="a")


def test_functions_in_one_select_share_one_python_node(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.device", "cpu")
    f, g = gs.udf("double")(lambda a: a + 1), gs.udf("double")(lambda a: a * 2)
    for df in (frame.select(f("a")), frame.select(f("a"), g("a"), f("x")), frame.select(f(g(f("a"))))):
        assert len(re.findall(r"ArrowEvalPython", _plans(df))) == 1


def test_spark_recognises_repeated_expressions(spark, frame) -> None:
    """As with PySpark's own UDF: computed once, allowed as a grouping, found in the cache."""
    spark.conf.set("spark.gpuspark.device", "cpu")
    for build in (gs.udf("double"), gs.pandas_udf("double")):
        f = build(lambda a: a + 1)
        twice = _plans(frame.select(f("a"), f("a") + f("a")))
        assert len(re.findall(r"<lambda>\(a#\d+\)#", twice)) == 1, twice
        assert frame.limit(9).groupBy(f("a").alias("k")).agg((f("a") * 2).alias("v")).count() == 9
        cached = frame.select(f("a")).cache()
        assert "InMemoryTableScan" in _plans(frame.select(f("a")))
        cached.unpersist()


def test_numbers_may_be_given_among_columns(spark, frame) -> None:
    f = gs.udf("double")(lambda a, b: a - b)
    row = frame.where("n = 700").select(f("a", 2).alias("p"), f(F.col("a"), 0.5).alias("q"), f(b="a", a=1).alias("r"))
    assert row.first() == (0.14 - 2, 0.14 - 0.5, 1 - 0.14)
    with pytest.raises(CallError, match=r"given a list for b beside Spark columns"):
        f("a", [1])
    spark.conf.set("spark.gpuspark.fallback", "silent")  # a column of nothing but nulls does not compile
    assert frame.where("n = 700").select(gs.udf("double")(lambda a, b: a)("a", None).alias("v")).first().v is None


def test_in_a_task_a_string_is_a_value(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    shout = gs.udf("string")(lambda s: s.upper())
    assert frame.limit(1).select(gs.udf("string")(lambda n: shout(f"n{n}"))("n").alias("v")).first().v == "N0"


def test_the_null_rule_holds_when_disabled(spark, frame) -> None:
    f = gs.udf("double")(lambda b: b + 1)
    expected = frame.select(f("b").alias("v")).collect()
    spark.conf.set("spark.gpuspark.enabled", "false")
    assert frame.select(f("b").alias("v")).collect() == expected
    spark.udf.register("gs_off", f.spark_udf())
    assert frame.selectExpr("gs_off(b) v").collect() == expected


def test_the_configuration_may_change_between_two_actions(spark, frame) -> None:
    where = gs.udf("string", nulls="pass")(lambda a: str(a))
    df = frame.limit(3).select(where("a").alias("s"))
    spark.conf.set("spark.gpuspark.device", "cpu")
    with pytest.raises(PythonException, match="FallbackError"):
        df.collect()
    spark.conf.set("spark.gpuspark.device", "python")
    first = df.collect()
    spark.conf.set("spark.gpuspark.device", "cpu")
    spark.conf.set("spark.gpuspark.fallback", "silent")
    assert df.collect() == first


def test_disabled_it_is_pysparks_own_udf(spark, frame) -> None:
    spark.conf.set("spark.gpuspark.enabled", "false")
    f = gs.udf(score, "double")
    off = frame.select(f("a", "a").alias("v"))
    expected = frame.select(F.udf(score, "double")("a", "a").alias("v"))
    assert _unnumbered(off) == _unnumbered(expected)
    assert off.collect() == expected.collect()
    spark.conf.set("spark.gpuspark.enabled", "true")
    on = frame.select(f("a", "a").alias("v"))
    assert _unnumbered(on) != _unnumbered(expected)
    answers = [row.v for row in on.collect()]
    spark.conf.set("spark.gpuspark.enabled", "false")
    assert [row.v for row in on.collect()] == [v if v is None else pytest.approx(v, rel=1e-14) for v in answers]


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("spark.gpuspark.devise", "cpu", "spark.gpuspark.device"),
        ("spark.gpuspark.device", "gpu", "cpu"),
        ("spark.gpuspark.batch.targetBytes", "much", "64m"),
    ],
)
def test_unknown_keys_and_bad_values_are_named_when_a_column_is_built(spark, frame, key, value, hint) -> None:
    spark.conf.set(key, value)
    with pytest.raises(ConfigError, match=hint):
        gs.udf(score, "double")("a", "a")


def test_sql_with_positional_default_and_named_arguments(spark) -> None:
    spark.udf.register("gs_score", gs.udf(score, "double").spark_udf())
    row = spark.sql("select gs_score(0.5D, 1D) a, gs_score(0.5D, 1D, 2D) b, gs_score(b => 1D, a => 0.5D) c").first()
    assert (row.a, row.b, row.c) == (score(0.5, 1), score(0.5, 1, 2), score(0.5, 1))


def test_registered_directly_it_takes_any_number_of_columns(spark) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    spark.udf.register("gs_plain", gs.udf(score, "double"))
    spark.udf.register("gs_total", gs.udf("double")(lambda first, *others: first + sum(others)))
    row = spark.sql("select gs_plain(0.5D, 1D) a, gs_total(1D) b, gs_total(1D, 2D, 3D) c").first()
    assert (row.a, row.b, row.c) == (score(0.5, 1), 1.0, 6.0)
    spark.udf.register("gs_next", gs.pandas_udf("double")(following))
    assert spark.sql("select gs_next(1D) a").first().a == 2.0


def following(v):
    return v + 1


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_the_body_names_function_row_and_partition(spark, device) -> None:
    spark.conf.set("spark.gpuspark.device", device)

    @gs.udf("double")
    def picky(n):
        if n == 123_456:
            raise ValueError("no such flight")
        return n * 1.0

    with pytest.raises(PythonException) as error:
        spark.range(0, 200_000, 1, 1).select(picky("id")).write.format("noop").mode("overwrite").save()
    message = str(error.value)
    assert 'raise ValueError("no such flight")' in message
    assert "ValueError: no such flight" in message
    assert re.search(r"gpuspark: function=picky row=123456 device=python n=123456", message)
    assert "partition=0" in message


def test_a_string_column_for_a_numeric_body_raises_pythons_own_error(spark) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    halve = gs.udf("double")(lambda a: a / 2)
    with pytest.raises(PythonException, match=r"(?s)TypeError: unsupported operand.*function=<lambda> row=0") as error:
        spark.sql("select 'x' s").select(halve("s")).collect()
    assert "column a is string: compiled programs hold numbers" in str(error.value)


@pytest.mark.parametrize("declared", ["doubel", "int,,", "array"])
def test_a_type_that_spark_does_not_have_is_named_at_decoration(declared) -> None:
    with pytest.raises(DeclarationError, match="not a type of Spark SQL"):
        gs.udf(declared)(score)


def test_misuse_of_the_decorator_is_named() -> None:
    with pytest.raises(DeclarationError, match="needs the type of the result"):
        gs.udf()
    with pytest.raises(DeclarationError, match="propagate"):
        gs.udf("double", nulls="ignore")
    with pytest.raises(DeclarationError, match="decorates a function"):
        ScalarUDF(3, "double")  # type: ignore[arg-type]


def test_pyspark_runs_a_function_without_parameters(spark) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    for make in (F.udf, gs.udf):
        nine = make(lambda: 9, "bigint")
        spark.udf.register("gpuspark_nine", nine)
        assert spark.range(3).select((F.col("id") + nine()).alias("v")).agg({"v": "sum"}).first()[0] == 30
        assert spark.range(2).groupBy(nine().alias("g")).count().collect() == [(9, 2)]
        assert spark.sql("select gpuspark_nine() + id v from range(2)").collect() == [(9,), (10,)]
        with pytest.raises(PythonException, match="ZeroDivisionError"):
            spark.range(1).select(make(lambda: 1 / 0, "double")()).collect()
        assert not nine.asNondeterministic().deterministic
    ours = gs.udf(lambda: 9, "bigint")
    for wrong in (lambda: ours("id"), lambda: ours(F.col("id")), lambda: ours(n=F.col("id"))):
        with pytest.raises(CallError, match=r"column|parameter|argument"):
            wrong()


def test_a_function_without_parameters_says_why_python_runs_it(spark) -> None:
    nine = gs.udf(lambda: 9, "bigint")
    assert nine.explain().device == "python"
    assert "without columns" in str(nine.explain())
    with pytest.raises(PythonException, match="without columns"):
        spark.range(3).select(nine()).collect()
    spark.conf.set("spark.gpuspark.fallback", "silent")
    gs.ledger(spark).clear()
    assert spark.range(3).coalesce(1).select(nine()).collect() == [(9,)] * 3
    [record] = gs.ledger(spark).records
    assert (record.device, record.rows) == ("python", 3)
    assert any("without columns" in reason for reason in record.reasons)


def test_explain_needs_no_spark_and_lists_every_reason() -> None:
    f = gs.udf(score, "double")
    assert f.explain(["double", "double"]).device == "sql"
    assert f.explain("a double, b float").device == "sql"
    assert f.explain({"a": "double", "b": "bigint"}).device == "sql"

    @gs.udf("string")
    def text(a, b):
        print(a)
        return {a}

    assert f.explain("double, float").device == "sql"
    assert f.explain("a double not null, b: int").device == "sql"
    for wrong, message in (("b double", "no type was given for a"), (["double"] * 4, "4 types were given")):
        with pytest.raises(CallError, match=message):
            f.explain(wrong)
    plan = text.explain({"a": "string", "b": "double"})
    assert plan.device == "python"
    message = "\n".join(r.text for r in plan.reasons if r.device == "cpu")
    for expected in ("column a is string", "the result is string", "a call of print", "a set", "test_udf.py, line"):
        assert expected in message


def test_explain_loads_neither_spark_nor_a_compiler_that_it_does_not_need() -> None:
    script = """
import sys
import gpuspark as gs
from tests.test_compiler import twice
gs.udf("array<int>")(twice).explain(["decimal(10,2)"])
print(gs.udf("double")(twice).explain(["double"]).device, "pyspark" in sys.modules, "numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sql", "False", "False"]


def test_called_with_numbers_it_is_the_plain_function() -> None:
    assert gs.udf(score, "double")(1.0, 2.0) == score(1.0, 2.0)


def test_a_nondeterministic_function_is_marked_so(frame) -> None:
    f = gs.udf("double")(lambda a: a).asNondeterministic()
    with pytest.raises(Exception, match=r"(?i)nondeterministic|aggregate"):
        frame.groupBy("flag").agg(F.sum(f("a"))).orderBy(f("a")).collect()


def test_result_types_that_do_not_compile(spark, frame) -> None:
    """Results that only Python computes: strings, decimals, arrays, maps, structs, binaries."""
    import decimal

    spark.conf.set("spark.gpuspark.fallback", "silent")
    results = {
        "string": lambda n: f"n{n}",
        "decimal(10,2)": lambda n: decimal.Decimal(n) / 4,
        "array<int>": lambda n: [n, None],
        "map<string,bigint>": lambda n: {"n": n},
        "struct<a:bigint,b:string>": lambda n: {"a": n, "b": str(n)},
        "binary": lambda n: bytes([n % 256]),
        "timestamp": lambda n: __import__("datetime").datetime(2020, 1, 1, n % 24),
    }
    df = frame.limit(20)
    for declared, body in results.items():
        ours = df.select(gs.udf(body, declared)("n").alias("v"))
        theirs = df.select(F.udf(body, declared, useArrow=True)("n").alias("v"))
        assert ours.schema == theirs.schema
        assert ours.collect() == theirs.collect(), declared
