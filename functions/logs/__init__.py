"""Log aggregates: counts per minute, service and severity, and the ratio of errors."""
