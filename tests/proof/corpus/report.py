"""The page that says how much of the corpus compiles, and why the rest does not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.proof.corpus.comparison import Outcome
from tests.support.row_by_row import Comparison

REASONS = 15
"""The number of reasons that the page lists."""


@dataclass(frozen=True)
class Examined:
    """One public function: why it is left out, or its outcome for each choice of column types."""

    name: str
    outside: str
    outcomes: tuple[Outcome, ...] = ()


def page(version: str, examined: Sequence[Examined], step: int = 1) -> str:
    """Returns the page's text after a run over every ``step``-th function."""
    share = "each" if step == 1 else f"every {step}th"
    scalar = [one for one in examined if not one.outside]
    compiled = [one for one in scalar if not one.outcomes[0].refusals]
    with_branches = [one for one in compiled if one.outcomes[0].left_to_python]
    outside = Counter(one.outside for one in examined if one.outside)
    outcomes = [outcome for one in scalar for outcome in one.outcomes]
    whole = total(outcome.comparison for outcome in outcomes)
    refused = [one.outcomes[0].refusals for one in scalar if one.outcomes[0].refusals]
    reasons = Counter(reason for refusals in refused for reason in {kind_of(refusal) for refusal in refusals})
    return f"""# A public corpus

[`fluids`](https://fluids.readthedocs.io) {version} is a library of engineering in pure Python that nobody here wrote.
`make corpus` takes {share} of its public functions, compiles it, and compares the CPU with plain Python, row by row:
values, nulls, types and errors, for columns of doubles and for a mixture of doubles, integers and booleans. The rows
are random; every second one holds NaN, an infinity, -0.0, a subnormal or another extreme. Floats may differ by a few
units in the last place where functions of mathematics are called. This page is what the command wrote.

| | |
|---|---|
| public functions | {len(examined):,} |
| scalar: numbers in, a number out | {len(scalar):,} |
| **compiled, for columns of doubles** | **{len(compiled):,}: {len(compiled) / len(scalar):.1%}** |
| of these with a branch that is left to Python | {len(with_branches):,} |
| rows compared, in {sum(not outcome.refusals for outcome in outcomes):,} programs | {whole.rows:,} |
| rows computed again in Python, since the program marked them | {whole.recomputed:,} |
| whose answer hangs on the last bits of a function of mathematics | {whole.excused:,} |
| **differences** | **{len(whole.differences):,}** |

Parameters with defaults keep them, where the others are enough for an answer. What stands outside:

{_table(("functions", "why"), outside.most_common())}

## What is refused

A refused function runs in plain Python, with the reasons on record. The commonest, each counted once for a function:

{_table(("functions", "reason"), reasons.most_common(REASONS))}
"""


def _table(head: tuple[str, str], counted: Iterable[tuple[str, int]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|--:|---|", *(f"| {count:,} | {what} |" for what, count in counted)]
    return "\n".join(lines)


def total(comparisons: Iterable[Comparison]) -> Comparison:
    """Returns the sum of all comparisons."""
    whole = Comparison()
    for comparison in comparisons:
        whole.rows += comparison.rows
        whole.recomputed += comparison.recomputed
        whole.excused += comparison.excused
        whole.differences += comparison.differences
    return whole


def kind_of(refusal: str) -> str:
    """Returns a refusal without its names, file and line."""
    text = re.sub(r"\s*\([^()]*, line \d+\)", "", refusal)
    text = re.sub(r"'[^']*'", "'…'", text)
    text = re.sub(r"^(a call of|attribute|assignment to) [^:]*?(?= with| of |$)", r"\1 …", text)
    text = re.sub(r"^\w+ calls itself", "a function that calls itself", text)
    return text.replace("|", "\\|")[:110]
