"""``python -m gpuspark``: the command ``gpuspark``, with this interpreter."""

from __future__ import annotations

from gpuspark.cli import main

if __name__ == "__main__":
    main()
