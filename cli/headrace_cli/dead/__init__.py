"""Dead letters and late rows, from the lake back to a topic."""
