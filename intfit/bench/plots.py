"""Pictures of a comparison of teachers, as a paper would print them."""

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

#: Settings of the type, for a page's width.
STYLE: Any = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.spines.top": False,
    "axes.spines.right": False, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "legend.frameon": False, "savefig.dpi": 200, "svg.fonttype": "none",
}  # fmt: skip
#: A page's width and the heights of its rows, in inches.
WIDTH, CURVES = 10.0, 3.1
#: Colours that tell rivals apart in print and to the colour-blind (Okabe and Ito), most telling
#: first; further ones repeat them, dashed.
COLOURS = ("#000000", "#56B4E9", "#0072B2", "#999999", "#E69F00", "#009E73", "#CC79A7", "#8C564B")
#: The default's.
OURS = "#D55E00"
#: Points that a mean over seeds is drawn through.
DENSE = 200


def canvas(width: float, height: float) -> Any:
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


def check(path: Path) -> None:
    """Raise UsageError, before hours of work, where a figure cannot be written in this format."""
    known = canvas(1, 1).canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise UsageError(f"--plot {str(path)!r}: try .png, .svg or .pdf")


def save(figure: Any, path: Path) -> None:
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


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each teacher's line looks."""
    others = [name for name in names if name != "default"]
    styles: dict[str, dict[str, Any]] = {
        name: {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": ("-", "--", ":")[index // len(COLOURS) % 3],
        }
        for index, name in enumerate(others)
    }
    return styles | {"default": {"color": OURS, "linewidth": 2.0, "zorder": 5}}


