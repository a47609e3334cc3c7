"""The Triton kernel of :mod:`.orthogonal`; to be imported only where Triton is."""

import triton
import triton.language as tl


@triton.jit
def take(matrix, place, AXIS: tl.constexpr):
    """The column (``AXIS`` 1) or row of ``matrix`` where ``place`` is true."""
    return tl.sum(tl.where(place, matrix, 0.0), AXIS)


@triton.jit(do_not_specialize=["width"])
def orthogonalise(matrices, bases, width, WIDTH: tl.constexpr):
    """The orthogonal factor of a matrix ``[width, width]``, by Householder's reflections.

    Each program has one of ``matrices``, padded to ``WIDTH`` in its registers. A reflection takes
    what is below the diagonal from a column, and replaces it there, until all are multiplied.
    """
    rows = tl.arange(0, WIDTH)[:, None]
    columns = tl.arange(0, WIDTH)[None, :]
    inside = (rows < width) & (columns < width)
    place = tl.program_id(0).to(tl.int64) * width * width + rows * width + columns
    matrix = tl.load(matrices + place, mask=inside, other=0.0)
    lines = tl.arange(0, WIDTH)
    for step in range(width - 1):
        column = tl.where(lines >= step, take(matrix, columns == step, 1), 0.0)
        norm = tl.sqrt(tl.sum(column * column, 0))
        first = tl.sum(tl.where(lines == step, column, 0.0), 0)
        # away from zero, so that nothing cancels
        column += tl.where(lines == step, tl.where(first < 0, -norm, norm), 0.0)
        length = tl.sqrt(tl.sum(column * column, 0))
        column /= tl.where(length > 0, length, 1.0)  # no reflection where all is zero
        shares = tl.sum(column[:, None] * matrix, 0)
        later = tl.where(columns > step, matrix - 2 * column[:, None] * shares[None, :], matrix)
        matrix = tl.where(columns == step, column[:, None], later)
    basis = tl.where(rows == columns, 1.0, 0.0) + tl.zeros([WIDTH, WIDTH], tl.float32)
    for back in range(width - 1):
        column = take(matrix, columns == width - 2 - back, 1)
        shares = tl.sum(column[:, None] * basis, 0)
        basis -= 2 * column[:, None] * shares[None, :]
    tl.store(bases + place, basis, mask=inside)


@triton.jit(do_not_specialize=["width"])
def orthogonalise_in_memory(matrices, bases, width, WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """As :func:`orthogonalise`, of matrices too large for registers.

    They stay in memory, and are overwritten; ``COLUMNS`` are worked on at once.
    """
    lines = tl.arange(0, WIDTH)
    places = tl.arange(0, COLUMNS)
    start = tl.program_id(0).to(tl.int64) * width * width
    matrices += start
    bases += start
    for step in range(width - 1):
        column = tl.load(
            matrices + lines * width + step, mask=(lines >= step) & (lines < width), other=0.0
        )
        norm = tl.sqrt(tl.sum(column * column, 0))
        first = tl.sum(tl.where(lines == step, column, 0.0), 0)
        column += tl.where(lines == step, tl.where(first < 0, -norm, norm), 0.0)
        length = tl.sqrt(tl.sum(column * column, 0))
        column /= tl.where(length > 0, length, 1.0)
        for begin in range((step + 1) // COLUMNS * COLUMNS, width, COLUMNS):
            columns = begin + places
            reflect(matrices, column, columns, columns > step, width, lines)
        tl.debug_barrier()  # all threads have read the column
        tl.store(matrices + lines * width + step, column, mask=lines < width)
        tl.debug_barrier()  # threads read each other's columns next
    for begin in range(0, width, COLUMNS):
        columns = begin + places
        inside = (lines < width)[:, None] & (columns < width)[None, :]
        identity = tl.where(lines[:, None] == columns[None, :], 1.0, 0.0)
        tl.store(bases + lines[:, None] * width + columns[None, :], identity, mask=inside)
    tl.debug_barrier()
    for back in range(width - 1):
        step = width - 2 - back
        column = tl.load(matrices + lines * width + step, mask=lines < width, other=0.0)
        for begin in range(step // COLUMNS * COLUMNS, width, COLUMNS):
            columns = begin + places
            reflect(bases, column, columns, columns >= step, width, lines)
        tl.debug_barrier()


@triton.jit
def reflect(matrix, column, columns, some, width, lines):
    """Reflect ``some`` of ``columns`` of a ``matrix`` in memory by the unit vector ``column``."""
    inside = (lines < width)[:, None] & (some & (columns < width))[None, :]
    address = matrix + lines[:, None] * width + columns[None, :]
    part = tl.load(address, mask=inside, other=0.0)
    shares = tl.sum(column[:, None] * part, 0)
    tl.store(address, part - 2 * column[:, None] * shares[None, :], mask=inside)
