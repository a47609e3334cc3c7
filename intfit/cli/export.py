"""``intfit export``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..coding.container import ONNX_SUFFIX, SUFFIX
from ..errors import UsageError
from ..jobs import tasks
from ..jobs.files import Job, exported_name
from ..jobs.phrases import format_size, printable
from ..jobs.tasks import Product
from . import options
from .errors import report_errors
from .options import OUTPUT, option
from .report import Reporter
from .run import RunOptions, plan_jobs, run

#: Formats of networks that are not written.
OTHERS = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".npy", ".npz", ".h5", ".tflite", ".gguf")
EXPORTED_KEYS = ("input", "output", "ok", "error", "skipped", "bytes_in", "bytes_out")
"""The keys of `export --json`, in order; null where one is not known."""


def export(
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
            text="safetensors, or onnx for SIRENs (the output's otherwise).",
            metavar="EXT",
        ),
    ] = None,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    keep_going: options.KeepGoing = True,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Unpack each file's network into plain named float32 tensors.

    Any safetensors reader can use them; intfit decodes them as before. Or write a SIREN as an ONNX
    model, from coordinates [B, d] to values [B, c].

    \b
    Examples:
      intfit export photo.png.safetensors -o weights.safetensors
      intfit export siren.safetensors -o siren.onnx      of encode --field siren
    """
    report = Reporter(as_json=as_json, quiet=quiet, verbose=verbose)
    with report_errors(report, debug):
        suffix = choose_suffix(format_, output)
        jobs = plan_jobs(
            files or [], files_from, output, output_dir,
            renamed=partial(exported_name, suffix=suffix), as_json=as_json,
        )  # fmt: skip

        def summarise(job: Job, made: Product) -> None:
            before, after = made.values["bytes_in"], made.values["bytes_out"]
            report.say(
                f"{printable(job.source_name)} {report.arrow} {printable(job.target_name)}  "
                f"{format_size(before)} {report.arrow} {format_size(after)}"
            )

        with report.progress(show=True, total=len(jobs), several=False) as display:
            run(
                jobs,
                tasks.export,
                RunOptions(report, EXPORTED_KEYS, force, keep_going, skip_existing, debug),
                suffix=lambda job: suffix,
                summarise=summarise,
                display=display,
            )


def choose_suffix(format_: str | None, output: str | None) -> str:
    """The format to write: the one asked for, or that of the output's name.

    Raises:
        UsageError: if that asked for cannot be written.
    """
    if format_ is None:
        named = Path(output or "").suffix.lower()
        if named in OTHERS:
            raise UsageError(
                f"export writes safetensors and ONNX, not {named}: -o {output}{SUFFIX}, which "
                "'safetensors.torch.load_file' reads"
            )
        return ONNX_SUFFIX if named == ONNX_SUFFIX else SUFFIX
    suffix = options.read_suffix(format_)
    if suffix not in (SUFFIX, ONNX_SUFFIX):
        raise UsageError(f"--format {format_!r} is not safetensors or onnx")
    return suffix
