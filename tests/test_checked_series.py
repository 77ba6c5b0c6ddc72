"""What `gpuspark check` says is left to pandas, against what a GPU left to pandas (docs/device/meaning.log)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gpuspark.columns.cudf_meaning import pandas_meaning
from gpuspark.columns.cudf_operations import Different
from gpuspark.tools.checked_series import checked_class
from tests.proof import cudf_meaning as proof

LOG = Path(__file__).parents[1] / "docs" / "device" / "meaning.log"
NO_LONGER_LEFT = ("len(x)", "x.empty")
"""These are computed by cuDF since the log was written."""


def refused(body: str, columns: dict[str, Any]) -> str | None:
    """Returns why an expression is left to pandas; ``None`` if it is not known to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with pandas_meaning(checked_class()):
                eval(body, {"np": np, "pd": pd, **columns})
        except Different as different:
            return str(different)
        except Exception:  # noqa: BLE001  an error of the body's own
            return None
    return None


def test_what_a_gpu_left_to_pandas_is_refused_and_little_else() -> None:
    logged = {
        body: (outcome, reason)
        for outcome, body, reason in re.findall(
            r"^(left to pandas|an error on both): (.*?)    (.*)$", LOG.read_text(), re.M
        )
    }
    columns = {name: checked_class()(proof.on_pandas(column)) for name, column in proof.columns().items()}
    missed, wrong, same = [], [], 0
    for body in proof.BODIES:
        outcome, reason = logged.get(body, ("equal", ""))
        ours = refused(body, columns)
        if outcome == "left to pandas" and reason.startswith("Different: ") and not body.startswith(NO_LONGER_LEFT):
            missed += [] if ours else [body]
            same += ours is not None
        elif outcome == "equal" and ours:
            wrong.append(body)
    assert wrong == ["pd.to_numeric(n)"]  # a function of pandas, which cuDF has in its place
    assert set(missed) <= {
        *("b+1", "b*2.5", "(x > 0) * 2.5", "x.isna() * 3.0", "b - 1", "np.minimum(i, 3)"),  # another type on cuDF
        *("pd.Series([1]*len(x))", "u.str.split(',').str[5] == 'c'"),
    }
    page = (LOG.parents[1] / "evidence.md").read_text()
    assert f"misses {len(missed)} of {same + len(missed)} bodies" in page
