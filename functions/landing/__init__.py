"""Data-lake landing: every record of any topic a typed row."""
