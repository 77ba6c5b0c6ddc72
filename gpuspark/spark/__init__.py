"""Everything that touches PySpark beyond the functions it documents for users.

Imports ``errors`` and ``config`` only; PySpark itself is imported inside functions.

- ``session``: the ``spark.gpuspark.*`` keys on the driver and in a task, and facts about the running task.
- ``builder``: builds every PySpark UDF of gpuspark.
- ``decorated``: names a decorated function after the user's function; declaration errors that PySpark code catches.
- ``arrow_types``: Spark's types as Arrow types; the types that Spark sends as marked structs.
- ``worker_log``: writes to Spark's log of its Python workers, which carries the ledger.
"""
