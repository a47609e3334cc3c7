"""The Triton kernels of :mod:`.fused`; to be imported only where Triton is.

They work on any number of networks of one architecture: the last axis of a grid goes over these,
and what differs between networks follows one another in memory, ``[n, ...]``.

They see a network as one vector of parameters: for every layer a matrix, a row for each output, and
a vector, all padded with zeros to sides that are powers of two; the skip comes last. So loads need
no masks, and their addresses are known at compile time: fewer instructions, and registers.
Gradients are laid out likewise.

Sizes that differ from one network to the next are not compile-time constants, or each network would
be compiled anew. ``total`` may be specialised: Triton only asks whether 16 divides it, which is so.
"""

import triton
import triton.language as tl

from .by_hand import WAVE

(SINES, SINE), (SLOPES, SLOPE) = WAVE
C0, C1, C2, C3, C4, C5 = map(tl.constexpr, (*map(float, SINES), SINE))
D0, D1, D2, D3, D4 = map(tl.constexpr, (*map(float, SLOPES), SLOPE))


@triton.jit
def gather(sources, scales, offsets, scaled, total, BLOCK: tl.constexpr):
    """Gather the parameters at addresses ``sources`` ``[n, total]``, scaled and offset.

    Address 0 stands for the padding.
    """
    first_parameter = tl.program_id(1).to(tl.int64) * total
    sources += first_parameter
    scaled += first_parameter
    indices = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = indices < total
    source = tl.load(sources + indices, mask=exists, other=0)
    values = tl.load(source.to(tl.pointer_type(tl.float32)), mask=source != 0, other=0.0)
    values *= tl.load(scales + indices, mask=exists, other=0.0)
    values += tl.load(offsets + indices, mask=exists, other=0.0)
    tl.store(scaled + indices, values, mask=exists)


