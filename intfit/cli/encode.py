"""``intfit encode``."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..jobs import tasks
from ..jobs.files import (
    MEDIA_SUFFIXES,
    Job,
    encoded_name,
    expand_folders,
    place_output,
    refuse_collisions,
    write_output,
)
from ..jobs.parallelism import Parallelism
from ..jobs.phrases import printable
from ..jobs.tasks import Product, SelectionMap
from ..jobs.together import run_together
from ..schedules import RatioSchedule
from ..settings import (
    MetadataName,
    Precision,
    Profile,
    SelectionName,
    Settings,
    TeacherName,
    check_settings,
    searches_size,
)
from . import options
from .errors import report_errors
from .options import FIT, MESSAGES, NETWORK, OUTPUT, TEACHER, option
from .report import Reporter
from .run import RunOptions, plan_jobs, run

ENCODED_KEYS = (
    "input", "output", "ok", "error", "skipped", "kind", "bytes_in", "bytes_raw", "bytes_out",
    "samples", "parameters", "network", "bpp", "kbps", "bytes_per_1000_faces", "metric",
    "distortion", "steps", "seconds", "device", "teacher", "seed", "notes",
)  # fmt: skip
"""The keys of `encode --json`, in order; null where one does not apply or is not known."""


def encode(
    files: Annotated[
        list[str] | None, typer.Argument(help="Images, recordings or meshes; - is stdin.")
    ] = None,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    files_from: options.FilesFrom = None,
    recursive: Annotated[
        bool,
        option("-r", "--recursive", panel=OUTPUT, text="Of a folder, take the files in it."),
    ] = False,
    include: Annotated[
        list[str] | None,
        option(
            "--include",
            panel=OUTPUT,
            text="With -r: files of such names only, '*.png'; may be given several times.",
            metavar="PATTERN",
        ),
    ] = None,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    keep_going: options.KeepGoing = True,
    profile: Annotated[
        Profile,
        option(
            "--profile",
            panel=OUTPUT,
            text="packed: small. open: named tensors that any safetensors reader can use.",
        ),
    ] = "packed",
    precision: Annotated[
        Precision | None,
        option("--precision", panel=OUTPUT, text="Of the weights, open profile (float32)."),
    ] = None,
    metadata: Annotated[
        MetadataName,
        option(
            "--metadata",
            panel=OUTPUT,
            text="Keep EXIF, XMP and resolution of images, tags of recordings, names in meshes; "
            "decode gives them back.",
        ),
    ] = "none",
    save_selection: Annotated[
        Path | None,
        option(
            "--save-selection",
            panel=OUTPUT,
            text="Write maps of what the teacher chose here, at ten steps of the fit.",
            metavar="DIR",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        option(
            "--dry-run",
            panel=OUTPUT,
            text="Say what would be done, and forecast bytes and time; write nothing.",
        ),
    ] = False,
    kind: Annotated[
        options.Kind | None,
        option("--kind", panel=FIT, text="What the input is; sniffed otherwise."),
    ] = None,
    effort: Annotated[
        int,
        option("-e", "--effort", panel=FIT, text="1 (seconds) to 9 (as good as it gets)."),
    ] = 5,
    quality: Annotated[
        float | None,
        option(
            "-q",
            "--quality",
            panel=FIT,
            text="0 to 100: higher is better and bigger (50).",
        ),
    ] = None,
    target_size: Annotated[
        str | None,
        option(
            "--target-size",
            panel=FIT,
            text="At most so many bytes, the whole file: 20kB, 1.5MB, 900.",
            metavar="SIZE",
        ),
    ] = None,
    target_bpp: Annotated[
        float | None,
        option("--target-bpp", panel=FIT, text="At most so many bits a pixel.", metavar="BITS"),
    ] = None,
    target_kbps: Annotated[
        float | None,
        option("--target-kbps", panel=FIT, text="At most so many kilobits a second.", metavar="K"),
    ] = None,
    steps: Annotated[
        int | None, option("--steps", panel=FIT, text="Optimizer steps, instead of the effort's.")
    ] = None,
    max_time: Annotated[
        float | None,
        option(
            "--max-time",
            panel=FIT,
            text="Seconds to fit at most; the schedule is laid out over them.",
            metavar="SECONDS",
        ),
    ] = None,
    target_psnr: Annotated[
        float | None,
        option(
            "--target-psnr",
            panel=FIT,
            text="At least this PSNR, with the smallest network that gets there; with -q or "
            "--width, stop once it is reached.",
            metavar="DB",
        ),
    ] = None,
    target_snr: Annotated[
        float | None,
        option("--target-snr", panel=FIT, text="Likewise, the SNR of audio.", metavar="DB"),
    ] = None,
    target_distance: Annotated[
        float | None,
        option(
            "--target-distance",
            panel=FIT,
            text="Likewise, at most this mean distance from a mesh's surface, in % of its "
            "diagonal.",
            metavar="PERCENT",
        ),
    ] = None,
    tune: options.Tune = None,
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness.")] = 0,
    field: Annotated[
        options.FieldChoice,
        option(
            "--field",
            panel=NETWORK,
            text="latent: quantised latents, far smaller at equal quality and made in seconds. "
            "palette: drawn pictures of up to 4096 colours, exact. siren: a plain SIREN, fitted "
            "step by step. auto: palette for pictures that look drawn; latent for other images, "
            "recordings, and smooth meshes without colours (sheets above -q 50 only); siren for "
            "other meshes, or with options of the network or the fit, --max-time, or very few "
            "bytes. Of images and recordings, these options act on the SIREN beside the latents.",
        ),
    ] = "auto",
    width: options.Width = None,
    depth: options.Depth = None,
    omega: Annotated[
        float | None, option("--omega", panel=NETWORK, text="Frequency of the inner sines.")
    ] = None,
    omega_first: options.OmegaFirst = None,
    lr: options.LearningRate = None,
    teacher: Annotated[
        TeacherName,
        option("--teacher", panel=TEACHER, text="Who chooses the examples of each step."),
    ] = "int",
    selection: Annotated[
        SelectionName | None,
        option(
            "--selection",
            panel=TEACHER,
            text="INT: the worst examples (top, as published), or draws in proportion to the "
            "error (proportional, the default).",
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        option(
            "--ratio",
            panel=TEACHER,
            text="INT: share of the examples taken (top, default 0.2), or of the draws that are "
            "uniform (proportional, 0.2).",
        ),
    ] = None,
    ratio_schedule: Annotated[
        RatioSchedule | None,
        option(
            "--ratio-schedule",
            panel=TEACHER,
            text="INT: how the ratio grows (default: step for top, constant for proportional).",
        ),
    ] = None,
    interval_schedule: Annotated[
        str | None,
        option(
            "--interval-schedule",
            panel=TEACHER,
            text="INT: steps between selections: dense, incremental, decremental, every:N or "
            "linear:A:B (default: incremental for top; for proportional, after as many draws as "
            "there are examples).",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        option("--batch", panel=TEACHER, text="Examples a step; for top, the pool it ranks."),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    limit: options.Limit = 1.0,
    jobs_text: options.Jobs = None,
    cluster: options.Cluster = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    no_progress: Annotated[
        bool, option("--no-progress", panel=MESSAGES, text="No progress display.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Turn each image, recording or mesh into a neural field.

    \b
    Examples:
      intfit encode photo.png                    -> photo.png.safetensors
      intfit encode *.wav --output-dir out/ --json
      intfit encode *.png --jobs auto            a file a core at once
      intfit encode -r photos/ --include '*.jpg' --output-dir out/
      find . -name '*.obj' | intfit encode --files-from - --effort 3
      intfit encode photo.png -q 70              better, bigger
      intfit encode photo.png --target-size 20kB
      intfit encode bach.wav --target-snr 25
      intfit encode photo.png --field siren --effort 7
      curl -s URL | intfit encode - -o picture.safetensors
    """
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    with report_errors(report, debug):
        size = None if target_size is None else parse_size(target_size)
        parallelism = Parallelism.parse(jobs_text, cluster, threads)
    settings = Settings(
        effort=effort, field=options.name_field(field), quality=quality, target_size=size,
        target_bpp=target_bpp, target_kbps=target_kbps, steps=steps, max_time=max_time,
        target_psnr=target_psnr, target_snr=target_snr, target_distance=target_distance,
        tune=tune,
        width=width, depth=depth, omega=omega, omega_first=omega_first, lr=lr,
        teacher=teacher, selection=selection, ratio=ratio, ratio_schedule=ratio_schedule,
        interval_schedule=interval_schedule, batch=batch, seed=seed, profile=profile,
        precision=precision, device=device, threads=threads, limit=limit, metadata=metadata,
    )  # fmt: skip
    with report_errors(report, debug):
        check_settings(settings)
        if save_selection and searches_size(settings):
            raise UsageError("--save-selection is for one fit, not a search: give --width or -q")
        if include and not recursive:
            raise UsageError("--include is for the files in folders: give --recursive, too")
        jobs = plan_jobs(
            files or [],
            files_from,
            output,
            output_dir,
            renamed=encoded_name,
            as_json=as_json,
            dry_run=dry_run,
            expand=partial(expand_folders, patterns=include or ()) if recursive else None,
        )
        refuse_media_name(output)
        maps = [make_map_job(job, save_selection) for job in jobs] if save_selection else []
        refuse_collisions(maps)

        def keep_map(job: Job, made: SelectionMap) -> None:
            map_job = make_map_job(job, save_selection, made.step, made.suffix)
            write_output(map_job, made.picture, force=force)

        def summarise(job: Job, made: Product) -> None:
            if not made.plan:
                report.summarise_encoding(job.source_name, job.target_name, made.values)
                return
            names = f"{printable(job.source_name)} {report.arrow} {printable(job.target_name)}"
            report.say(f"{names} (dry run)")
            report.say(made.plan)

        with report.progress(
            show=not no_progress, total=len(jobs), several=parallelism.several
        ) as display:
            run(
                jobs,
                partial(
                    tasks.encode,
                    settings=settings,
                    kind=kind,
                    dry_run=dry_run,
                    maps=save_selection is not None,
                ),
                RunOptions(report, ENCODED_KEYS, force, keep_going, skip_existing, debug),
                suffix=lambda job: job.source.suffix if job.source else "",
                summarise=summarise,
                parallelism=parallelism,
                device=device,
                together=partial(run_together, settings=settings, kind=kind)
                if settings.field == "siren" and not (dry_run or save_selection)
                else None,
                display=display,
                keep_map=keep_map,
            )


