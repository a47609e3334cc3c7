"""``intfit bench``, and its command ``rd``."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import IntfitError, UsageError
from ...jobs.files import Job, check_output, read_named, write_output
from ...jobs.phrases import METRICS, RATES, format_metric, format_number, printable
from ...settings import Settings, check_settings
from .. import options
from ..errors import report_errors
from ..options import FIT, OUTPUT, Sectioned, option
from ..report import Reporter, print_data
from . import parse_numbers, tables
from .paper import paper
from .speed import speed
from .teachers import teachers

if TYPE_CHECKING:
    from ...bench.rd import Point

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Repeat the comparisons in the documentation."
)


@app.callback()
def top() -> None:
    """Repeat the comparisons in the documentation."""


app.command(cls=Sectioned, no_args_is_help=True)(teachers)
app.command(cls=Sectioned)(paper)
app.command(cls=Sectioned)(speed)


def _find_cache_folder() -> Path:
    """The folder that points are kept in unless ``--cache`` names another."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "intfit"


def name_columns(point: "Point") -> list[str]:
    """The heads of a table of points: codec, setting, bytes, rate and every metric."""
    metrics = (", ".join(filter(None, METRICS[metric])) for metric in point.distortion)
    return ["codec", "setting", "bytes", RATES[point.unit], *metrics]


def list_cells(point: "Point") -> list[str]:
    """A row of that table."""
    figures = (format_number(*pair) for pair in point.distortion.items())
    return [point.codec, point.setting, str(point.size), f"{point.rate:.3f}", *figures]


def describe_point(point: "Point") -> str:
    """A point in a line for a terminal."""
    figures = "  ".join(format_metric(*pair) for pair in point.distortion.items())
    return (
        f"  {point.codec:11}{point.setting:>9}{point.size:>9} B{point.rate:>9.3f} "
        f"{RATES[point.unit]}  {figures}"
    )


#: BD-rates by score, of which None has no quality in common.
Changes = dict[str, float | None]


def print_changes(compared: dict[str, Changes], *, of: str = "BD-rate", markdown: bool) -> None:
    """Print the BD-rates against each codec: ``PSNR -49.0 %, MS-SSIM -``, or a table of them."""
    if not compared:
        return
    scores = list(dict.fromkeys(score for changes in compared.values() for score in changes))
    if markdown:
        heads = [f"{of}, %, against", *(METRICS[score][0] for score in scores)]
        rows = [
            [codec, *("-" if (c := changes.get(s)) is None else f"{c:+.1f}" for s in scores)]
            for codec, changes in compared.items()
        ]
        tables.print_table([heads, *rows], markdown=True)
        return
    for codec, changes in compared.items():
        shown = {s: "-" if c is None else f"{c:+.1f} %" for s, c in changes.items()}
        text = ", ".join(f"{METRICS[score][0]} {change}" for score, change in shown.items())
        print_data(f"  {of} against {codec}: {text}")


def average(compared: Sequence[dict[str, Changes]]) -> dict[str, Changes]:
    """The means over files of the BD-rates against each codec that several of them have."""
    found: dict[str, Changes] = {}
    for codec in dict.fromkeys(codec for file in compared for codec in file):
        own = [file[codec] for file in compared if codec in file]
        if len(own) < 2:
            continue
        means: Changes = {}
        for score in dict.fromkeys(score for changes in own for score in changes):
            known = [c for changes in own if (c := changes.get(score)) is not None]
            means[score] = sum(known) / len(known) if known else None
        found[f"{codec} ({len(own)} files)"] = means
    return found


