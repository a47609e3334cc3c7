"""``intfit bench teachers``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ...errors import IntfitError, UsageError
from ...jobs.files import Job, check_output, read_named
from ...jobs.phrases import format_metric, printable
from ...settings import OptimizerName, Settings
from .. import options
from ..errors import report_errors
from ..options import FIT, MESSAGES, OUTPUT, TEACHER, option
from ..report import Reporter
from . import parse_numbers, tables, use_threads

if TYPE_CHECKING:
    from ...bench.teachers import Run, Summary


def teachers(
    files: Annotated[list[str], typer.Argument(help="Images, recordings or meshes.")],
    names: Annotated[
        str | None,
        option(
            "--teachers",
            panel=TEACHER,
            text="Of default, full, uniform, uniform:N (draws a step), uniform:P% (of all), evos, "
            "nint and greedy INT as RATIO+INTERVAL (step+incremental); nine of them otherwise.",
            metavar="NAME,...",
        ),
    ] = None,
    optimizer_names: Annotated[
        str | None,
        option(
            "--optimizers",
            panel=TEACHER,
            text="Of adam, soap and muon; every teacher with each of them. Otherwise the medium's "
            "own.",
            metavar="NAME,...",
        ),
    ] = None,
    grid: Annotated[
        bool, option("--grid", panel=TEACHER, text="Also every RATIO+INTERVAL of the INT paper.")
    ] = False,
    seconds: Annotated[
        float, option("--seconds", panel=FIT, text="To fit, for each teacher and seed.", min=0.1)
    ] = 60.0,
    steps: Annotated[
        int | None,
        option("--steps", panel=FIT, text="Equal steps, not equal seconds, as in papers.", min=1),
    ] = None,
    budgets: Annotated[
        str,
        option(
            "--budgets",
            panel=FIT,
            text="Fit in these shares of the seconds or steps, uniform excepted: 0.5,0.7,1.",
            metavar="SHARE,...",
        ),
    ] = "1",
    reach: Annotated[
        str | None,
        option("--reach", panel=FIT, text="Say when these qualities are reached.", metavar="Q,..."),
    ] = None,
    half: Annotated[
        bool, option("--half", panel=FIT, text="Halve images first, by area averaging.")
    ] = False,
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness, the first.")] = 0,
    seeds: Annotated[
        int, option("--seeds", panel=FIT, text="So many, from --seed on.", min=1, max=1000)
    ] = 1,
    width: options.Width = None,
    depth: options.Depth = None,
    omega_first: options.OmegaFirst = None,
    lr: options.LearningRate = None,
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            panel=OUTPUT,
            text="Draw curves, schedules, selections and reconstructions: .png, .svg or .pdf; "
            "with several inputs FILE-INPUT.png and so on. Needs intfit[bench].",
            metavar="FILE",
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    cpu_time: options.CpuTime = False,
    as_json: Annotated[
        bool,
        option("--json", panel=MESSAGES, text="One JSON object a point of a curve, on stdout."),
    ] = False,
    markdown: tables.Markdown = False,
    debug: options.Debug = False,
) -> None:
    """Compare the teachers: same network, same weights to start from, same seconds.

    Quality is measured on the whole signal, while the clock of the fit stands still. The table
    says how good each is at the end; the share of the time after which it is as good as uniform
    draws are at their end; and the share that choosing took.

    \b
    Examples:
      intfit bench teachers kodim04.png --half --seconds 60 --width 64 --depth 6
      intfit bench teachers bach.wav --teachers uniform,default --budgets 0.7,1
      intfit bench teachers kodim04.png --teachers default --optimizers adam,soap
    """
    report = Reporter(as_json=as_json)
    if cpu_time:
        device, threads = "cpu", 1
    settings = Settings(
        field="siren",
        max_time=None if steps else seconds, steps=steps,
        width=width, depth=depth, omega_first=omega_first, lr=lr, seed=seed,
        profile="open", device=device, threads=threads,
    )  # fmt: skip
    with report_errors(report, debug):
        shares = _parse_numbers_within("--budgets", budgets, low=0.01, high=1)
        qualities = _parse_numbers_within("--reach", reach, low=-200, high=200) if reach else []
        optimizers = _parse_optimizers(optimizer_names)
        from ...api import prepare
        from ...bench import plots
        from ...bench import teachers as bench

        use_threads(threads)
        if plot is not None:
            plots.check_format(plot)
            check_output(Job(None, plot), force=True)
        wanted = [name.strip() for name in names.split(",")] if names else list(bench.USUAL)
        wanted = list(dict.fromkeys([*wanted, *(bench.GRID if grid else ())]))
        for position, name in enumerate(files):
            try:
                data = read_named(name)
                data = bench.halve(data) if half else data
                ready = prepare(data, settings, suffix=Path(name).suffix)
                metric = ready.signal.metric
                network = f"{ready.plan.width} x {ready.plan.depth}"
                bound = f"{steps} steps" if steps else f"{seconds:g} s"
                if not as_json:
                    title = f"{printable(name)}, SIREN {network}, {bound} each"
                    tables.print_title(title, markdown=markdown)
                runs: list[Run] = []
                all_seeds = range(seed, seed + seeds)
                pictured = plot is not None and ready.kind == "image"
                with report.follow(name, position=position, total=len(files)) as follow:
                    for run in bench.compare(
                        ready, wanted, seeds=all_seeds, optimizers=optimizers, shares=shares,
                        keep_values=pictured, follow=follow,
                        now=time.process_time if cpu_time else time.monotonic,
                    ):  # fmt: skip
                        runs.append(run)
                        in_share = "" if run.share == 1 else f", {run.share:g} of it"
                        report.say(
                            f"  {run.name}, seed {run.seed}{in_share}: "
                            f"{format_metric(metric, run.end.quality)}"
                        )
                        about = {
                            "input": name,
                            "metric": metric,
                            "parameters": ready.config.count(),
                            "device": str(ready.device),
                        }
                        for line in _list_json_lines(run):
                            report.record(about | line)
                if not as_json:
                    rows = bench.summarise(runs, qualities=qualities)
                    _print_table(
                        rows, metric, qualities=qualities, seeds=seeds, shares=shares,
                        markdown=markdown,
                    )  # fmt: skip
                if plot is not None:
                    stem = plot.stem + (f"-{Path(name).stem}" if len(files) > 1 else "")
                    figure = plots.draw_comparison(ready, runs, Path(name).name)
                    plots.save_figure(figure, plot.with_stem(stem))
            except IntfitError as error:
                raise type(error)(f"{printable(name)}: {error}") from error


def _parse_numbers_within(flag: str, text: str, *, low: float, high: float) -> list[float]:
    """The numbers in ``0.5,0.7``, rising, each once.

    Raises:
        UsageError: if one is no number, or not in ``low`` to ``high``.
    """
    numbers = parse_numbers(flag, text, "0.5,0.7")
    if not all(low <= number <= high for number in numbers):
        raise UsageError(f"{flag} {text!r}: each lies in {low:g} to {high:g}")
    return numbers


def _parse_optimizers(text: str | None) -> list[OptimizerName | None]:
    """The optimizers named in ``adam,soap``; None alone where none is.

    Raises:
        UsageError: where there is no such optimizer.
    """
    if text is None:
        return [None]
    optimizers: list[OptimizerName | None] = []
    for name in dict.fromkeys(part.strip() for part in text.split(",")):
        known = next((each for each in get_args(OptimizerName) if each == name), None)
        if known is None:
            raise UsageError(f"--optimizers {name!r} is not adam, soap or muon")
        optimizers.append(known)
    return optimizers


def _list_json_lines(run: "Run") -> list[dict[str, Any]]:
    """The values of a JSON line for each point of a run's curve."""
    return [
        {
            "teacher": run.teacher,
            **({} if run.optimizer is None else {"optimizer": run.optimizer}),
            "seed": run.seed,
            "budget": run.share,
            "steps": point.step,
            "seconds": round(point.seconds, 3),
            "distortion": round(point.quality, 4),
            "ratio": round(point.ratio, 4),
            "interval": point.interval,
            "choosing": round(point.choosing, 4),
            "last": point is run.end,
        }
        for point in run.points
    ]


def _print_table(
    rows: "list[Summary]",
    metric: str,
    *,
    qualities: list[float],
    seeds: int,
    shares: list[float],
    markdown: bool,
) -> None:
    """Print a row for each teacher."""
    digits = 4 if metric == "iou" else 2
    unit = "IoU" if metric == "iou" else f"{metric.upper()}, dB"

    def format_known(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    heads = [unit, *(["lowest", "highest"] if seeds > 1 else []), "steps", "as uniform after"]
    heads += ["in a fit of"] if len(shares) > 1 else []
    heads += [*(f"to {quality:g}" for quality in qualities), "choosing"]
    table = [["teacher", *heads]]
    for row in rows:
        cells = [format(row.quality, f".{digits}f")]
        if seeds > 1:
            cells += [format(row.low, f".{digits}f"), format(row.high, f".{digits}f")]
        cells += [f"{row.steps:.0f}", format_known(row.catches_up, ".2f")]
        cells += [format_known(row.budget, ".2f")] if len(shares) > 1 else []
        cells += [format_known(each, ".1f") + (" s" if each else "") for each in row.reached]
        table.append([row.name, *cells, f"{100 * row.choosing:.1f} %"])
    tables.print_table(table, markdown=markdown)
