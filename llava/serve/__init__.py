"""Command line and input handling."""