@app.command(cls=Sectioned, no_args_is_help=True)
def rd(
    files: Annotated[list[str], typer.Argument(help="Images, recordings or meshes.")],
    against: Annotated[
        str | None,
        option(
            "--against",
            panel=FIT,
            text="jpeg,webp,avif,jxl; mp3,vorbis,opus,aac; draco,draco-whole (all that fit the "
            "medium); also avif444,avif-psnr.",
            metavar="CODECS",
        ),
    ] = None,
    qualities: Annotated[
        str, option("--qualities", panel=FIT, text="Of intfit, as -q.", metavar="Q,Q,...")
    ] = "20,40,60,80",
    effort: Annotated[int, option("-e", "--effort", panel=FIT, text="Of intfit: 1 to 9.")] = 5,
    field: Annotated[
        options.FieldChoice, option("--field", panel=FIT, text="Of intfit, as in encode.")
    ] = "auto",
    tune: options.Tune = None,
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness.")] = 0,
    plot: Annotated[
        Path | None, option("--plot", panel=OUTPUT, text="Draw the curves: .png, .svg, .pdf.")
    ] = None,
    json_file: Annotated[
        Path | None, option("--json", panel=OUTPUT, text="Write every point here.")
    ] = None,
    cache: Annotated[
        Path | None,
        option("--cache", panel=OUTPUT, text="Keep results here, so that a run can go on."),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    markdown: tables.Markdown = False,
    debug: options.Debug = False,
) -> None:
    """Compare rate and distortion with the codecs people use.

    Every codec at several settings, each decoded and measured like the rest; BD-rate (less is
    better) over the qualities that both reach, by every score: PSNR, SSIMULACRA2 and MS-SSIM of
    images, SNR, Zimtohrli, ViSQOL and log-spectral distance of recordings. Draco comes after
    quadric decimation. An interrupted run goes on where it was. Needs the extra intfit[bench]; for
    AAC, intfit[aac]; for ViSQOL, which takes most of a run's time, intfit[visqol].

    \b
    Example:
      intfit bench rd kodim04.png --against jpeg,webp --plot rd.png
    """
    report = Reporter()
    with report_errors(report, debug):
        from ...bench import plots
        from ...bench import rd as bench
        from ...bench.rivals import RIVALS

        # before what takes hours
        if plot is not None:
            plots.check_format(plot)
        for path in filter(None, (plot, json_file)):
            check_output(Job(None, path), force=True)
        known = {name for names in RIVALS.values() for name in names}
        names = [name.strip().lower() for name in against.split(",")] if against else []
        if unknown := [name for name in names if name not in known]:
            raise UsageError(f"--against {unknown[0]!r} is not one of {', '.join(sorted(known))}")
        wanted = parse_numbers("--qualities", qualities, "20,40,60")
        settings = Settings(
            effort=effort,
            field=options.name_field(field),
            tune=tune,
            seed=seed,
            device=device,
            threads=threads,
        )
        for quality in wanted:
            check_settings(replace(settings, quality=quality))
        results: dict[str, tuple[str, list[Any]]] = {}
        failed = False
        table = tables.Table((), markdown=markdown)
        for position, name in enumerate(files):
            try:
                data = read_named(name)
                with report.follow(name, position=position, total=len(files)) as follow:
                    kind, stream = bench.measure_points(
                        data, Path(name).suffix, settings=settings, qualities=wanted, against=names,
                        cache=bench.Cache(cache or _find_cache_folder()), follow=follow,
                    )  # fmt: skip
                    tables.print_title(printable(name), markdown=markdown)
                    points = results.setdefault(name, (kind, []))[1]
                    for point in stream:
                        if isinstance(point, str):
                            report.say(f"  note: {point}")
                            continue
                        if markdown and not points:
                            table.head(*name_columns(point))
                        points.append(point)
                        if markdown:
                            table.row(*list_cells(point))
                        else:
                            print_data(describe_point(point))
            except IntfitError as error:
                if isinstance(error, UsageError):
                    raise
                report.error(f"{printable(name)}: {error}")
                results.pop(name, None)
                failed = True
                continue
            print_changes(bench.compare(points, kind), markdown=markdown)
        if len(results) > 1:
            means = average([bench.compare(p, kind) for kind, p in results.values()])
            print_changes(means, of="mean BD-rate", markdown=markdown)
        if json_file is not None:
            lines = [
                {"input": name, "kind": kind, **asdict(point)}
                for name, (kind, points) in results.items()
                for point in points
            ]
            text = json.dumps(lines, indent=1).encode()
            write_output(Job(None, json_file), text, force=True)
        if plot is not None and results:
            plots.save_figure(bench.draw_curves(results), plot)
        if failed:
            raise typer.Exit(1)
