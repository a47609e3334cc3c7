"""``intfit bench speed``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ...jobs.files import read_named
from ...settings import MAX_DEPTH, MAX_WIDTH
from .. import options
from ..errors import report_errors
from ..options import FIT, option
from ..report import Reporter, print_data
from . import tables, use_threads

if TYPE_CHECKING:
    from ...bench.speed import Cost

#: The columns of the table, and how wide they are below :data:`HEADING`.
COLUMNS = (
    "network", "batch", "ms a step", "1000 examples a second", "G multiply-adds a second",
    "% of the machine", "times plain", "matrix products, %", "sines, %", "draws, %",
    "optimizer, %", "rest, %",
)  # fmt: skip
WIDTHS = (9, 6, 8, 10, 11, 9, 7, 4, 4, 4, 4, 4)
#: The heading of the table on a terminal.
HEADING = (
    "                     ms  1000 ex.  G m.-adds     % of  times  parts of a step, %\n"
    "network   batch  a step  a second   a second  machine  plain mat sin drw opt etc"
)


def speed(
    shapes: Annotated[
        str | None,
        option(
            "--shapes",
            panel=FIT,
            text="Width, depth and batch of each (the presets' and others).",
            metavar="64x6x2048,...",
        ),
    ] = None,
    seconds: Annotated[
        float, option("--seconds", panel=FIT, text="To measure, for each.", min=0.1, max=3600)
    ] = 5.0,
    compare: Annotated[
        Path | None,
        option("--compare", panel=FIT, text="Exit with 1 if slower than this --json output."),
    ] = None,
    tolerance: Annotated[
        float,
        option("--tolerance", panel=FIT, text="What a ratio may fall by, in %.", min=0, max=100),
    ] = 15.0,
    threads: options.Threads = None,
    as_json: options.Json = False,
    markdown: tables.Markdown = False,
    debug: options.Debug = False,
) -> None:
    """Measure what a step of a fit costs on this CPU.

    Beside large matrix products, of the type that its hidden layers are multiplied in, and a plain
    PyTorch loop in float32, timed in turns in the same run. Parts of a step, timed alone: mat,
    matrix products; sin, sines and cosines; drw, drawing examples; opt, the optimizer; etc, the
    rest.

    \b
    Example:
      intfit bench speed --json > baseline.json
      intfit bench speed --compare baseline.json
    """
    report = Reporter(as_json=as_json)
    with report_errors(report, debug):
        wanted = _parse_shapes(shapes)
        text = None if compare is None else read_named(str(compare)).decode(errors="replace")
        from ...bench import speed as bench

        use_threads(threads)
        costs = [] if text is None else bench.read_baseline(text)
        baseline = {cost.shape: cost for cost in costs}
        wanted = wanted or list(baseline) or list(bench.SHAPES)
        if baseline and (missing := [shape for shape in wanted if shape not in baseline]):
            raise UsageError(f"--compare: it has no {'x'.join(map(str, missing[0]))}")
        table = tables.Table(WIDTHS, indent=0, markdown=markdown)
        slower, kind = False, None
        for index, shape in enumerate(wanted):
            network = f"{shape[0]} x {shape[1]}, batch {shape[2]}"
            with report.follow(network, position=index, total=len(wanted)) as follow:
                follow("measuring")
                cost = bench.measure_step(shape, seconds=seconds)
            report.record(asdict(cost))
            if not as_json:
                if cost.kind != kind:
                    kind = cost.kind
                    print_data(_describe_machine(cost))
                if not index and markdown:
                    table.head(*COLUMNS)
                elif not index:
                    print_data(HEADING)
                table.row(*_list_cells(cost))
            if not baseline:
                continue
            for name, before, now in bench.compare_ratios(baseline[shape], cost):
                fell = 100 * (1 - now / before)
                change = f"{name} {before:.3g} -> {now:.3g}, {-fell:+.0f} %"
                if fell > tolerance:
                    slower = True
                    report.error(f"{'x'.join(map(str, shape))}: slower: {change}")
                else:
                    report.say(f"  {change}")
        if slower:
            raise typer.Exit(1)


def _parse_shapes(text: str | None) -> list[tuple[int, int, int]]:
    """The widths, depths and batches in ``64x6x2048,...``; none where ``text`` is None.

    Raises:
        UsageError: if one is not of this form, or out of range.
    """
    if text is None:
        return []
    try:
        parts = [tuple(map(int, part.lower().split("x"))) for part in text.split(",")]
    except ValueError:
        parts = [()]
    limits = (MAX_WIDTH, MAX_DEPTH, 1 << 20)
    shapes: list[tuple[int, int, int]] = []
    for shape in parts:
        if len(shape) != 3 or not all(
            1 <= n <= most for n, most in zip(shape, limits, strict=True)
        ):
            raise UsageError(f"--shapes {text!r} is not of the form 64x6x2048,256x6x2048")
        shapes.append(shape)
    return shapes


def _describe_machine(cost: "Cost") -> str:
    """The machine's threads and rate in a line."""
    threads = "1 thread" if cost.threads == 1 else f"{cost.threads} threads"
    rate = f"{cost.matrix_rate / 1e9:.1f} G multiply-adds a second"
    return f"{threads}; large products of {cost.kind}: {rate}"


def _list_cells(cost: "Cost") -> list[str]:
    """A row of the table, as :data:`COLUMNS` names it."""
    shares = (cost.matrix, cost.sine, cost.draw, cost.adam, cost.rest)
    return [
        f"{cost.width} x {cost.depth}",
        str(cost.batch),
        f"{1000 * cost.seconds:.2f}",
        f"{cost.batch / cost.seconds / 1000:.0f}",
        f"{cost.multiply_adds / 1e9:.1f}",
        f"{100 * cost.of_matrix_rate:.0f}",
        f"{cost.times_plain:.2f}",
        *(f"{100 * share:.0f}" for share in shares),
    ]
