"""``intfit encode``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import batch
from ..batch import Job
from ..report import Reporter, printable
from ..settings import Settings
from ..settings import check as check_settings
from . import options as opt
from .options import FIT, MESSAGES, NETWORK, OUTPUT, TEACHER, option
from .run import guarded, plan_jobs, run

if TYPE_CHECKING:
    from ..pipeline import Encoded, Prepared

ENCODED_KEYS = (
    "input", "output", "ok", "error", "skipped", "kind", "bytes_in", "bytes_out", "samples",
    "parameters", "bpp", "kbps", "metric", "distortion", "steps", "seconds", "device", "teacher",
    "seed", "notes",
)  # fmt: skip
"""The keys of `encode --json`, in order; null where one does not apply or is not known."""


def encode(
    files: Annotated[
        list[str] | None, typer.Argument(help="Images, recordings or meshes; - is stdin.")
    ] = None,
    output: opt.Output = None,
    output_dir: opt.OutputDir = None,
    files_from: opt.FilesFrom = None,
    force: opt.Force = False,
    skip_existing: opt.SkipExisting = False,
    keep_going: opt.KeepGoing = True,
    precision: Annotated[
        opt.PrecisionChoice, option("--precision", panel=OUTPUT, text="Of the stored weights.")
    ] = opt.PrecisionChoice.float32,
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
        bool, option("--dry-run", panel=OUTPUT, text="Say what would be done; write nothing.")
    ] = False,
    kind: Annotated[
        opt.Kind | None, option("--kind", panel=FIT, text="What the input is; sniffed otherwise.")
    ] = None,
    effort: Annotated[
        int,
        option("-e", "--effort", panel=FIT, text="1 (seconds) to 9 (as good as it gets)."),
    ] = 5,
    steps: Annotated[
        int | None, option("--steps", panel=FIT, text="Optimizer steps, instead of an effort.")
    ] = None,
    max_time: Annotated[
        float | None,
        option(
            "--max-time",
            panel=FIT,
            text="Seconds to fit; the schedule is laid out over them.",
            metavar="SECONDS",
        ),
    ] = None,
    target_psnr: Annotated[
        float | None,
        option("--target-psnr", panel=FIT, text="Stop once this PSNR is reached.", metavar="DB"),
    ] = None,
    seed: Annotated[int, option("--seed", panel=FIT, text="Of all randomness.")] = 0,
    width: Annotated[
        int | None, option("--width", panel=NETWORK, text="Neurons in a layer.")
    ] = None,
    depth: Annotated[int | None, option("--depth", panel=NETWORK, text="Sine layers.")] = None,
    omega: Annotated[
        float | None, option("--omega", panel=NETWORK, text="Frequency of the inner sines.")
    ] = None,
    omega_first: Annotated[
        float | None, option("--omega-first", panel=NETWORK, text="Frequency of the first.")
    ] = None,
    lr: Annotated[
        float | None, option("--lr", panel=NETWORK, text="Learning rate at its highest.")
    ] = None,
    teacher: Annotated[
        opt.TeacherChoice,
        option("--teacher", panel=TEACHER, text="Who chooses the examples of each step."),
    ] = opt.TeacherChoice.int,
    selection: Annotated[
        opt.SelectionChoice | None,
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
            "uniform (proportional, 0.5).",
        ),
    ] = None,
    ratio_schedule: Annotated[
        opt.RatioChoice | None,
        option(
            "--ratio-schedule",
            panel=TEACHER,
            text="INT: how the ratio grows (default: step for top, linear for proportional).",
        ),
    ] = None,
    interval_schedule: Annotated[
        str | None,
        option(
            "--interval-schedule",
            panel=TEACHER,
            text="INT: steps between selections: dense, incremental, decremental or every:N "
            "(default: incremental for top; for proportional, after half as many draws as there "
            "are examples).",
        ),
    ] = None,
    examples: Annotated[
        int | None,
        option("--batch", panel=TEACHER, text="Examples a step; for top, the pool it ranks."),
    ] = None,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    as_json: opt.Json = False,
    verbose: opt.Verbose = False,
    quiet: opt.Quiet = False,
    no_progress: Annotated[
        bool, option("--no-progress", panel=MESSAGES, text="No progress display.")
    ] = False,
    debug: opt.Debug = False,
) -> None:
    """Fit a network to each image, recording or mesh.

    \b
    Examples:
      intfit encode photo.png                    -> photo.png.safetensors
      intfit encode *.wav --output-dir out/ --json
      find . -name '*.obj' | intfit encode --files-from - --effort 3
      intfit encode photo.png --max-time 30 --precision bfloat16
      curl -s URL | intfit encode - -o picture.safetensors
    """
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    settings = Settings(
        effort=effort, steps=steps, max_time=max_time, target_psnr=target_psnr, width=width,
        depth=depth, omega=omega, omega_first=omega_first, lr=lr, teacher=teacher.value,
        selection=selection.value if selection else None, ratio=ratio,
        ratio_schedule=ratio_schedule.value if ratio_schedule else None,
        interval_schedule=interval_schedule, batch=examples, seed=seed,
        precision=precision.value, device=device, threads=threads,
    )  # fmt: skip
    with guarded(report, debug):
        check_settings(settings)
        jobs = plan_jobs(
            files or [],
            files_from,
            output,
            output_dir,
            renamed=batch.encoded_name,
            as_json=as_json,
        )
        with report.progress(show=not no_progress) as display:

            def work(job: Job, position: int) -> dict[str, Any]:
                if not dry_run:
                    batch.ready(job, force=force)
                if display is not None:
                    display.begin(job.source_name, position, len(jobs))
                data = batch.read(job)
                from .. import pipeline
                from ..selection import recorder

                suffix = job.source.suffix if job.source else ""
                chosen = kind.value if kind else None
                if dry_run:
                    ready = pipeline.prepare(data, settings, suffix=suffix, kind=chosen)
                    report.say(
                        f"{printable(job.source_name)} {report.arrow} "
                        f"{printable(job.target_name)} (dry run)"
                    )
                    report.say(report.plan(ready))
                    return {
                        "kind": ready.kind,
                        "bytes_in": len(data),
                        "parameters": ready.config.count(),
                        "device": str(ready.device),
                    }

                def prepared(ready: "Prepared") -> None:
                    report.detail(report.plan(ready))
                    if display is not None:
                        display.prepared(ready)

                stem = job.source.name if job.source else "stdin"
                result = pipeline.encode(
                    data,
                    settings,
                    suffix=suffix,
                    kind=chosen,
                    prepared=prepared,
                    watch=display.update if display is not None else None,
                    teach=recorder(save_selection, stem) if save_selection else None,
                )
                batch.write(job, result.data, force=force)
                report.encoded(job.source_name, job.target_name, len(data), result)
                return encoded_line(len(data), result)

            run(
                jobs,
                work,
                keys=ENCODED_KEYS,
                report=report,
                keep_going=keep_going,
                skip_existing=skip_existing,
                debug=debug,
            )


def encoded_line(bytes_in: int, result: "Encoded") -> dict[str, Any]:
    """The values of an `encode --json` line that a result gives."""
    bits = 8 * len(result.data)
    return {
        "kind": result.kind,
        "bytes_in": bytes_in,
        "bytes_out": len(result.data),
        "samples": result.samples,
        "parameters": result.parameters,
        "bpp": round(bits / result.samples, 4) if result.kind == "image" else None,
        "kbps": (
            round(bits / result.seconds_of_sound / 1000, 3) if result.seconds_of_sound else None
        ),
        "metric": result.metric,
        "distortion": round(result.distortion, 4),
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "device": result.device,
        "teacher": result.teacher,
        "seed": result.seed,
        "notes": list(result.notes),
    }
