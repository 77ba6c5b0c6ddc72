"""PySpark's own tests, run in place on gpuspark's decorators: ``python -m tests.proof.spark_own``."""
