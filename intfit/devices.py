"""Devices by name. A leaf."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

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


def precise(device: torch.device) -> torch.dtype:
    """The type to compute positions in: a long recording has more samples than float32 integers.

    MPS has no float64.
    """
    return torch.float32 if device.type == "mps" else torch.float64
