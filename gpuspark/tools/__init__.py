"""What a person runs, mostly through ``python -m gpuspark``.

Imports every folder of the package but ``bench``; only ``cli`` and users import it.

- ``info``: ``gs.info()``, the devices of this machine and why a GPU is or is not used.
- ``check``: ``gpuspark check FILE.py``, whether the functions of a file run on a GPU; with ``check_script``,
  ``check_series`` and the stand-in for cuDF, ``cudf_standin``.
- ``replay``: ``gpuspark replay CAPSULE``, which runs a failed batch again.
- ``demo``: ``gpuspark demo``, a tour on real data.
"""
