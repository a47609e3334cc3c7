"""Surfaces as quantised B-spline coefficients of a signed distance, sparse and coarse to fine."""
