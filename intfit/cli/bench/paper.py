"""``intfit bench paper``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...jobs.files import Job, check_output, read_named
from ...jobs.phrases import printable
from ...settings import Settings
from .. import options
from ..errors import report_errors
from ..options import FIT, OUTPUT, option
from ..report import Reporter, print_data
from . import tables, use_threads

if TYPE_CHECKING:
    from ...bench.teachers import Run
    from ...codecs.protocol import Prepared


def paper(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="An image, a recording, a mesh; made up where there is none."),
    ] = None,
    scale: Annotated[
        Literal["small", "full"],
        option(
            "--scale",
            panel=FIT,
            text="small: minutes on two cores. full: the paper's networks and steps, for a GPU.",
        ),
    ] = "small",
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness.")] = 0,
    plot: Annotated[
        Path | None,
        option("--plot", panel=OUTPUT, text="Draw the 1-D functions: .png, .svg, .pdf."),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    cpu_time: options.CpuTime = False,
    markdown: tables.Markdown = False,
    debug: options.Debug = False,
) -> None:
    """Repeat the tables of the INT paper beside the published figures.

    Full batches against greedy INT at equal steps, as in the paper; and, as an honest baseline,
    uniform draws of small batches in the seconds that INT took. Last the 1-D toy: a function that
    descends by itself through the final tangent kernel, beside the network's.

    \b
    Example:
      intfit bench paper kodim04.png bach.wav bunny.obj --scale small
    """
    report = Reporter()
    if cpu_time:
        device, threads = "cpu", 1
    now = time.process_time if cpu_time else time.monotonic
    settings = Settings(seed=seed, device=device, threads=threads)
    with report_errors(report, debug):
        from ...bench import paper as bench
        from ...bench import plots, toy

        if plot is not None:
            plots.check_format(plot)
            check_output(Job(None, plot), force=True)
        use_threads(threads)
        given = {name: read_named(name) for name in files or ()}
        sources = bench.collect_inputs(given, scale)

        ready = bench.prepare_input(sources["image"], "image", scale, settings)
        table = tables.Table([27, *[15] * 7], markdown=markdown)
        print_data(f"image: {_describe_input(sources['image'][0], ready)}")
        table.head("schedule", "seconds", "PSNR, dB", "paper: seconds", "PSNR, dB")
        runs: dict[str, Run] = {}
        with report.follow("image") as follow:
            for run in bench.run_schedules(ready, scale, now=now, follow=follow):
                runs[run.teacher] = run
                published = bench.SCHEDULES.get(run.teacher)
                cells = [f"{published[0]:.1f}", f"{published[1]:.2f}"] if published else ["-", "-"]
                figures = f"{run.end.seconds:.1f}", f"{run.end.quality:.2f}"
                table.row(_name_run(run), *figures, *cells)
        runs_of = {"image": (runs["full"], runs[bench.INT], runs["uniform"])}

        print_data("\nwithout INT, with INT at equal steps, uniform draws in INT's seconds")
        for part in ("audio", "megapixel", "shape"):
            ready = bench.prepare_input(sources[part], part, scale, settings)
            print_data(f"  {part}: {_describe_input(sources[part][0], ready)}")
            with report.follow(part) as follow:
                runs_of[part] = bench.run_modality(ready, part, scale, now=now, follow=follow)
        table.head("", "without", "with", "seconds", "uniform", "paper: without", "with", "seconds")
        for part, (without, with_int, uniform) in runs_of.items():
            (slow, before), (fast, after) = bench.PUBLISHED[part]
            digits = 4 if part == "shape" else 2
            qualities = [f"{run.end.quality:.{digits}f}" for run in (without, with_int, uniform)]
            share = with_int.end.seconds / without.end.seconds
            table.row(
                part, qualities[0], qualities[1], f"x {share:.2f}", qualities[2],
                f"{before:.{digits}f}", f"{after:.{digits}f}", f"x {fast / slow:.2f}",
            )  # fmt: skip
        tables.print_title(
            "dB (the recording: SNR, where the paper has PSNR), the shape IoU; of INT, "
            f"{bench.INT}, in pools {bench.POOLED}",
            markdown=markdown,
        )

        print_data("\n1-D: by the network's parameters, by itself through its tangent kernel")
        table.head("step", "error left", "by itself", "apart")
        moments = list(toy.train_both(seed))
        for moment in moments:
            left = (moment.error(moment.by_parameters), moment.error(moment.by_function))
            table.row(str(moment.step), *(f"{error:.4f}" for error in (*left, moment.difference)))
        if plot is not None:
            plots.save_figure(plots.draw_toy(moments), plot)


def _describe_input(name: str, ready: "Prepared") -> str:
    """An input and its network in a phrase."""
    plan = ready.plan
    return (
        f"{printable(name)}, {ready.signal.n} examples, SIREN {plan.width} x {plan.depth}, "
        f"{plan.steps} steps"
    )


def _name_run(run: "Run") -> str:
    """The first cell of a run's row."""
    names = {"full": "none (full batch)", "uniform": "uniform, equal time"}
    return names.get(run.teacher, run.teacher)
