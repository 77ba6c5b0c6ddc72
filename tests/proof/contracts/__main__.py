"""``python -m tests.proof.contracts``: asks the packages of this environment, and writes the two records.

``make contracts`` runs it in an environment of the real RAPIDS wheels, without a GPU. Ends with 1 where one of our
uses does not fit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gpuspark.devices.rapids import ERRORS
from tests.proof.contracts import calls, jobs, record
from tests.proof.contracts.cudf_names import cudf_record
from tests.proof.contracts.failures import all_failures

CUDF = calls.ROOT / "gpuspark" / "tools" / "cudf_record.json"


def write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {file.relative_to(calls.ROOT)}")


def main() -> int:
    uses = calls.uses()
    paths, missing = {}, []
    for path in sorted({use.path for use in uses}):
        try:
            paths[path] = record.described(path)
        except AttributeError as error:
            missing.append(f"{path}: {error}")
    misfits = missing + [text for use in uses if (text := record.misfit(use, paths))]
    print(f"{len(uses)} uses of {len(paths)} names")
    write(CUDF, cudf_record())
    result = {
        "versions": record.versions(),
        "paths": paths,
        "errors": {path: record.bases(path) for path in ERRORS},
        "failures": all_failures(),
        "jobs": jobs.all_jobs(),
    }
    write(record.FILE, result)
    print("\n".join(misfits))
    return 1 if misfits else 0


if __name__ == "__main__":
    sys.exit(main())