def refuse_media_name(output: str | None) -> None:
    """Raise UsageError where an output has the name of a medium, which encode does not write."""
    suffix = Path(output or "").suffix
    if suffix.lower() in MEDIA_SUFFIXES:
        raise UsageError(
            f"encode writes safetensors, and {output!r} is named like a medium: "
            f"-o {output}.safetensors; 'intfit decode' then makes a {suffix} of it"
        )


def parse_size(text: str) -> int:
    """Bytes in ``20kB``, ``1.5 MB``, ``16KiB`` or ``900``.

    Raises:
        UsageError: if that is not a size.
    """
    units = {"": 1, "k": 1000, "m": 1000**2, "ki": 1024, "mi": 1024**2}
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(k|m|ki|mi|)b?", text.strip().lower())
    if not match or not 1 <= float(match[1]) * units[match[2]] < 1 << 40:
        raise UsageError(f"--target-size {text!r} is not a size like 20kB or 900")
    return int(float(match[1]) * units[match[2]])


def make_map_job(job: Job, folder: Path | None, step: int = 0, suffix: str = "") -> Job:
    """The job that writes a map of the selection under ``folder``, where sub-folders are kept."""
    assert folder is not None
    source = job.source or Path("stdin")
    name = f"{source.name}.step-{step:06d}{suffix}"
    return Job(job.source, place_output(source, Path(name), folder))