def _band(axes: Any, runs: Sequence[Run], along: str, style: dict[str, Any], label: str) -> None:
    """The mean of ``runs`` as a line, and the span from the worst to the best."""
    curves = [
        ([getattr(p, along) for p in run.points], [p.quality for p in run.points]) for run in runs
    ]
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if first >= last:  # fits too short for a curve
        axes.plot([last], [np.mean([y[-1] for _, y in curves])], marker="o", label=label, **style)
        return
    x = np.linspace(first, last, DENSE) if along == "seconds" else np.geomspace(first, last, DENSE)
    every = np.stack([np.interp(x, *curve) for curve in curves])
    axes.plot(x, every.mean(axis=0), label=label, **style)
    if len(runs) > 1:
        low, high = every.min(axis=0), every.max(axis=0)
        axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _curves(figure: Any, ready: Prepared, runs: Sequence[Run]) -> None:
    """Quality against seconds and steps; ratio and interval against steps."""
    from matplotlib import ticker

    names = list(dict.fromkeys(run.teacher for run in runs))
    styles = _styles(names)
    unit = {"iou": "IoU"}.get(ready.signal.metric, f"{ready.signal.metric.upper()} (dB)")
    by_time, by_step, schedules = figure.subplots(1, 3)
    for name in names:
        mine = [run for run in runs if run.teacher == name]
        _band(by_time, mine, "seconds", styles[name], name)
        _band(by_step, mine, "step", styles[name], name)
    # what lies far below the rest at the start must not flatten the rest
    ends = [run.end.quality for run in runs]
    starts = [run.points[len(run.points) // 4].quality for run in runs]
    room = max(max(ends) - min(starts), 1e-3) * 0.06
    for axes in (by_time, by_step):
        axes.set(ylabel=unit, ylim=(min(starts) - room, max(ends) + room))
        axes.grid(linewidth=0.3, alpha=0.6)
    by_time.set(title="(a) quality in time", xlabel="seconds of the fit")
    by_step.set(title="(b) quality by step", xlabel="steps", xscale="log")
    figure.legend(*by_time.get_legend_handles_labels(), loc="outside lower center", ncols=9)
    intervals = schedules.twinx()
    intervals.spines["right"].set_visible(True)
    for name in names:
        run = next(run for run in runs if run.teacher == name)
        steps = [point.step for point in run.points]
        ratios, gaps = ([getattr(p, what) for p in run.points] for what in ("ratio", "interval"))
        if not _selects(run):
            continue
        schedules.plot(steps, ratios, label=name, **styles[name])
        intervals.plot(steps, gaps, alpha=0.7, **(styles[name] | {"linestyle": ":"}))
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
    """Whether some examples count more than others in a run."""
    return min(point.ratio for point in run.points) < 1


def _shown(values: NDArray[np.float32], ready: Prepared) -> NDArray[Any]:
    """A picture of ``[n, c]`` in [-1, 1] for the screen, without alpha."""
    pixels = ((values.clip(-1, 1) + 1) / 2).reshape(*ready.signal.shape, -1)
    shown: NDArray[Any] = pixels[..., 0] if pixels.shape[-1] < 3 else pixels[..., :3]
    return shown


def _picture(axes: Any, picture: NDArray[Any], title: str, *, under: str = "") -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, pad=3)
    axes.set_xlabel(under, labelpad=2)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _maps(figure: Any, ready: Prepared, runs: Sequence[Run]) -> None:
    """What each teacher chose, one column each, one row a moment."""
    grid = figure.subplots(len(MOMENTS), len(runs), squeeze=False)
    for row, moment in zip(grid, MOMENTS, strict=True):
        for axes, run in zip(row, runs, strict=True):
            indices = run.chosen.get(moment)
            title = f"{run.teacher}, {moment:.0%}"
            if indices is None:
                axes.set_axis_off()
            elif isinstance(ready.signal, DistanceSamples):
                points = ready.signal.points[indices[:: max(1, len(indices) // 4000)].numpy()]
                axes.scatter(points[:, 0], points[:, 1], s=0.3, color=OURS, linewidths=0)
                axes.set(aspect="equal", xticks=[], yticks=[])
                axes.set_title(title, pad=3)
            else:
                drawn, _ = medium(ready.kind).draw_selection(ready.signal, indices.numpy())
                _picture(axes, np.asarray(Image.open(io.BytesIO(drawn))), title)


def _strip(figure: Any, ready: Prepared, runs: Sequence[Run], columns: int) -> None:
    """The original, and what each teacher's field holds at the end."""
    grid = figure.subplots(-(-(1 + len(runs)) // columns), columns, squeeze=False).flat
    assert isinstance(ready.signal, Grid)
    _picture(next(grid), _shown(ready.signal.targets(), ready), "original")
    for run in runs:
        assert run.values is not None
        metric = ready.signal.metric.upper()
        under = f"{metric} {run.end.quality:.1f} dB"
        _picture(next(grid), _shown(run.values.numpy(), ready), f"{run.teacher}: {under}")
    for axes in grid:
        axes.set_axis_off()


def draw(ready: Prepared, runs: Sequence[Run], name: str) -> Any:
    """A figure of one input: curves, schedules, selections and, of an image, what each made of it.

    Raises:
        UsageError: where matplotlib is missing.
    """
    most = max(run.share for run in runs)
    runs = [run for run in runs if run.share == most]
    firsts = [run for run in runs if run.seed == runs[0].seed]
    selecting = [run for run in firsts if run.chosen and _selects(run)][:5]
    made = [run for run in firsts if run.values is not None]
    shape = ready.signal.shape or (1, 1)
    aspect = shape[0] / shape[1] if len(shape) == 2 else 0.2
    columns = 5
    heights = [CURVES]
    if selecting:
        heights.append(len(MOMENTS) * (WIDTH / len(selecting) * aspect + 0.25))
    if made:
        heights.append(-(-(1 + len(made)) // columns) * (WIDTH / columns * aspect + 0.25))
    figure = canvas(WIDTH, sum(heights) + 0.3)
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure.suptitle(name, fontsize=9)
        rows = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
        _curves(next(rows), ready, runs)
        if selecting:
            _maps(next(rows), ready, selecting)
        if made:
            _strip(next(rows), ready, made, columns)
    return figure


def toy(moments: Sequence[Moment]) -> Any:
    """The two functions of the toy at each moment, a panel each.

    Raises:
        UsageError: where matplotlib is missing.
    """
    figure = canvas(WIDTH, 2.1)
    from matplotlib import rc_context

    with rc_context(STYLE):
        row = figure.subplots(1, len(moments), sharey=True)
        for axes, moment in zip(row, moments, strict=True):
            axes.plot(moment.points, moment.target, color="#999999", label="target")
            axes.plot(moment.points, moment.by_parameters, color=COLOURS[2], label="parameters")
            axes.plot(
                moment.points, moment.by_function, color=OURS, linestyle="--",
                label="function, through the tangent kernel",
            )  # fmt: skip
            axes.set(title=f"step {moment.step}", xticks=[-3, 0, 3])
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
