"""Questions about Spark's plans."""

from __future__ import annotations

import contextlib
import io
from typing import Any


def plan_of(frame: Any) -> str:
    """Returns the physical plan as text, in classic Spark and in Spark Connect."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        frame.explain()
    return shown.getvalue()


def has_python(frame: Any) -> bool:
    """Returns whether a worker runs Python for ``frame``."""
    return any(name in plan_of(frame) for name in ("Python", "InArrow", "InPandas"))
