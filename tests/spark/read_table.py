"""Reads with Spark: `read_table.py JAR` takes one JSON array of requests from stdin, and prints their answers as one.

A request is `{"format": "iceberg" | "parquet", "paths": […]}`, with `where` (a condition) for a count instead of rows.
"""

import json
import sys

from plain_rows import plain
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars", sys.argv[1])
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.shuffle.partitions", "1")
    .getOrCreate()
)


def answer(request):
    table = spark.read.format(request["format"]).load(*request["paths"])
    if "where" in request:
        return table.where(request["where"]).count()
    return [plain(row.asDict(recursive=True)) for row in table.collect()]


print(json.dumps([answer(request) for request in json.load(sys.stdin)]))
