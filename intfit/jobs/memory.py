"""How the C library's allocator is set up: by the command, for all of its process."""

import ctypes
import sys

#: Parameters of glibc's ``mallopt`` (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: Bytes of blocks that are given back: whole recordings, whose holes in the heap would stay.
LARGE = 1 << 26


def keep_freed_memory() -> None:
    """Have glibc keep the blocks that are freed, up to :data:`LARGE` bytes.

    By default it returns blocks of a few MB to the system, and a training step that allocates the
    same ones again spends much of its time in page faults. Does nothing under another C library.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE)
            mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
