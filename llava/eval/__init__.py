"""Measurement: speed here, quality beside it."""
