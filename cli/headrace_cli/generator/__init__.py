"""A seeded stream of shop visits and service logs, as real streams are: skewed, late, partly broken."""
