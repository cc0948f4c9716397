"""A log file put through the logs function's own code, in memory."""
