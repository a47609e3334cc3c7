"""Eigenvectors, and orthonormal bases of the columns of matrices, on any device."""

import functools
import warnings

import torch
from torch import Tensor

from ...devices import pad, runs_triton

#: The widest matrices that a program of a GPU holds in its registers, and that it works on at all.
MAX_IN_REGISTERS, MAX_WIDTH = 128, 256
#: Columns that a program works on at once of a matrix that stays in memory, and its warps.
COLUMNS, WARPS = 32, 16


def eigenvectors(matrices: Tensor) -> Tensor:
    """The eigenvectors ``[k, w, w]``, as columns, of symmetric ``matrices``; any where one is bad.

    By the CPU: these are few and small, a GPU would load a large library to decompose them one by
    one, and MPS cannot.
    """
    # a fit that diverges goes on to its end, where that is reported
    found = matrices.cpu().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    vectors: Tensor = torch.linalg.eigh(found)[1]
    return vectors.to(matrices.device)


def orthogonalise(matrices: Tensor) -> Tensor:
    """The orthogonal factors ``[k, w, w]`` of the QR decompositions of ``matrices``.

    In one small kernel on CUDA: PyTorch decomposes matrices there one by one, in more time than
    the steps of a small network between two refreshes take.
    """
    width, device = matrices.shape[-1], matrices.device
    if width <= MAX_WIDTH and has_kernel(device, width):
        return orthogonalise_in_one_kernel(matrices)
    # MPS has no decompositions
    found = matrices.cpu() if device.type == "mps" else matrices
    bases: Tensor = torch.linalg.qr(found)[0]
    return bases.to(device)


@functools.cache
def has_kernel(device: torch.device, width: int) -> bool:
    """Whether :func:`orthogonalise_in_one_kernel` works there, which is tried once."""
    if not runs_triton(device):
        return False
    try:
        orthogonalise_in_one_kernel(torch.eye(width, device=device)[None])
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        warnings.warn(f"slower, since Triton does not work here: {first}", stacklevel=2)
        return False
    return True


def orthogonalise_in_one_kernel(matrices: Tensor) -> Tensor:
    """As :func:`orthogonalise`, for ``w`` of up to :data:`MAX_WIDTH`, in Triton."""
    from . import kernels  # only where Triton is

    matrices = matrices.contiguous()
    bases = torch.empty_like(matrices)
    count, width, _ = matrices.shape
    with torch.cuda.device_of(bases):
        if width > MAX_IN_REGISTERS:
            kernels.orthogonalise_in_memory[(count,)](
                matrices.clone(), bases, width, pad(width), COLUMNS, num_warps=WARPS, num_stages=1
            )
        else:
            kernels.orthogonalise[(count,)](
                matrices, bases, width, pad(width), num_warps=count_warps(width), num_stages=1
            )
    return bases


def count_warps(width: int) -> int:
    """The warps of a program for matrices of this width: its registers hold one matrix, and more.

    At :data:`MAX_IN_REGISTERS` a few go to memory.
    """
    return max(4, pad(width) // 8)
