"""The scalar dialect: how many months until a loan is paid back? A loop for each row, compiled.

Run it: python examples/scalar.py
"""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

import gpuspark as gs


@gs.udf("int")
def months_to_repay(balance, yearly_rate, payment):
    if payment <= balance * yearly_rate / 12:
        return None  # it never ends
    months = 0
    while balance > 0:
        balance = balance * (1 + yearly_rate / 12) - payment
        months += 1
    return months


def build(spark: SparkSession) -> DataFrame:
    loans = spark.range(10_000).selectExpr(
        "1000D + id * 7 as balance", "0.01D + (id % 50) / 1000D as yearly_rate", "50D + id % 400 as payment"
    )
    return loans.withColumn("months", months_to_repay("balance", "yearly_rate", "payment"))


if __name__ == "__main__":
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    print(months_to_repay.explain())
    build(spark).groupBy().agg({"months": "avg"}).show()
    print(gs.ledger(spark))
    spark.stop()