@triton.jit(do_not_specialize=["programs"])
def scatter(
    partials, scales, destinations, programs, total, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Add the gradients of all ``programs``, scaled, to those at ``destinations`` ``[n, total]``.

    They are always added in the same order.
    """
    network = tl.program_id(1).to(tl.int64)
    partials += network * programs * total
    destinations += network * total
    indices = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    exists = indices < total
    sums = tl.zeros([COLUMNS], tl.float32)
    for first in range(0, programs, ROWS):
        rows = first + tl.arange(0, ROWS)
        parts = partials + rows.to(tl.int64)[:, None] * total + indices[None, :]
        inside = (rows < programs)[:, None] & exists[None, :]
        sums += tl.sum(tl.load(parts, mask=inside, other=0.0), 0)
    sums *= tl.load(scales + indices, mask=exists, other=0.0)
    destination = tl.load(destinations + indices, mask=exists, other=0)
    gradients = destination.to(tl.pointer_type(tl.float32))
    before = tl.load(gradients, mask=destination != 0, other=0.0)
    tl.store(gradients, before + sums, mask=destination != 0)


@triton.jit
def reduce_turns(turns):
    """Subtract whole turns, which float32 does exactly: sines need no reduction of their own."""
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
def load_part(base, rows, columns, height, width):
    """``[rows, columns]`` of a matrix ``[height, width]``; zeros beyond it."""
    inside = (rows < height)[:, None] & (columns < width)[None, :]
    return tl.load(base + rows[:, None] * width + columns[None, :], mask=inside, other=0.0)


@triton.jit
def accumulate(gradients, values, later):
    """Add ``values`` to ``gradients``, or where it is not ``later``, store them there."""
    again = tl.full(values.shape, 1, tl.int1) & later
    tl.store(gradients, values + tl.load(gradients, mask=again, other=0.0))


@triton.jit(do_not_specialize=["batch", "depth", "in_features", "out_features"])
def forward_backward(
    coords,
    targets,
    weights,
    errors,
    parameters,
    activations,
    partials,
    batch,
    depth,
    in_features,
    out_features,
    total,
    share,
    TILE: tl.constexpr,
    WIDTH: tl.constexpr,
    INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    L1: tl.constexpr,
    SKIP: tl.constexpr,
    PRECISION: tl.constexpr,
    EXACT: tl.constexpr,
):
    """Forward and backward pass of each network's ``batch``, a tile of ``TILE`` examples at a time.

    A program has its own activations, ``[depth - 1, TILE, WIDTH]`` of ``activations``, and its own
    gradients, ``[total]`` of ``partials``. An example's error counts as ``share`` in the loss.
    Outputs, which errors are measured by, are computed with ``EXACT`` products, all else with those
    of ``PRECISION``.
    """
    network = tl.program_id(1).to(tl.int64)
    coords += network * batch * in_features
    targets += network * batch * out_features
    weights += network * batch
    errors += network * batch
    parameters += network * total
    lines = tl.arange(0, TILE)
    neurons = tl.arange(0, WIDTH)
    ins = tl.arange(0, INPUTS)
    outs = tl.arange(0, OUTPUTS)
    first_weight = neurons[:, None] * INPUTS + ins[None, :]
    hidden_weight = neurons[:, None] * WIDTH + neurons[None, :]
    last_weight = outs[:, None] * WIDTH + neurons[None, :]
    skip_weight = outs[:, None] * INPUTS + ins[None, :]
    in_tile = lines[:, None] * WIDTH + neurons[None, :]
    hidden = WIDTH * INPUTS + WIDTH
    last = hidden + (depth - 1) * (WIDTH * WIDTH + WIDTH)
    skip = last + OUTPUTS * WIDTH + OUTPUTS
    program = network * tl.num_programs(0) + tl.program_id(0)
    activations += program * (depth - 1) * (TILE * WIDTH)
    partials += program * total
    for tile in range(tl.program_id(0), tl.cdiv(batch, TILE), tl.num_programs(0)):
        later = tile > tl.program_id(0)
        rows = tile * TILE + lines
        # phases of the first layer reach hundreds of turns: nothing less than float32 will do
        turns = tl.zeros([TILE, WIDTH], tl.float32)
        for k in range(in_features):
            x = tl.load(coords + rows * in_features + k, mask=rows < batch, other=0.0)
            turns += x[:, None] * tl.load(parameters + neurons * INPUTS + k)[None, :]
        turns = reduce_turns(turns + tl.load(parameters + WIDTH * INPUTS + neurons)[None, :])
        tl.debug_barrier()  # all threads are done with the last tile's activations
        for layer in range(depth - 1):
            tl.store(activations + layer * (TILE * WIDTH) + in_tile, turns)
            here = parameters + hidden + layer * (WIDTH * WIDTH + WIDTH)
            phases = tl.dot(
                sine(turns), tl.trans(tl.load(here + hidden_weight)), input_precision=PRECISION
            )
            turns = reduce_turns(phases + tl.load(here + WIDTH * WIDTH + neurons)[None, :])
        tl.debug_barrier()  # threads read each other's activations from here on
        waves = sine(turns)
        inputs = load_part(coords, rows, ins, batch, in_features)
        last_weights = tl.load(parameters + last + last_weight)
        values = tl.dot(waves, tl.trans(last_weights), input_precision=EXACT)
        values += tl.load(parameters + last + OUTPUTS * WIDTH + outs)[None, :]
        if SKIP:
            skip_weights = tl.load(parameters + skip + skip_weight)
            values += tl.dot(inputs, tl.trans(skip_weights), input_precision=EXACT)
        difference = values - load_part(targets, rows, outs, batch, out_features)
        tl.store(errors + rows, tl.sum(tl.abs(difference), 1), mask=rows < batch)
        counts = share * tl.load(weights + rows, mask=rows < batch, other=0.0)
        if L1:
            error = tl.where(difference > 0, 1.0, tl.where(difference < 0, -1.0, 0.0))
        else:
            error = 2 * difference
        error *= counts[:, None]
        if SKIP:
            skip_gradient = tl.dot(tl.trans(error), inputs, input_precision=PRECISION)
            accumulate(partials + skip + skip_weight, skip_gradient, later)
        last_gradient = tl.dot(tl.trans(error), waves, input_precision=PRECISION)
        accumulate(partials + last + last_weight, last_gradient, later)
        accumulate(partials + last + OUTPUTS * WIDTH + outs, tl.sum(error, 0), later)
        delta = tl.dot(error, last_weights, input_precision=PRECISION) * slope(turns)
        for above in range(depth - 1):
            below = depth - 2 - above
            turns = tl.load(activations + below * (TILE * WIDTH) + in_tile)
            place = hidden + below * (WIDTH * WIDTH + WIDTH)
            gradient = tl.dot(tl.trans(delta), sine(turns), input_precision=PRECISION)
            accumulate(partials + place + hidden_weight, gradient, later)
            accumulate(partials + place + WIDTH * WIDTH + neurons, tl.sum(delta, 0), later)
            layer_weights = tl.load(parameters + place + hidden_weight)
            delta = tl.dot(delta, layer_weights, input_precision=PRECISION) * slope(turns)
        first_gradient = tl.dot(tl.trans(delta), inputs, input_precision=PRECISION)
        accumulate(partials + first_weight, first_gradient, later)
        accumulate(partials + WIDTH * INPUTS + neurons, tl.sum(delta, 0), later)
