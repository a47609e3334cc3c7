"""The Triton kernels of :mod:`intfit.fields.fused`; importable only where Triton is.

They see a network as one vector of parameters: for every layer a matrix, a row for each output, and
a vector, all filled with zeros to sides that are powers of two, and the skip at the end. So loads
need no masks and their places are known when this is compiled: fewer instructions, and registers.
Gradients lie likewise.

Sizes that differ from one network to the next are not made part of the program, lest each has to be
compiled; but ``total`` may be, as Triton asks only whether 16 divides it, which it does.
"""

import triton
import triton.language as tl

from .by_hand import WAVE

(SINES, SINE), (SLOPES, SLOPE) = WAVE
C0, C1, C2, C3, C4, C5 = map(tl.constexpr, (*map(float, SINES), SINE))
D0, D1, D2, D3, D4 = map(tl.constexpr, (*map(float, SLOPES), SLOPE))


@triton.jit
def gather(sources, scales, shifts, folded, total, BLOCK: tl.constexpr):
    """Bring the parameters at addresses ``sources`` ``[total]`` together, scaled and shifted.

    Address 0 stands for what is filled with zeros.
    """
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = places < total
    source = tl.load(sources + places, mask=exists, other=0)
    values = tl.load(source.to(tl.pointer_type(tl.float32)), mask=source != 0, other=0.0)
    values *= tl.load(scales + places, mask=exists, other=0.0)
    values += tl.load(shifts + places, mask=exists, other=0.0)
    tl.store(folded + places, values, mask=exists)


