"""The sweeper: finishes what died half way, closes the windows of idle partitions, removes leftovers."""
