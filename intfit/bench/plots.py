"""Figures of a comparison of teachers, and of the toy of the INT paper; how figures are written."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..codecs.protocol import Prepared
from ..errors import IntfitError, UsageError
from ..media import medium
from ..signals import DistanceSamples, Grid
from .teachers import MOMENTS, Run
from .toy import Moment

#: Matplotlib's settings, for a figure as wide as a page.
STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "legend.frameon": False, "savefig.dpi": 200, "svg.fonttype": "none",
}  # fmt: skip
#: The width of a figure and the height of its row of curves, in inches.
WIDTH, CURVES_HEIGHT = 10.0, 3.1
#: Colours of the teachers but the default, distinct in print and for the colour-blind (Okabe and
#: Ito); more teachers repeat them, dashed.
COLOURS = ("#000000", "#56B4E9", "#0072B2", "#999999", "#E69F00", "#009E73", "#CC79A7", "#8C564B")
#: The default teacher's colour.
DEFAULT_COLOUR = "#D55E00"
#: The points that a mean over seeds is drawn through.
CURVE_POINTS = 200


def make_figure(width: float, height: float) -> Any:
    """An empty figure of these inches.

    Raises:
        UsageError: where matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("matplotlib is missing: pip install 'intfit[bench]'") from None
    with rc_context(STYLE):
        return Figure(figsize=(width, height), layout="constrained")


def check_format(path: Path) -> None:
    """Raise UsageError where a figure cannot be written in the format that a path names."""
    formats = make_figure(1, 1).canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise UsageError(f"--plot {str(path)!r}: try .png, .svg or .pdf")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format its suffix names.

    Raises:
        IntfitError: if it cannot be written.
    """
    from matplotlib import rc_context

    try:
        with rc_context(STYLE):
            figure.savefig(path)
    except (OSError, ValueError) as error:
        raise IntfitError(f"--plot {str(path)!r}: {error}") from None


def _choose_line_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Matplotlib's options for the line of each teacher."""
    others = [name for name in names if name != "default"]
    styles: dict[str, dict[str, Any]] = {
        name: {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": ("-", "--", ":")[index // len(COLOURS) % 3],
        }
        for index, name in enumerate(others)
    }
    return styles | {"default": {"color": DEFAULT_COLOUR, "linewidth": 2.0, "zorder": 5}}


