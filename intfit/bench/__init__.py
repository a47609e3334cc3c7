"""Comparisons that a user can repeat."""
