"""``intfit bench``: comparisons that a user can repeat."""
