"""The command `headrace`: everything about Headrace that one does at a terminal."""
