"""The ledger: what each function did, batch by batch, in every task.

Imports ``spark`` and the modules before it.

- ``work``: the seconds, rows, retries and reasons of one batch, while it is computed.
- ``entries``: the records that a Python worker writes when a task ends.
- ``report``: ``gs.ledger(spark)``, which reads these records on the driver.
"""
