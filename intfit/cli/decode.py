"""``intfit decode``."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from ..errors import IntfitError, UsageError
from ..jobs import tasks
from ..jobs.files import Job, decoded_name, is_nameless
from ..jobs.parallelism import Parallelism
from ..jobs.phrases import format_duration, format_size, printable
from ..jobs.tasks import Product
from ..targets import Asked, check_asked
from . import options
from .errors import report_errors
from .options import OUTPUT, option
from .report import Reporter
from .run import RunOptions, plan_jobs, run

DECODED_KEYS = (
    "input", "output", "ok", "error", "skipped", "kind", "bytes_in", "bytes_out", "seconds",
    "device", "notes",
)  # fmt: skip
"""The keys of `decode --json`, in order; null where one is not known."""

#: The headings of the options of each medium in the help.
IMAGE, AUDIO, MESH = "Image", "Audio", "Mesh"


def parse_numbers(flag: str, text: str, separator: str, count: int) -> list[float]:
    """The ``count`` numbers in ``text``, between separators, that a ``flag`` was given.

    Raises:
        UsageError: if there are more or fewer, or one is not a number below 1e9 in magnitude.
    """
    parts = text.lower().split(separator)
    try:
        values = [float(part) for part in parts]
        if len(values) != count:
            raise ValueError
    except ValueError:
        example = {"x": "640x480", ",": "0,0,128,128"}[separator]
        raise UsageError(f"{flag} {text!r} is not of the form {example}") from None
    if not all(abs(v) < 1e9 for v in values):
        raise UsageError(f"{flag} {text!r}: its numbers are not all below 1e9")
    return values


def parse_asked(asked: dict[str, Any]) -> Asked:
    """Read the texts of a size and a region in what was ``asked``, and check it all.

    Raises:
        UsageError: if two options contradict each other or one is out of its range.
    """
    check_asked(asked)
    if (size := asked["size"]) is not None:
        across, down = parse_numbers("--size", size, "x", 2)
        if across != int(across) or down != int(down) or min(across, down) < 1:
            raise UsageError(f"--size {size!r} is not in whole pixels")
        asked["size"] = (int(across), int(down))
    if asked["region"] is not None:
        asked["region"] = tuple(parse_numbers("--region", asked["region"], ",", 4))
    return cast("Asked", asked)


def decode(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files that encode wrote; - is stdin.")
    ] = None,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    files_from: options.FilesFrom = None,
    format_: Annotated[
        str | None,
        option(
            "--format",
            panel=OUTPUT,
            text="Format to write, by its suffix: png, flac, stl, ... (the output's otherwise).",
            metavar="EXT",
        ),
    ] = None,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    keep_going: options.KeepGoing = True,
    scale: Annotated[
        float | None, option("--scale", panel=IMAGE, text="Times the native size.")
    ] = None,
    size_text: Annotated[
        str | None, option("--size", panel=IMAGE, text="In pixels.", metavar="WxH")
    ] = None,
    region: Annotated[
        str | None,
        option("--region", panel=IMAGE, text="A part, in native pixels.", metavar="X,Y,W,H"),
    ] = None,
    sample_rate: Annotated[
        int | None,
        option("--sample-rate", panel=AUDIO, text="Instead of the original's.", metavar="HZ"),
    ] = None,
    start: Annotated[
        float | None, option("--start", panel=AUDIO, text="Begin here.", metavar="SECONDS")
    ] = None,
    seconds: Annotated[
        float | None, option("--duration", panel=AUDIO, text="This long.", metavar="SECONDS")
    ] = None,
    resolution: Annotated[
        int | None,
        option("--resolution", panel=MESH, text="Cells along the longest side (256)."),
    ] = None,
    voxel: Annotated[
        float | None, option("--voxel", panel=MESH, text="Side of a cell, in the mesh's units.")
    ] = None,
    faces: Annotated[
        int | None,
        option(
            "--faces", panel=MESH, text="At most so many: the surface is simplified.", metavar="N"
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        option(
            "--tolerance",
            panel=MESH,
            text="As few faces as are within this mean distance of the grid's, in % of the "
            "diagonal; 0 keeps all (default: a quarter of the field's own distance from the "
            "original; with --resolution or --voxel 0).",
            metavar="PERCENT",
        ),
    ] = None,
    texture: Annotated[
        int | None,
        option(
            "--texture",
            panel=MESH,
            text="Pixels along a side of the texture of a .glb file (the original's).",
            metavar="N",
        ),
    ] = None,
    watertight: Annotated[
        bool,
        option("--watertight", panel=MESH, text="Keep the caps that close the original's holes."),
    ] = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    limit: options.Limit = 1.0,
    jobs_text: options.Jobs = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Render each file back to an image, a recording or a mesh.

    \b
    Examples:
      intfit decode photo.png.safetensors        -> photo.decoded.png
      intfit decode photo.png.safetensors --scale 4 -o big.webp
      intfit decode speech.flac.safetensors --sample-rate 16000 -o - | aplay
      intfit decode bunny.obj.safetensors --resolution 384 -o bunny.stl
      intfit decode bunny.obj.safetensors --faces 5000
    """
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    suffix = options.read_suffix(format_) if format_ else None

    def renamed(source: Path, *, whole: bool = False) -> Path:
        return decoded_name(source, suffix or choose_native_suffix(source), whole=whole)

    with report_errors(report, debug):
        parallelism = Parallelism.parse(jobs_text, cluster, threads)
        asked = parse_asked(
            {
                "scale": scale, "size": size_text, "region": region,
                "sample_rate": sample_rate, "start": start, "duration": seconds,
                "resolution": resolution, "voxel": voxel, "faces": faces, "tolerance": tolerance,
                "texture": texture, "watertight": watertight or None,
            }
        )  # fmt: skip
        jobs = plan_jobs(
            files or [],
            files_from,
            output,
            output_dir,
            renamed=renamed,
            renamed_apart=partial(renamed, whole=True),
            as_json=as_json,
        )

        def summarise(job: Job, made: Product) -> None:
            line = made.values
            report.say(
                f"{printable(job.source_name)} {report.arrow} {printable(job.target_name)}  "
                f"{format_size(line['bytes_in'])} {report.arrow} {format_size(line['bytes_out'])}  "
                f"{made.size}  "
                f"{format_duration(line['seconds'])}  {line['device']}"
            )
            report.notes(line["notes"])

        with report.progress(show=True, total=len(jobs), several=parallelism.several) as display:
            run(
                jobs,
                partial(
                    tasks.decode,
                    asked=asked,
                    device=device,
                    threads=parallelism.threads,
                    limit=limit,
                ),
                RunOptions(report, DECODED_KEYS, force, keep_going, skip_existing, debug),
                suffix=lambda job: suffix or (job.target.suffix if job.target else ""),
                summarise=summarise,
                parallelism=parallelism,
                device=device,
                display=display,
            )


def choose_native_suffix(source: Path) -> str:
    """The suffix to write where none is asked for: the original's, if its format is lossless.

    A lossy one would lose quality a second time. A file that cannot be read gets an empty suffix
    here; the error is raised when the file is decoded.
    """
    from ..coding import container
    from ..media import medium

    if is_nameless(source):
        return ""  # reading a pipe would empty it
    try:
        module = medium(container.read_layout(source).header.medium)
    except (IntfitError, OSError):
        return ""
    named = Path(source.name.removesuffix(container.SUFFIX)).suffix.lower()
    return named if named in module.LOSSLESS else str(module.DEFAULT_SUFFIX)
