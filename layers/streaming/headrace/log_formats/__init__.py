"""The formats that log lines come in, one module each; `headrace.logs` tells them apart.

A new format is a module with a class that has `name` and `parse`, a table `EXAMPLES`, and a place in `headrace.logs`.
"""
