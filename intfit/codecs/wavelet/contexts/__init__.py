"""Contexts of version 2: signed values, the picture of coarser levels, and signs predicted."""
