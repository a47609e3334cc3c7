"""Recordings as quantised MDCT coefficients."""
