"""Iceberg tables of landed topics: what is published gets in once, small files become large ones."""
