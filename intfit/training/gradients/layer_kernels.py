"""The Triton kernels of :mod:`.layered`; to be imported only where Triton is.

A kernel works on one layer of all networks. Parameters and gradients are laid out as
:mod:`.kernels` says. ``turns`` are the phases of all layers ``[n, depth, rows, WIDTH]``, reduced to
half a turn at most, and ``deltas`` the gradients of the loss by them, times the ``share`` that an
example has in it. A grid's last axis goes over networks, which have ``batch`` of ``rows`` each.

Phases and deltas are of any floating type. The ``matrices`` of the forward pass have that in which
it multiplies, those of the backward pass the deltas'; sums of products are float32.
"""

import triton
import triton.language as tl

from .kernels import load_part, reduce_turns, sine, slope


@triton.jit(do_not_specialize=["batch", "rows", "depth", "in_features"])
def first_layer(
    coords, parameters, turns, batch, rows, depth, in_features, total,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    """The phases of the first layer: they reach hundreds of turns, so no product of less digits."""
    network = tl.program_id(1).to(tl.int64)
    coords += network * batch * in_features
    parameters += network * total
    turns += network * depth * rows * WIDTH
    lines = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    neurons = tl.arange(0, WIDTH)
    sums = tl.zeros([ROWS, WIDTH], tl.float32)
    for k in range(in_features):
        x = tl.load(coords + lines * in_features + k, mask=lines < batch, other=0.0)
        sums += x[:, None] * tl.load(parameters + neurons * INPUTS + k)[None, :]
    found = reduce_turns(sums + tl.load(parameters + WIDTH * INPUTS + neurons)[None, :])
    address = turns + lines[:, None] * WIDTH + neurons[None, :]
    tl.store(address, found, mask=(lines < batch)[:, None])


@triton.jit(do_not_specialize=["batch", "rows", "depth", "layer"])
def hidden_layer(
    parameters, matrices, turns, batch, rows, depth, layer, place, total,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The phases of ``layer``, whose parameters begin at ``place``, from those below it."""
    network = tl.program_id(2).to(tl.int64)
    parameters += network * total + place
    matrices += network * total + place
    after = turns + (network * depth + layer) * rows * WIDTH
    before = turns + (network * depth + layer - 1) * rows * WIDTH
    lines = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (lines < batch)[:, None]
    phases = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, WIDTH, STEP):
        inner = first + tl.arange(0, STEP)
        x = tl.load(before + lines[:, None] * WIDTH + inner[None, :], mask=inside, other=0.0)
        weights = tl.load(matrices + columns[:, None] * WIDTH + inner[None, :])
        waves = sine(x.to(tl.float32)).to(weights.dtype)
        phases = tl.dot(waves, tl.trans(weights), phases, input_precision=PRECISION)
    phases += tl.load(parameters + WIDTH * WIDTH + columns)[None, :]
    address = after + lines[:, None] * WIDTH + columns[None, :]
    tl.store(address, reduce_turns(phases), mask=inside)


@triton.jit(do_not_specialize=["batch", "rows", "depth", "in_features", "out_features"])
def output_layer(
    coords, targets, weights, errors, parameters, turns, output_deltas,
    batch, rows, depth, place, in_features, out_features, total,
    ROWS: tl.constexpr, STEP: tl.constexpr, WIDTH: tl.constexpr, INPUTS: tl.constexpr,
    OUTPUTS: tl.constexpr, L1: tl.constexpr, SKIP: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """The errors, and the gradients of the loss by the outputs ``[n, rows, OUTPUTS]``."""
    network = tl.program_id(1).to(tl.int64)
    coords += network * batch * in_features
    targets += network * batch * out_features
    weights += network * batch
    errors += network * batch
    parameters += network * total + place
    last = turns + (network * depth + depth - 1) * rows * WIDTH
    output_deltas += network * rows * OUTPUTS
    lines = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    outs = tl.arange(0, OUTPUTS)
    inside = (lines < batch)[:, None]
    values = tl.zeros([ROWS, OUTPUTS], tl.float32)
    for first in range(0, WIDTH, STEP):
        inner = first + tl.arange(0, STEP)
        x = tl.load(last + lines[:, None] * WIDTH + inner[None, :], mask=inside, other=0.0)
        own = tl.load(parameters + outs[:, None] * WIDTH + inner[None, :])
        values = tl.dot(sine(x.to(tl.float32)), tl.trans(own), values, input_precision=EXACT)
    values += tl.load(parameters + OUTPUTS * WIDTH + outs)[None, :]
    if SKIP:
        ins = tl.arange(0, INPUTS)
        skip = parameters + OUTPUTS * WIDTH + OUTPUTS
        skip_weights = tl.load(skip + outs[:, None] * INPUTS + ins[None, :])
        inputs = load_part(coords, lines, ins, batch, in_features)
        values = tl.dot(inputs, tl.trans(skip_weights), values, input_precision=EXACT)
    difference = values - load_part(targets, lines, outs, batch, out_features)
    tl.store(errors + lines, tl.sum(tl.abs(difference), 1), mask=lines < batch)
    counts = tl.load(weights + lines, mask=lines < batch, other=0.0)
    if L1:
        error = tl.where(difference > 0, 1.0, tl.where(difference < 0, -1.0, 0.0))
    else:
        error = 2 * difference
    address = output_deltas + lines[:, None] * OUTPUTS + outs[None, :]
    tl.store(address, error * counts[:, None], mask=inside)


@triton.jit(do_not_specialize=["batch", "rows", "depth", "layer", "layers_above"])
def backward_layer(
    matrices, above, turns, deltas, batch, rows, depth, layer, layers_above, place, total,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, WIDTH: tl.constexpr,
    ABOVE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The deltas of ``layer``, from those of the layer ``above`` it.

    These are ``[n, layers_above, rows, ABOVE]``; the weights between the two begin at ``place``.
    """
    network = tl.program_id(2).to(tl.int64)
    matrices += network * total + place
    above += network * layers_above * rows * ABOVE
    here = (network * depth + layer) * rows * WIDTH
    lines = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (lines < batch)[:, None]
    sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    for first in range(0, ABOVE, STEP):
        inner = first + tl.arange(0, STEP)
        delta = tl.load(above + lines[:, None] * ABOVE + inner[None, :], mask=inside, other=0.0)
        weights = tl.load(matrices + inner[:, None] * WIDTH + columns[None, :])
        sums = tl.dot(delta, weights, sums, input_precision=PRECISION)
    address = here + lines[:, None] * WIDTH + columns[None, :]
    sums *= slope(tl.load(turns + address, mask=inside, other=0.0).to(tl.float32))
    tl.store(deltas + address, sums, mask=inside)


@triton.jit(do_not_specialize=["batch", "rows", "layers", "layers_above", "splits"])
def weight_gradients(
    above, turns, partials, batch, rows, layers, layers_above, place, splits, total, share,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, WIDTH: tl.constexpr,
    ABOVE: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of weights and biases: of ``GROUP`` layers in a row, the first one at ``place``.

    From the deltas ``above`` ``[n, layers_above, rows, ABOVE]``, and from the phases below them,
    ``turns`` ``[n, layers, rows, WIDTH]``. Every one of ``splits`` has gradients of its own.
    """
    network = tl.program_id(2).to(tl.int64) // GROUP
    layer = tl.program_id(2) % GROUP
    above += (network * layers_above + layer) * rows * ABOVE
    turns += (network * layers + layer) * rows * WIDTH
    split = tl.program_id(1)
    partials += (network * splits + split) * total + place + layer * (ABOVE * WIDTH + ABOVE)
    outs = tl.program_id(0) // (WIDTH // COLUMNS) * ROWS + tl.arange(0, ROWS)
    block = tl.program_id(0) % (WIDTH // COLUMNS)
    columns = block * COLUMNS + tl.arange(0, COLUMNS)
    sums = tl.zeros([ROWS, COLUMNS], tl.float32)
    biases = tl.zeros([ROWS], tl.float32)
    for first in range(split * STEP, batch, splits * STEP):
        lines = first + tl.arange(0, STEP)
        inside = (lines < batch)[:, None]
        delta = tl.load(above + lines[:, None] * ABOVE + outs[None, :], mask=inside, other=0.0)
        x = tl.load(turns + lines[:, None] * WIDTH + columns[None, :], mask=inside, other=0.0)
        waves = sine(x.to(tl.float32)).to(delta.dtype)
        sums = tl.dot(tl.trans(delta), waves, sums, input_precision=PRECISION)
        biases += tl.sum(delta.to(tl.float32), 0)
    tl.store(partials + outs[:, None] * WIDTH + columns[None, :], share * sums)
    tl.store(partials + ABOVE * WIDTH + outs, share * biases, mask=(outs < ABOVE) & (block == 0))


@triton.jit(do_not_specialize=["batch", "rows", "layers_above", "splits", "in_features"])
def input_gradients(
    above, coords, partials, batch, rows, layers_above, place, splits, in_features, total, share,
    ROWS: tl.constexpr, STEP: tl.constexpr, INPUTS: tl.constexpr, ABOVE: tl.constexpr,
    BIASED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """As :func:`weight_gradients`, of weights that multiply the coordinates."""
    network = tl.program_id(2).to(tl.int64)
    above += network * layers_above * rows * ABOVE
    coords += network * batch * in_features
    split = tl.program_id(1)
    partials += (network * splits + split) * total + place
    outs = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    ins = tl.arange(0, INPUTS)
    sums = tl.zeros([ROWS, INPUTS], tl.float32)
    biases = tl.zeros([ROWS], tl.float32)
    for first in range(split * STEP, batch, splits * STEP):
        lines = first + tl.arange(0, STEP)
        delta = load_part(above, lines, outs, batch, ABOVE).to(tl.float32)
        inputs = load_part(coords, lines, ins, batch, in_features)
        sums = tl.dot(tl.trans(delta), inputs, sums, input_precision=PRECISION)
        biases += tl.sum(delta, 0)
    tl.store(partials + outs[:, None] * INPUTS + ins[None, :], share * sums)
    if BIASED:
        tl.store(partials + ABOVE * INPUTS + outs, share * biases)
