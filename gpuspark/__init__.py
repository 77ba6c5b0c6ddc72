"""Your PySpark functions, compiled, on the best device present."""
