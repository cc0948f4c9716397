"""Reads an Iceberg table with Spark: `read_table.py JAR METADATA` prints its rows' origin, bucket and time as JSON."""

import json
import sys

from pyspark.sql import SparkSession

jar, metadata = sys.argv[1:]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars", jar)
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
table = spark.read.format("iceberg").load(metadata)
columns = ["_kafka_partition", "_offset", "value", "cast(_bucket as long)", "cast(at as long)"]
print(
    json.dumps(
        {
            "rows": [list(row) for row in table.selectExpr(*columns).collect()],
            "in_first_hour": table.where("_bucket = timestamp'2024-03-13T10:00:00Z'").count(),
            "without_time": table.where("at is null").count(),
            "from_eleven": table.where("at >= timestamp'2024-03-13T11:00:00Z'").count(),
        }
    )
)