@triton.jit(do_not_specialize=["programs"])
def scatter(
    partials, scales, destinations, programs, total, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Add the gradients of all ``programs``, scaled, to those at ``destinations`` ``[total]``.

    They are added up in the same order always.
    """
    places = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    exists = places < total
    found = tl.zeros([COLUMNS], tl.float32)
    for first in range(0, programs, ROWS):
        rows = first + tl.arange(0, ROWS)
        parts = partials + rows.to(tl.int64)[:, None] * total + places[None, :]
        inside = (rows < programs)[:, None] & exists[None, :]
        found += tl.sum(tl.load(parts, mask=inside, other=0.0), 0)
    found *= tl.load(scales + places, mask=exists, other=0.0)
    there = tl.load(destinations + places, mask=exists, other=0)
    gradients = there.to(tl.pointer_type(tl.float32))
    before = tl.load(gradients, mask=there != 0, other=0.0)
    tl.store(gradients, before + found, mask=there != 0)


@triton.jit
def reduced(turns):
    """Less whole turns, which float32 can do exactly: sines then need no reduction of their own."""
    return turns - tl.floor(turns + 0.5)


@triton.jit
def sine(turns):
    """cos(2 pi ``turns``), for half a turn at most."""
    # a polynomial, as on the CPU: CUDA's sinf keeps a slow path for large arguments, on the stack
    z = turns * turns
    return ((((z * C5 + C4) * z + C3) * z + C2) * z + C1) * z + C0


@triton.jit
def slope(turns):
    """The derivative of :func:`sine`."""
    z = turns * turns
    return ((((z * D4 + D3) * z + D2) * z + D1) * z + D0) * turns


@triton.jit
def part(base, rows, columns, height, breadth):
    """``[rows, columns]`` of a matrix ``[height, breadth]``; zeros beyond it."""
    inside = (rows < height)[:, None] & (columns < breadth)[None, :]
    return tl.load(base + rows[:, None] * breadth + columns[None, :], mask=inside, other=0.0)


@triton.jit
def add(gradients, values, later):
    """Add ``values`` to ``gradients``, or put them there, if it is not ``later``."""
    again = tl.full(values.shape, 1, tl.int1) & later
    tl.store(gradients, values + tl.load(gradients, mask=again, other=0.0))


@triton.jit(do_not_specialize=["batch", "depth", "inside", "outside"])
def descend(
    coords,
    targets,
    weights,
    errors,
    folded,
    kept,
    partials,
    batch,
    depth,
    inside,
    outside,
    total,
    share,
    TILE: tl.constexpr,
    WIDTH: tl.constexpr,
    INSIDE: tl.constexpr,
    OUTSIDE: tl.constexpr,
    L1: tl.constexpr,
    WEIGHTED: tl.constexpr,
    SKIP: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Forward and backward, a tile of ``TILE`` examples at a time.

    A program keeps its own activations, ``[depth - 1, TILE, WIDTH]`` of ``kept``, and its own
    gradients, ``[total]`` of ``partials``.
    """
    lines = tl.arange(0, TILE)
    neurons = tl.arange(0, WIDTH)
    ins = tl.arange(0, INSIDE)
    outs = tl.arange(0, OUTSIDE)
    entry = neurons[:, None] * INSIDE + ins[None, :]
    square = neurons[:, None] * WIDTH + neurons[None, :]
    leaving = outs[:, None] * WIDTH + neurons[None, :]
    aside = outs[:, None] * INSIDE + ins[None, :]
    tiled = lines[:, None] * WIDTH + neurons[None, :]
    hidden = WIDTH * INSIDE + WIDTH
    last = hidden + (depth - 1) * (WIDTH * WIDTH + WIDTH)
    skip = last + OUTSIDE * WIDTH + OUTSIDE
    program = tl.program_id(0).to(tl.int64)
    kept += program * (depth - 1) * (TILE * WIDTH)
    partials += program * total
    for tile in range(tl.program_id(0), tl.cdiv(batch, TILE), tl.num_programs(0)):
        later = tile > tl.program_id(0)
        rows = tile * TILE + lines
        # phases of the first layer reach hundreds of turns: nothing less than float32 will do
        turns = tl.zeros([TILE, WIDTH], tl.float32)
        for k in range(inside):
            x = tl.load(coords + rows * inside + k, mask=rows < batch, other=0.0)
            turns += x[:, None] * tl.load(folded + neurons * INSIDE + k)[None, :]
        turns = reduced(turns + tl.load(folded + WIDTH * INSIDE + neurons)[None, :])
        tl.debug_barrier()  # all threads are done with what the last tile kept
        for layer in range(depth - 1):
            tl.store(kept + layer * (TILE * WIDTH) + tiled, turns)
            forth = folded + hidden + layer * (WIDTH * WIDTH + WIDTH)
            phases = tl.dot(
                sine(turns), tl.trans(tl.load(forth + square)), input_precision=PRECISION
            )
            turns = reduced(phases + tl.load(forth + WIDTH * WIDTH + neurons)[None, :])
        tl.debug_barrier()  # what one thread has kept another may read
        waves = sine(turns)
        seen = part(coords, rows, ins, batch, inside)
        closing = tl.load(folded + last + leaving)
        values = tl.dot(waves, tl.trans(closing), input_precision=PRECISION)
        values += tl.load(folded + last + OUTSIDE * WIDTH + outs)[None, :]
        if SKIP:
            linear = tl.load(folded + skip + aside)
            values += tl.dot(seen, tl.trans(linear), input_precision=PRECISION)
        difference = values - part(targets, rows, outs, batch, outside)
        tl.store(errors + rows, tl.sum(tl.abs(difference), 1), mask=rows < batch)
        counts = tl.where(rows < batch, share, 0.0)
        if WEIGHTED:
            counts *= tl.load(weights + rows, mask=rows < batch, other=0.0)
        if L1:
            error = tl.where(difference > 0, 1.0, tl.where(difference < 0, -1.0, 0.0))
        else:
            error = 2 * difference
        error *= counts[:, None]
        if SKIP:
            straight = tl.dot(tl.trans(error), seen, input_precision=PRECISION)
            add(partials + skip + aside, straight, later)
        outer = tl.dot(tl.trans(error), waves, input_precision=PRECISION)
        add(partials + last + leaving, outer, later)
        add(partials + last + OUTSIDE * WIDTH + outs, tl.sum(error, 0), later)
        delta = tl.dot(error, closing, input_precision=PRECISION) * slope(turns)
        for above in range(depth - 1):
            below = depth - 2 - above
            turns = tl.load(kept + below * (TILE * WIDTH) + tiled)
            place = hidden + below * (WIDTH * WIDTH + WIDTH)
            inner = tl.dot(tl.trans(delta), sine(turns), input_precision=PRECISION)
            add(partials + place + square, inner, later)
            add(partials + place + WIDTH * WIDTH + neurons, tl.sum(delta, 0), later)
            back = tl.load(folded + place + square)
            delta = tl.dot(delta, back, input_precision=PRECISION) * slope(turns)
        first = tl.dot(tl.trans(delta), seen, input_precision=PRECISION)
        add(partials + entry, first, later)
        add(partials + WIDTH * INSIDE + neurons, tl.sum(delta, 0), later)
