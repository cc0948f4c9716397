"""What the produced records say the tables must be, by independent plain code, and whether they are."""
