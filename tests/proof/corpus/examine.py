"""Examines single functions of the corpus, in a worker process of the command."""

from __future__ import annotations

import faulthandler
import os
import tempfile
import warnings

from tests.proof.corpus.comparison import compare, type_choices
from tests.proof.corpus.functions import member, public_functions
from tests.proof.corpus.report import Examined

ROWS = 100
PATIENCE = 600
"""The seconds allowed for one function, after which its process prints its stack and ends."""


def examine(number: int) -> Examined:
    """Returns the outcomes of the function with this number, for each choice of column types."""
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    function = public_functions()[number]
    name = f"{function.__module__}.{function.__qualname__}"
    try:
        chosen = member(function)
        if isinstance(chosen, str):
            return Examined(name, chosen)
        return Examined(name, "", tuple(compare(chosen, types, ROWS) for types in type_choices(chosen)))
    finally:
        faulthandler.cancel_dump_traceback_later()


def prepare() -> None:
    """Prepares a worker process: functions of the corpus may warn, and write files to the working directory."""
    warnings.simplefilter("ignore")
    os.chdir(tempfile.gettempdir())
