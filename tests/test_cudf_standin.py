"""The strict stand-in for cuDF: it refuses what the record of the real one lacks; pandas computes the rest.

That a name is refused rests on ``gpuspark/tools/cudf_record.json``, written by the real cuDF; so that the record is not
its own judge, some names are held against what cuDF's documentation says of 26.10.
"""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gpuspark.tools.cudf_standin import CLASSES, Refusal, Unknown, noting, original, signature, standin

NUMBERS = pd.Series([3.0, 1.0, None, 4.0, 1.0], name="n")
WORDS = pd.Series(["b c", None, "A", ""])
DAYS = pd.Series(pd.to_datetime(["2024-02-29", "2023-12-31", None]))
FRAME = pd.DataFrame({"k": [1, 1, 2], "v": [1.5, None, 2.5]})
SAMPLES = {"Series": NUMBERS, "DataFrame": FRAME, "StringMethods": WORDS.str, "DatetimeProperties": DAYS.dt}


def same(ours, theirs) -> None:
    ours = original(ours)
    if isinstance(theirs, pd.Series):
        pd.testing.assert_series_equal(ours, theirs)
    elif isinstance(theirs, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


@pytest.mark.parametrize(
    ("what", "body"),
    [
        (NUMBERS, lambda s: 1 - s * 2),
        (NUMBERS, lambda s: s[s > 1]),
        (NUMBERS, lambda s: abs(-s) // 2 % 3),
        (NUMBERS, lambda s: divmod(s, 2)[1]),
        (NUMBERS, lambda s: s.rolling(2).mean()),
        (NUMBERS, lambda s: s.ewm(span=2).mean()),
        (NUMBERS, lambda s: s.fillna(0.0).clip(lower=1).rank(pct=True)),
        (NUMBERS, lambda s: s.groupby(s).count()),
        (NUMBERS, lambda s: (s - s.mean()) / s.std()),
        (NUMBERS, lambda s: np.sqrt(s) + np.float64(1)),
        (NUMBERS, lambda s: np.arange(5.0) * s),
        (NUMBERS, lambda s: np.clip(s, 0, 2)),
        (NUMBERS, lambda s: np.mean(s)),
        (NUMBERS, lambda s: s.iloc[1:3]),
        (NUMBERS, lambda s: s.loc[s.isna()]),
        (NUMBERS, lambda s: len(s)),
        (NUMBERS, lambda s: s.name),
        (NUMBERS, lambda s: s.where(s > 1, s.max())),
        (WORDS, lambda s: s.str.upper().str.len()),
        (WORDS, lambda s: s.str.split(" ", expand=True)),
        (WORDS, lambda s: s.isin(["A"])),
        (DAYS, lambda s: s.dt.year * 100 + s.dt.month),
        (DAYS, lambda s: (s - s.min()).dt.total_seconds()),
        (FRAME, lambda f: f["v"] + f["k"]),
        (FRAME, lambda f: f.v),
        (FRAME, lambda f: f.groupby("k").sum()),
        (FRAME, lambda f: f.assign(w=f["v"] * 2)[["w"]]),
        (FRAME, lambda f: f.merge(f, on="k")),
        (FRAME, lambda f: list(f)),
    ],
)
def test_names_that_cudf_has_are_computed_by_pandas(what, body) -> None:
    same(body(standin(what)), body(what))


def test_setting_values_changes_the_original_series() -> None:
    given = NUMBERS.copy()
    ours = standin(given)
    ours[ours.isna()] = 0.0
    ours.iloc[0] = 9.0
    ours.name = "m"
    assert original(ours) is given
    assert (given.tolist(), given.name) == ([9.0, 1.0, 0.0, 4.0, 1.0], "m")


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_name_of_pandas_that_cudf_lacks_is_refused(kind: str) -> None:
    names = [n for n in dir(type(SAMPLES[kind])) if not n.startswith("_") and n not in CLASSES[kind]]
    assert names
    for name in names:
        with pytest.raises(AttributeError, match=f"cuDF's {kind} has no {name}$"):
            getattr(standin(SAMPLES[kind]), name)


@pytest.mark.parametrize(
    "name",
    "agg aggregate transform combine idxmax argmax align item filter expanding unstack asof tz_localize tz_convert "
    "to_csv str.fullmatch str.normalize dt.normalize".split(),
)
def test_names_that_cudf_is_documented_to_lack(name: str) -> None:
    accessor, _, method = name.rpartition(".")
    what = standin({"str": WORDS, "dt": DAYS}.get(accessor, NUMBERS))
    with pytest.raises(AttributeError):
        getattr(getattr(what, accessor) if accessor else what, method)


@pytest.mark.parametrize("kind", ["Series", "DataFrame", "StringMethods"])
def test_every_parameter_of_pandas_that_cudf_lacks_is_refused(kind: str) -> None:
    tried = 0
    for name, entry in CLASSES[kind].items():
        method = getattr(type(SAMPLES[kind]), name, None)
        if name.startswith("__") or not entry.startswith("(") or not inspect.isfunction(method):
            continue
        accepted = signature(entry).parameters
        if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            continue
        for parameter in set(inspect.signature(method).parameters) - set(accepted) - {"self", "args", "kwargs"}:
            with pytest.raises(TypeError, match=f"cuDF's {kind}.{name}: "):
                getattr(standin(SAMPLES[kind]), name)(**{parameter: None})
            tried += 1
    assert tried


@pytest.mark.parametrize(
    "conversion",
    [
        iter, list, sum, np.asarray, pa.array, float, pd.Series, pd.isna,
        lambda s: [x + 1 for x in s],
        lambda s: s.tolist(),
        lambda s: s.items(),
        lambda s: dict(s.str.upper() for _ in "a"),
        lambda s: np.add.reduce(s),
        lambda s: np.where(s > 1, s, 0),
        lambda s: np.vectorize(abs)(s),
    ],
)  # fmt: skip
def test_implicit_conversions_are_refused(conversion) -> None:
    with pytest.raises((TypeError, AttributeError)):
        conversion(standin(NUMBERS))


def test_explicit_conversions_are_not() -> None:
    ours = standin(NUMBERS)
    assert ours.to_pandas() is NUMBERS
    assert ours.to_arrow().to_pylist() == [3.0, 1.0, None, 4.0, 1.0]
    assert isinstance(ours.to_numpy(), np.ndarray)
    assert standin(FRAME).to_arrow().column_names == ["k", "v"]


@pytest.mark.parametrize(
    "body",
    [
        lambda s: s.values,
        lambda s: s.to_cupy(),
        lambda s: s.apply(lambda x: x),
        lambda s: s + NUMBERS,
        lambda s: s.add(NUMBERS),
        lambda s: s.hash_values(),
        lambda s: s.quantile(0.5, exact=False),
        lambda s: s.pipe(len),
    ],
)
def test_what_neither_the_record_nor_pandas_shows_is_unknown(body) -> None:
    with pytest.raises(Unknown):
        body(standin(NUMBERS))


def test_methods_that_always_raise() -> None:
    with pytest.raises(NotImplementedError, match=r"Rolling\.median"):
        standin(NUMBERS).rolling(2).median()
    with pytest.raises(NotImplementedError, match=r"SeriesGroupBy\.nlargest"):
        standin(NUMBERS).groupby(standin(NUMBERS)).nlargest(1)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (lambda s: s.where(s > 1, 0.0, axis=0), "axis"),
        (lambda s: s.add(1, level=0), "level"),
        (lambda s: s.shift(1, freq="D"), "freq"),
        (lambda s: s.shift(1, None, 1), "axis"),
        (lambda s: s.clip(lower=1, axis=0), "axis"),
        (lambda s: s.interpolate(limit=1), "limit"),
        (lambda s: standin(WORDS).str.replace("b", "c", flags=2), "flags"),
    ],
)
def test_parameters_that_take_one_value_only(body, parameter: str) -> None:
    with pytest.raises(NotImplementedError, match=f"accepts no {parameter} but "):
        body(standin(NUMBERS))


def test_the_one_accepted_value_is_accepted() -> None:
    same(standin(NUMBERS).shift(1, axis=0, freq=None), NUMBERS.shift(1))
    same(standin(NUMBERS).where(standin(NUMBERS > 1), 0.0, axis=None), NUMBERS.where(NUMBERS > 1, 0.0))


def test_refusals_are_noted_with_their_lines_and_the_body_continues() -> None:
    refusals: list[Refusal] = []
    first = inspect.currentframe().f_lineno
    with noting(__file__, refusals):
        ours = standin(NUMBERS)
        best = ours.idxmax()
        whole = sum(x for x in ours.fillna(0.0))
        again = [standin(NUMBERS).idxmax() for _ in range(2)]
    assert (best, whole, again) == (3, 9.0, [3, 3])
    assert refusals == [
        Refusal("cuDF's Series has no idxmax", first + 3),
        Refusal("cuDF's Series cannot be iterated over", first + 4),
        Refusal("cuDF's Series has no idxmax", first + 5),
    ]
    with pytest.raises(AttributeError):
        ours.idxmax()
