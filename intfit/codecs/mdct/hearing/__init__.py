"""Recordings for the ear: rounding and noise follow the envelope that a small SIREN gives."""
