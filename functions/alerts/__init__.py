"""Alerts out of the lake: an SNS message for each row of a published file."""
