"""Decorrelated channels, of a picture's colours or a recording's left and right.

The axes are a matrix ``[C, C]`` whose rows are directions in the space of the channels. Values
``[..., C]`` along the axes are ``values @ invert_axes(axes)``; multiplying by ``axes`` undoes this.
"""

import numpy as np

from ..signals import Floats

#: The entries of the axes are whole multiples of 1 / AXIS_UNIT, and fit into signed bytes.
AXIS_UNIT = 127


def principal_axes(*values: Floats) -> Floats:
    """The principal axes ``[C, C]`` of all ``values`` ``[n, C]`` together, strongest first.

    The Karhunen-Loeve transform, without subtracting means, in multiples of 1 / AXIS_UNIT.
    """
    covariance = sum((part.T @ part).astype(np.float64) for part in values)
    _, vectors = np.linalg.eigh(covariance)
    rows = vectors[:, ::-1].T
    rows = rows * np.where(rows.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    axes: Floats = ((rows * AXIS_UNIT).round() / AXIS_UNIT).astype(np.float32)
    return axes


def invert_axes(axes: Floats) -> Floats:
    """The matrix ``[C, C]`` that turns channels into values along ``axes``."""
    return np.linalg.inv(axes.astype(np.float64)).astype(np.float32)


def store_axes(axes: Floats) -> bytes:
    """The axes as signed bytes, row by row."""
    return (axes * AXIS_UNIT).round().astype(np.int8).tobytes()


def read_axes(data: bytes, channels: int) -> Floats:
    """The axes ``[channels, channels]`` in signed bytes."""
    entries = np.frombuffer(data, np.int8).reshape(channels, channels)
    return (entries.astype(np.float32) / AXIS_UNIT).astype(np.float32)
