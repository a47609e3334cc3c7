"""Channels decorrelated: a picture's colours, a recording's left and right."""

import numpy as np

from ..signals import Floats

#: The matrix is kept in so many parts of 1: its entries fit into signed bytes.
UNIT = 127


def decorrelation(*values: Floats) -> Floats:
    """The principal axes of values ``[n, C]`` as rows of a matrix ``[C, C]``, strongest first.

    In whole 127ths. The Karhunen-Loeve transform.
    """
    covariance = sum((part.T @ part).astype(np.float64) for part in values)
    _, vectors = np.linalg.eigh(covariance)
    rows = vectors[:, ::-1].T
    rows = rows * np.where(rows.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    axes: Floats = ((rows * UNIT).round() / UNIT).astype(np.float32)
    return axes


def mixing_inverse(axes: Floats) -> Floats:
    """What turns values ``[..., C]`` into those along ``axes``, multiplied from the right."""
    return np.linalg.inv(axes.astype(np.float64)).astype(np.float32)
