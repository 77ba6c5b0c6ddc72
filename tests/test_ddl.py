"""Type strings parsed without Spark, against Spark's own parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuspark as gs
from gpuspark.columns import ddl, types
from gpuspark.errors import DeclarationError

ACCEPTED = (
    "a int, b string", "a: int", "a int not null", "`a b` int", "`a``b` int", "", "struct<>",
    "struct< a : int , b string not null comment 'x,y'>", "STRUCT<a:INT>", "array<int>", "ARRAY < BIGINT >",
    "map<string,array<int>>", "decimal", "decimal(5)", "DEC(10, 2)", "numeric(3,1)", "Int", " int ", "integer",
    "long", "byte", "short", "real", "timestamp_ltz", "timestamp_ntz", "timestamp without time zone",
    "timestamp with local time zone", "timestamp(6)", "timestamp_ntz(6)", "timestamp(6) without time zone", "time",
    "time(3)", "time(7)", "time without time zone", "time(3) without time zone", "interval day to second",
    "interval day", "interval hour to minute", "interval minute to second", "interval second", "interval hour",
    "interval year to month", "interval year", "interval month", "interval", "char(3)", "character(3)", "varchar(9)",
    "char(3) collate UTF8_LCASE", "string collate UTF8_LCASE", "string collate unicode_ci",
    "string collate system.builtin.UTF8_LCASE", "binary", "void", "variant", "boolean", "geometry(4326)",
    "geometry(any)", "geography(4326)", "geography(any)", "v int, v int", "int int", "timestamp date", "date date",
    "a int comment 'it''s'", "a int comment 'it\\'s'", "a int comment \"x\"", "a int not null comment 'x'",
    "a struct<b:int>, c map<int,string>", "a decimal(3,1) not null, b int", "1a int", "`` int", "interval int",
    "struct<interval:int>", "struct<a int, b: string>", "array<array<struct<x:double>>>", "tinyint", "double",
    "float", "smallint", "bigint", "string", "date", "int /* c */", "int -- c", "/* c */ int", "a /* c */ int",
    "select int", "table int, from int", "_a int", "map<array<int>,int>", "map<map<int,int>,int>", "array<void>",
    "struct<a:void>", "a string collate UTF8_LCASE", "a string collate UTF8_LCASE not null",
    "string collate `UTF8_LCASE`", "struct<`a:b`:int>", "struct<a:int comment 'c', b:int>", "a\tint", "a\nint",
    "array<interval day>", "array<char(3)>", "array<interval year>", "decimal ( 3 , 1 )", "calendar interval",
    "struct<a:int not null>", "INTERVAL SECOND", "not int", "null int", "a void",
    "struct<struct:struct<array:array<int>>>",
)  # fmt: skip

REFUSED = (
    "array<int not null>", "decimal(5,-2)", "decimal(40,2)", "decimal(3,5)", "decimal(1,2,3)", "bool",
    "timestamp with time zone", "timestamp_ltz(9)", "timestamp_ntz(9)", "timestamp(9)", "interval second to day",
    "interval week", "char", "varchar", "string(5)", "binary(5)", "null", "object", "geometry", "geography",
    "nonsense", "array<nonsense>", "array<", "array<int>>", "array", "map<int>", "map", "struct", "struct<a>",
    "int(3)", "a int b int", "a int,", "a int comment 'x' not null", "a int null", "a int default 3", "a-b int",
    "interval day int", "number", "daytimeinterval", "a.b int", "ünder int", "a$ int", "struct<a:int,>", "int;",
    "a INT COLLATE x", "string collate 'UTF8_LCASE'", "vector", "udt", "timestamp_ntz without time zone",
    "double precision", "int unsigned", "decimal()", "time()", "int4", "text", "timestampltz", "time_ntz",
    "list<int>", "array[int]", "'a' int", "\"a\" int", "calendarinterval", "a bigint generated always as identity",
    "interval day(3) to second(6)", "date not null", "int not null", "int comment 'x'", "not null int",
)  # fmt: skip


def _ours(text: str) -> str | None:
    try:
        return ddl.canonical(text)
    except DeclarationError:
        return None


def _sparks(text: str) -> str | None:
    """Returns Spark's name of the type, or ``None`` if Spark refuses ``text``; needs a session."""
    from pyspark.errors import PySparkException
    from pyspark.sql.types import DataType

    try:
        return DataType.fromDDL(text).simpleString()
    except PySparkException:
        return None


