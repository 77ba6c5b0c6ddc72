"""A tenth of the public corpus on the CPU, a sample on the emulated device; `make corpus` runs it all."""

from __future__ import annotations

import types

import pytest

from tests.proof.corpus.comparison import Outcome, compare, type_choices
from tests.proof.corpus.functions import Member, member, public_functions
from tests.proof.corpus.report import Examined, kind_of, page
from tests.proof.corpus.values import rows
from tests.support.row_by_row import Comparison

SHARE = 0.6
"""At least so many of the tenth must compile, lest the comparison be of nothing."""


def chosen(step: int) -> list[types.FunctionType]:
    return list(public_functions()[::step])


def scalar(functions: list[types.FunctionType]) -> list[Member]:
    return [result for result in map(member, functions) if isinstance(result, Member)]


@pytest.mark.filterwarnings("ignore")
def test_a_tenth_gives_pythons_answers(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    members = scalar(chosen(10))
    outcomes = [compare(result, type_choices(result)[-1], 24) for result in members]
    assert [difference for outcome in outcomes for difference in outcome.comparison.differences] == []
    assert sum(not outcome.refusals for outcome in outcomes) >= SHARE * len(members)
    assert sum(outcome.comparison.rows for outcome in outcomes) > 400


@pytest.mark.filterwarnings("ignore")
def test_a_sample_on_the_emulated_device(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes = [compare(result, type_choices(result)[0], 12, emulated=True) for result in scalar(chosen(60))]
    assert [difference for outcome in outcomes for difference in outcome.comparison.differences] == []
    assert sum(outcome.comparison.rows for outcome in outcomes) > 40


def test_rows_hold_what_is_rare_and_are_the_same_each_time() -> None:
    given = rows(("double", "bigint", "boolean"), 2000, "seed")
    assert repr(given) == repr(rows(("double", "bigint", "boolean"), 2000, "seed"))
    floats, integers, truths = (set(map(repr, column)) for column in zip(*given, strict=True))
    assert {"nan", "inf", "-inf", "-0.0", "5e-324"} <= floats
    assert {repr(2**63 - 1), repr(-(2**63)), "0"} <= integers
    assert truths == {"True", "False"}


def test_the_page_counts_functions_and_reasons() -> None:
    outside = Examined("m.f", "returns tuple")
    refused = Outcome("m.g", ("double",), ("try (m.py, line 7)", "try (m.py, line 9)"), Comparison())
    done = Outcome("m.h", ("double",), (), Comparison(rows=9, recomputed=2, differences=["a=1.0: 2.0, in Python 3.0"]))
    text = page("1.0", [outside, Examined("m.g", "", (refused,)), Examined("m.h", "", (done, done))])
    assert "| public functions | 3 |" in text
    assert "**1: 50.0%**" in text
    assert "| rows compared, in 2 programs | 18 |" in text
    assert "| **differences** | **2** |" in text
    assert "| 1 | returns tuple |" in text
    assert "| 1 | try |" in text


def test_reasons_lose_their_names_and_lines() -> None:
    assert kind_of("'a' may be read before it is set (x.py, line 2)") == "'…' may be read before it is set"
    assert kind_of("a call of func (x.py, line 2)") == "a call of …"
