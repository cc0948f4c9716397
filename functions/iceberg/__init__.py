"""Iceberg tables of the landed topics: committed, compacted and tidied on a schedule."""