def test_strings_that_spark_accepts_mean_the_same(spark) -> None:
    assert {text: _ours(text) for text in ACCEPTED} == {text: _sparks(text) for text in ACCEPTED}


def test_strings_that_spark_refuses_are_refused(spark) -> None:
    assert [text for text in REFUSED if _sparks(text) is not None] == []
    assert [text for text in REFUSED if _ours(text) is not None] == []


_PLAIN = ("int", "BigInt", "double", "string", "decimal(9,2)", "timestamp_ntz", "interval day to second", "variant")
_NAMES = st.sampled_from(("a", "B1", "`a b`", "`x``y`", "date", "interval", "struct", "not"))
_GAPS = st.sampled_from(("", " ", "\n", " /* c */ "))
_WORDS = st.sampled_from("int a not null < > , : comment 'c' array interval day to".split())


@st.composite
def _type_strings(draw: st.DrawFn, depth: int = 0) -> str:
    """Draws a type string in one of many spellings."""
    gap, form = draw(_GAPS), draw(st.sampled_from(("plain", "array", "map", "struct") if depth < 3 else ("plain",)))
    if form == "plain":
        return draw(st.sampled_from(_PLAIN))
    inner = [draw(_type_strings(depth + 1)) for _ in range(draw(st.integers(1, 3)))]
    if form == "array":
        return f"array{gap}<{gap}{inner[0]}{gap}>"
    if form == "map":
        return f"MAP<{inner[0]}{gap},{gap}{inner[-1]}>"
    endings = st.sampled_from(("", " not null", " comment 'a, b>'", ' NOT NULL COMMENT "c"'))
    colon = st.sampled_from((":", " ", " : "))
    return f"struct{gap}<{','.join(draw(_NAMES) + draw(colon) + field + draw(endings) for field in inner)}>"


@settings(max_examples=100)
@given(st.one_of(_type_strings(), st.lists(_WORDS, max_size=6).map(" ".join)))
def test_any_string_is_parsed_as_spark_parses_it(spark, text: str) -> None:
    assert _ours(text) == _sparks(text)


@pytest.mark.parametrize("text", ["char(3)", "array<varchar(9)>", "interval year", "struct<a:interval>", "interval"])
def test_types_without_an_arrow_form_are_refused_at_decoration(text: str) -> None:
    with pytest.raises(DeclarationError, match=r"Python functions cannot return .* Declare"):
        gs.udf(lambda a: a, text)


@pytest.mark.parametrize("text", ["struct<interval:int>", "interval int", "interval hour to minute", "char string"])
def test_field_names_that_look_like_such_types_are_accepted(text: str) -> None:
    assert types.declared(text).kind == "other"


def test_pyspark_types_are_converted() -> None:
    from pyspark.sql import types as spark_types

    class Double(spark_types.UserDefinedType):
        """A user-defined type with the name of one of Spark's types."""

        @classmethod
        def sqlType(cls):  # noqa: N802  (PySpark's name)
            return spark_types.ArrayType(spark_types.DoubleType())

    assert types.declared(spark_types.DoubleType()) == types.parse("double")
    assert types.declared(spark_types.DayTimeIntervalType()).kind == "interval"
    assert types.declared(spark_types.StructType().add("c:d", spark_types.StringType())).kind == "other"
    assert types.declared(Double()).kind == "other"
    with pytest.raises(DeclarationError):
        types.declared(spark_types.ArrayType(spark_types.VarcharType(3)))


def test_a_list_of_fields_declares_a_struct(spark) -> None:
    spark.conf.set("spark.gpuspark.fallback", "silent")
    pair = gs.udf(lambda v: (v, str(v)), "`a b` int not null, c string comment 'text'")
    row = spark.range(1).select(pair("id").alias("r")).first()
    assert row.r.asDict() == {"a b": 0, "c": "0"}


def test_columns_with_and_without_names() -> None:
    assert ddl.columns("double, map<int,string>") == ["double", "map<int,string>"]
    assert ddl.columns("a double, `b c`: int not null comment 'x, y'") == {"a": "double", "b c": "int"}
    with pytest.raises(DeclarationError, match=r"a, b int.*is not a type"):
        ddl.columns("a, b int")