def _draw_band(
    axes: Any, runs: Sequence[Run], x_name: str, style: dict[str, Any], label: str
) -> None:
    """Draw the mean of ``runs`` as a line, and the span from the worst to the best as a band.

    ``x_name`` is the attribute of a point that is the x axis: ``seconds`` or ``step``.
    """
    curves = [
        ([getattr(p, x_name) for p in run.points], [p.quality for p in run.points]) for run in runs
    ]
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if first >= last:  # a fit too short for a curve
        axes.plot([last], [np.mean([y[-1] for _, y in curves])], marker="o", label=label, **style)
        return
    x = (
        np.linspace(first, last, CURVE_POINTS)
        if x_name == "seconds"
        else np.geomspace(first, last, CURVE_POINTS)
    )
    qualities = np.stack([np.interp(x, *curve) for curve in curves])
    axes.plot(x, qualities.mean(axis=0), label=label, **style)
    if len(runs) > 1:
        low, high = qualities.min(axis=0), qualities.max(axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _draw_curves(figure: Any, prepared: Prepared, runs: Sequence[Run]) -> None:
    """Draw quality against seconds and steps, and ratio and interval against steps."""
    from matplotlib import ticker

    names = list(dict.fromkeys(run.name for run in runs))
    styles = _choose_line_styles(names)
    unit = {"iou": "IoU"}.get(prepared.signal.metric, f"{prepared.signal.metric.upper()} (dB)")
    by_time, by_step, schedules = figure.subplots(1, 3)
    for name in names:
        own = [run for run in runs if run.name == name]
        _draw_band(by_time, own, "seconds", styles[name], name)
        _draw_band(by_step, own, "step", styles[name], name)
    # low values at the start must not flatten the rest
    ends = [run.end.quality for run in runs]
    starts = [run.points[len(run.points) // 4].quality for run in runs]
    margin = max(max(ends) - min(starts), 1e-3) * 0.06
    for axes in (by_time, by_step):
        axes.set(ylabel=unit, ylim=(min(starts) - margin, max(ends) + margin))
        axes.grid(linewidth=0.3, alpha=0.6)
    by_time.set(title="(a) quality in time", xlabel="seconds of the fit")
    by_step.set(title="(b) quality by step", xlabel="steps", xscale="log")
    figure.legend(*by_time.get_legend_handles_labels(), loc="outside lower center", ncols=9)
    intervals = schedules.twinx()
    intervals.spines["right"].set_visible(True)
    for name in names:
        run = next(run for run in runs if run.name == name)
        steps = [point.step for point in run.points]
        ratios = [point.ratio for point in run.points]
        steps_between = [point.interval for point in run.points]
        if not _selects(run):
            continue
        schedules.plot(steps, ratios, label=name, **styles[name])
        intervals.plot(steps, steps_between, alpha=0.7, **(styles[name] | {"linestyle": ":"}))
    schedules.set(
        title="(c) ratio (lines) and interval (dots)", xlabel="steps", xscale="log",
        ylabel="ratio of the examples in play", ylim=(0, 1.04),
    )  # fmt: skip
    intervals.set(ylabel="steps between selections", yscale="log")
    for axis in (by_step.xaxis, schedules.xaxis, intervals.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(ticker.NullFormatter())


def _selects(run: Run) -> bool:
    """Whether a run's teacher selects examples."""
    return min(point.ratio for point in run.points) < 1


def _to_pixels(values: NDArray[np.float32], prepared: Prepared) -> NDArray[Any]:
    """The picture ``[H, W]`` or ``[H, W, 3]`` in [0, 1] of values ``[n, c]`` in [-1, 1].

    An alpha channel is left out.
    """
    pixels = ((values.clip(-1, 1) + 1) / 2).reshape(*prepared.signal.shape, -1)
    picture: NDArray[Any] = pixels[..., 0] if pixels.shape[-1] < 3 else pixels[..., :3]
    return picture


def _draw_picture(axes: Any, picture: NDArray[Any], title: str, *, under: str = "") -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, pad=3)
    axes.set_xlabel(under, labelpad=2)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_selections(figure: Any, prepared: Prepared, runs: Sequence[Run]) -> None:
    """Draw what each teacher selected: a column for each teacher, a row for each moment."""
    grid = figure.subplots(len(MOMENTS), len(runs), squeeze=False)
    for row, moment in zip(grid, MOMENTS, strict=True):
        for axes, run in zip(row, runs, strict=True):
            indices = run.selections.get(moment)
            title = f"{run.name}, {moment:.0%}"
            if indices is None:
                axes.set_axis_off()
            elif isinstance(prepared.signal, DistanceSamples):
                points = prepared.signal.points[indices[:: max(1, len(indices) // 4000)]]
                axes.scatter(points[:, 0], points[:, 1], s=0.3, color=DEFAULT_COLOUR, linewidths=0)
                axes.set(aspect="equal", xticks=[], yticks=[])
                axes.set_title(title, pad=3)
            else:
                drawn, _ = medium(prepared.kind).draw_selection(prepared.signal, indices.numpy())
                _draw_picture(axes, np.asarray(Image.open(io.BytesIO(drawn))), title)


def _draw_reconstructions(
    figure: Any, prepared: Prepared, runs: Sequence[Run], columns: int
) -> None:
    """Draw the original, and the network's values at the end of each of the ``runs``."""
    grid = figure.subplots(-(-(1 + len(runs)) // columns), columns, squeeze=False).flat
    assert isinstance(prepared.signal, Grid)
    _draw_picture(next(grid), _to_pixels(prepared.signal.targets(), prepared), "original")
    for run in runs:
        assert run.values is not None
        metric = prepared.signal.metric.upper()
        under = f"{metric} {run.end.quality:.1f} dB"
        _draw_picture(next(grid), _to_pixels(run.values.numpy(), prepared), f"{run.name}: {under}")
    for axes in grid:
        axes.set_axis_off()


def draw_comparison(prepared: Prepared, runs: Sequence[Run], name: str) -> Any:
    """A figure of the ``runs`` on one input, under its ``name``.

    Curves, schedules, selections and, of an image, reconstructions.

    Raises:
        UsageError: where matplotlib is missing.
    """
    largest_share = max(run.share for run in runs)
    runs = [run for run in runs if run.share == largest_share]
    first_seed = [run for run in runs if run.seed == runs[0].seed]
    selecting = [run for run in first_seed if run.selections and _selects(run)][:5]
    reconstructed = [run for run in first_seed if run.values is not None]
    shape = prepared.signal.shape or (1, 1)
    aspect = shape[0] / shape[1] if len(shape) == 2 else 0.2
    columns = 5
    heights = [CURVES_HEIGHT]
    if selecting:
        heights.append(len(MOMENTS) * (WIDTH / len(selecting) * aspect + 0.25))
    if reconstructed:
        heights.append(-(-(1 + len(reconstructed)) // columns) * (WIDTH / columns * aspect + 0.25))
    figure = make_figure(WIDTH, sum(heights) + 0.3)
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.suptitle(name, fontsize=9)
        rows = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        _draw_curves(next(rows), prepared, runs)
        if selecting:
            _draw_selections(next(rows), prepared, selecting)
        if reconstructed:
            _draw_reconstructions(next(rows), prepared, reconstructed, columns)
    return figure


def draw_toy(moments: Sequence[Moment]) -> Any:
    """A figure of the two functions of the toy, a panel for each moment.

    Raises:
        UsageError: where matplotlib is missing.
    """
    figure = make_figure(WIDTH, 2.1)
    from matplotlib import rc_context

    with rc_context(STYLE):
        row = figure.subplots(1, len(moments), sharey=True)
        for axes, moment in zip(row, moments, strict=True):
            axes.plot(moment.points, moment.target, color="#999999", label="target")
            axes.plot(moment.points, moment.by_parameters, color=COLOURS[2], label="parameters")
            axes.plot(
                moment.points, moment.by_function, color=DEFAULT_COLOUR, linestyle="--",
                label="function, through the tangent kernel",
            )  # fmt: skip
            axes.set(title=f"step {moment.step}", xticks=[-3, 0, 3])
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
