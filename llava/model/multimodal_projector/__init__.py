"""Projectors from the vision width to the language width."""
