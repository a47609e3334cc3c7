"""``intfit bench``: the comparisons in the README, to repeat."""

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import batch
from ..batch import Job
from ..errors import UsageError
from ..report import Reporter, printable, value
from ..settings import Settings
from . import options as opt
from .options import FIT, MESSAGES, NETWORK, Sectioned, option
from .run import guarded

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Repeat the comparisons in the README."
)


@app.callback()
def top() -> None:
    """Repeat the comparisons in the README."""


def halved(data: bytes) -> bytes:
    """An image at half its size, by area averaging, as a PNG.

    Raises:
        UsageError: if the input is no image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (UnidentifiedImageError, OSError):
        raise UsageError("--half is for images") from None
    buffer = io.BytesIO()
    image.reduce(2).save(buffer, "PNG")
    return buffer.getvalue()


@app.command(cls=Sectioned, no_args_is_help=True)
def teachers(
    files: Annotated[list[str], typer.Argument(help="Images, recordings or meshes.")],
    seconds: Annotated[
        float, option("--seconds", panel=FIT, text="To fit, for each teacher.")
    ] = 60.0,
    half: Annotated[
        bool, option("--half", panel=FIT, text="Halve images first, by area averaging.")
    ] = False,
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness.")] = 0,
    width: Annotated[
        int | None, option("--width", panel=NETWORK, text="Neurons in a layer.")
    ] = None,
    depth: Annotated[int | None, option("--depth", panel=NETWORK, text="Sine layers.")] = None,
    omega_first: Annotated[
        float | None, option("--omega-first", panel=NETWORK, text="Frequency of the first.")
    ] = None,
    lr: Annotated[
        float | None, option("--lr", panel=NETWORK, text="Learning rate at its highest.")
    ] = None,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    as_json: Annotated[
        bool, option("--json", panel=MESSAGES, text="One JSON object a line, on stdout.")
    ] = False,
    debug: opt.Debug = False,
) -> None:
    """Compare the teachers: same network, same seconds, same machine, one run.

    Full batches, uniform draws, INT as published (dense; step + incremental) and the default.

    \b
    Example:
      intfit bench teachers kodim04.png --half --seconds 60 --width 64 --depth 6
    """
    report = Reporter(as_json=as_json)
    settings = Settings(
        max_time=seconds, width=width, depth=depth, omega_first=omega_first, lr=lr, seed=seed,
        device=device, threads=threads,
    )  # fmt: skip
    with guarded(report, debug):
        for name in files:
            data = batch.read(Job(Path(name), None))
            from ..bench.teachers import compare

            data = halved(data) if half else data
            if not as_json:
                print(f"{printable(name)}, {seconds:g} s each", flush=True)
            for row in compare(data, settings, suffix=Path(name).suffix):
                result = row.result
                line: dict[str, Any] = {
                    "input": name,
                    "teacher": row.teacher,
                    "metric": result.metric,
                    "distortion": round(result.distortion, 4),
                    "steps": result.steps,
                    "seconds": round(result.seconds, 3),
                    "parameters": result.parameters,
                    "device": result.device,
                    "seed": result.seed,
                }
                report.record(line)
                if not as_json:
                    figures = (
                        f"{value(result.metric, result.distortion):>12}  {result.steps:>7} steps"
                    )
                    print(f"  {row.teacher:24}{figures}", flush=True)
