"""Recordings for the waveform: rounding with equal steps, by dependent quantisation."""
