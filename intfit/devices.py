"""Devices by name, and what they can do. A leaf."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .errors import DeviceError, UsageError


def choose_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: if a device asked for by name is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    numbered = kind == "cuda" and number.isascii() and number.isdigit()
    if kind not in ("cpu", "cuda", "mps") or (":" in name and not numbered):
        raise UsageError(f"--device {name!r} is not auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--device {name!r}: no CUDA device here; --device auto takes what is")
    if number and int(number) >= torch.cuda.device_count():
        raise DeviceError(f"--device {name!r}: there are {torch.cuda.device_count()} here")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {name!r}: no MPS device here; --device auto takes what is")
    return torch.device(name)


@contextmanager
def limit_threads(threads: int | None) -> Iterator[None]:
    """Have torch use so many CPU threads for a while, then as many as before; None: as it is."""
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait_for(device: torch.device) -> None:
    """Wait until CUDA has done all that it was given; other devices are not waited for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def runs_triton(device: torch.device) -> bool:
    """Whether ``device`` is one that Triton's kernels are written for here, and it is installed."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return importlib.util.find_spec("triton") is not None


def pad(size: int) -> int:
    """The side of a matrix that Triton's kernels can multiply: a power of two, 16 or more."""
    return max(16, 1 << (size - 1).bit_length())


def precise(device: torch.device) -> torch.dtype:
    """The type to compute positions in: a long recording has more samples than float32 integers.

    MPS has no float64.
    """
    return torch.float32 if device.type == "mps" else torch.float64


class HostValues:
    """Numbers ``[n, k]``, float32, which the host sets before a step, and a device reads in it.

    They stay in one place, so that what reads them can be recorded and replayed.
    """

    def __init__(self, rows: int, columns: int, device: torch.device) -> None:
        self._host = torch.zeros(rows, columns)
        self._array = self._host.numpy()
        self._on_cpu = device.type == "cpu"
        self.on_device: Tensor = self._host if self._on_cpu else self._host.to(device)

    def set(self, row: int, *values: float) -> None:
        """Set a row of ``k``; the device has it after :meth:`send`."""
        self._array[row] = values

    def send(self) -> None:
        """Give the device all rows as they are now, with one copy."""
        if not self._on_cpu:
            # CUDA keeps the numbers itself before it returns: they may be set anew at once
            self.on_device.copy_(self._host, non_blocking=self.on_device.is_cuda)
