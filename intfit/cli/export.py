"""``intfit export``."""

from typing import Annotated

import typer

from ..jobs import tasks
from ..jobs.files import Job, exported_name
from ..jobs.phrases import format_size, printable
from ..jobs.tasks import Product
from . import options
from .errors import report_errors
from .report import Reporter
from .run import RunOptions, plan_jobs, run

EXPORTED_KEYS = ("input", "output", "ok", "error", "skipped", "bytes_in", "bytes_out")
"""The keys of `export --json`, in order; null where one is not known."""


def export(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files that encode wrote; - is stdin.")
    ] = None,
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    files_from: options.FilesFrom = None,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    keep_going: options.KeepGoing = True,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Unpack each file's network into plain named float32 tensors.

    Any safetensors reader can use them; intfit decodes them as before.

    \b
    Example:
      intfit export photo.png.safetensors -o weights.safetensors
    """
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    with report_errors(report, debug):
        jobs = plan_jobs(
            files or [], files_from, output, output_dir, renamed=exported_name,
            as_json=as_json,
        )  # fmt: skip

        def summarise(job: Job, made: Product) -> None:
            before, after = made.values["bytes_in"], made.values["bytes_out"]
            report.say(
                f"{printable(job.source_name)} {report.arrow} {printable(job.target_name)}  "
                f"{format_size(before)} {report.arrow} {format_size(after)}"
            )

        run(
            jobs,
            tasks.export,
            RunOptions(report, EXPORTED_KEYS, force, keep_going, skip_existing, debug),
            suffix=lambda job: "",
            summarise=summarise,
        )
