"""The catalog: registers the lake's tables and their hours, so that Athena and Spark see them."""
