"""``intfit info`` and ``intfit verify``: look at files without changing anything."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..codecs.protocol import Follow, Hooks
from ..errors import IntfitError, UsageError
from ..inspection import info as describe_file
from ..jobs.files import STREAM, is_nameless, read_named
from ..jobs.phrases import (
    METRICS,
    describe_medium,
    describe_quality,
    describe_rate,
    describe_teacher,
    format_metric,
    format_size,
    name_metric,
    printable,
)
from . import options
from .errors import explain, report_each, report_errors
from .options import MESSAGES, option
from .report import Reporter, fold, measure_width, print_data

INFO_KEYS = (
    "input",
    "ok",
    "error",
    "bytes",
    "kind",
    "facts",
    "field",
    "fit",
    "parameters",
    "latents",
    "network",
    "metadata",
    "profile",
    "types",
    "sizes",
)
"""The keys of `info --json`, in order."""

#: The most characters of a text of the metadata that `info` shows; columns of its labels.
SHOWN, LABELS = 60, 11

VERIFIED_KEYS = ("input", "against", "ok", "error", "kind", *METRICS, "failed", "missing")
"""The keys of `verify --json`: every metric, null where it is not one of the medium."""


def info(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files that encode wrote; - is stdin.")
    ] = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Show what is in each file.

    Reads its header only, unless -v asks how many bytes each part takes.

    \b
    Example:
      intfit info *.safetensors
    """
    report = Reporter(as_json=as_json)

    def show(line: dict[str, Any]) -> None:
        if not as_json:
            print_page(format_page(line))

    def describe(name: str, follow: Follow) -> dict[str, Any]:
        follow("decoding")
        # of a file by name, the header alone is read
        whole = name == STREAM or is_nameless(Path(name))
        return describe_file(read_named(name) if whole else name, sizes=verbose)

    with report_errors(report, debug):
        if not files:
            raise UsageError("no input: name files")
        report_each(files, INFO_KEYS, describe, show, report=report, debug=debug, progress=verbose)


def print_page(text: str) -> None:
    """Print what :func:`format_page` gave; on a terminal in lines of its width."""
    lines = text.splitlines()
    if sys.stdout.isatty():
        lines = [fold(line, measure_width(sys.stdout), LABELS) for line in lines]
    print_data("\n".join(lines))


def format_page(line: dict[str, Any]) -> str:
    """The text that `info` prints of one file, from the values of its JSON line."""
    kind, facts, fit = line["kind"], line["facts"], line["fit"]
    text = [f"{printable(line['input'])}  {format_size(line['bytes'])}"]
    rows = {
        kind: describe_medium(kind, facts),
        "rate": describe_rate(kind, facts, line["bytes"]),
        "quality": describe_quality(kind, fit),
        "field": _describe_field(line),
        "teacher": describe_teacher(fit),
        "profile": _describe_profile(line),
    }
    if line["metadata"]:
        rows["metadata"] = ", ".join(
            f"{name} {text!r}" if len(text) <= SHOWN else f"{name} ({len(text)} characters)"
            for name, text in line["metadata"].items()
        )
    if line["sizes"] is not None:
        rows["parts"] = ", ".join(f"{name} {taken:g} B" for name, taken in line["sizes"].items())
    text += [f"  {name:{LABELS - 3}} {printable(row)}" for name, row in rows.items()]
    return "\n".join(text)


def _describe_field(line: dict[str, Any]) -> str:
    """The field and its numbers of weights and latents in words."""
    counts = []
    if line["latents"]:
        counts.append(f"{line['latents']} latents")
    if line["parameters"]:
        counts.append(f"{line['parameters']} weights")
    if not counts:
        return str(line["network"])
    bits = 8 * line["bytes"] / max(1, line["latents"] or line["parameters"])
    return f"{line['network']}: {', '.join(counts)}, {bits:.3g} bits each, all told"


def _describe_profile(line: dict[str, Any]) -> str:
    """What other programs can read of a file."""
    if line["profile"] == "packed":
        return "packed: small, and for intfit alone ('intfit export' opens it)"
    return f"open: named {', '.join(line['types'])} tensors, for any safetensors reader"


def make_bound_option(metric: str, *, lowest: bool) -> Any:
    """The option that fails a file whose ``metric`` is beyond a bound."""
    name, unit = METRICS[metric]
    flag = f"--{'min' if lowest else 'max'}-{metric.replace('_', '-').removeprefix('max-')}"
    word = "below" if lowest else "above"
    unit = f" ({unit})" if unit else ""
    return option(flag, panel="Limits", text=f"Exit with 1 if the {name} is {word} this{unit}.")


def verify(
    file: Annotated[str, typer.Argument(help="A file that encode wrote; - is stdin.")],
    original: Annotated[
        str | None, typer.Argument(help="The original; --against names it, too.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="The original.", metavar="ORIGINAL")
    ] = None,
    min_psnr: Annotated[float | None, make_bound_option("psnr", lowest=True)] = None,
    min_ssim: Annotated[float | None, make_bound_option("ssim", lowest=True)] = None,
    min_ms_ssim: Annotated[float | None, make_bound_option("ms_ssim", lowest=True)] = None,
    min_ssimulacra2: Annotated[float | None, make_bound_option("ssimulacra2", lowest=True)] = None,
    min_snr: Annotated[float | None, make_bound_option("snr", lowest=True)] = None,
    max_log_spectral_distance: Annotated[
        float | None, make_bound_option("log_spectral_distance", lowest=False)
    ] = None,
    min_zimtohrli: Annotated[float | None, make_bound_option("zimtohrli", lowest=True)] = None,
    min_visqol: Annotated[float | None, make_bound_option("visqol", lowest=True)] = None,
    min_iou: Annotated[float | None, make_bound_option("iou", lowest=True)] = None,
    max_mean_distance: Annotated[
        float | None, make_bound_option("mean_distance", lowest=False)
    ] = None,
    max_distance: Annotated[float | None, make_bound_option("max_distance", lowest=False)] = None,
    max_normal_error: Annotated[
        float | None, make_bound_option("normal_error", lowest=False)
    ] = None,
    min_f_score: Annotated[float | None, make_bound_option("f_score", lowest=True)] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    limit: options.Limit = 1.0,
    as_json: Annotated[
        bool, option("--json", panel=MESSAGES, text="One JSON object on stdout.")
    ] = False,
    debug: options.Debug = False,
) -> None:
    """Measure how much a file differs from its original.

    It is decoded at the original's resolution. PSNR, SSIM, MS-SSIM and SSIMULACRA2 (up to 100) of
    an image; SNR, log-spectral distance, Zimtohrli (1 to 5) and ViSQOL (1 to 4.73) of a recording;
    IoU, mean and maximal distance between the surfaces (in % of the box diagonal), mean angle
    between their normals (in degrees) and F-score at 0.1 % of the diagonal of a mesh, which is
    compared in the faces that `decode` writes by default. SSIMULACRA2 and Zimtohrli need the extra
    intfit[bench]; ViSQOL needs intfit[visqol], a C++ compiler to install it, and up to 15 s for
    each channel.

    \b
    Example:
      intfit verify photo.png.safetensors --against photo.png --min-psnr 30
    """
    from ..metrics.perceptual import group_missing

    report = Reporter(as_json=as_json)
    minima = {
        "psnr": min_psnr,
        "ssim": min_ssim,
        "ms_ssim": min_ms_ssim,
        "ssimulacra2": min_ssimulacra2,
        "snr": min_snr,
        "zimtohrli": min_zimtohrli,
        "visqol": min_visqol,
        "iou": min_iou,
        "f_score": min_f_score,
    }
    maxima = {
        "log_spectral_distance": max_log_spectral_distance,
        "mean_distance": max_mean_distance,
        "max_distance": max_distance,
        "normal_error": max_normal_error,
    }
    lowest, highest = (
        {metric: bound for metric, bound in bounds.items() if bound is not None}
        for bounds in (minima, maxima)
    )

    with report_errors(report, debug):
        if (against is None) == (original is None):
            what = "the original is missing" if against is None else "two originals"
            raise UsageError(f"{what}: intfit verify {file} --against {against or 'ORIGINAL'}")
        against = against or original or ""
        line: dict[str, Any] = dict.fromkeys(VERIFIED_KEYS) | {"input": file, "against": against}
        given = [*lowest, *highest]
        try:
            with report.follow(file) as follow:
                kind, distortions = measure_distortions(
                    file, against, device, threads, limit, given=given, follow=follow
                )
        except Exception as error:
            code, message = explain(error, debug=debug)
            report.error(f"{printable(file)}: {message}")
            report.record(line | {"ok": False, "error": message})
            raise typer.Exit(code) from None
        if not as_json:
            print_data("  ".join(name_metric(*each) for each in distortions.items()))
        failed = [m for m, bound in lowest.items() if not (distortions[m] or 0.0) >= bound]
        failed += [m for m, bound in highest.items() if not (distortions[m] or 0.0) <= bound]
        missing = group_missing(distortions)
        result = {
            "ok": not failed,
            "kind": kind,
            "failed": failed,
            "missing": [score for scores in missing.values() for score in scores],
        }
        report.record(line | result | distortions)
        for remedy, scores in missing.items():
            names = " and ".join(METRICS[metric][0] for metric in scores)
            report.say(f"note: {names}: {remedy}")
        for metric in failed:
            bound = (lowest | highest)[metric]
            reached = format_metric(metric, distortions[metric])
            report.error(f"{printable(file)}: {reached} misses the limit {bound:g}")
        if failed:
            raise typer.Exit(1)


def measure_distortions(
    file: str,
    against: str,
    device: str,
    threads: int | None,
    limit: float,
    *,
    given: list[str],
    follow: Follow,
) -> tuple[str, dict[str, float | None]]:
    """The medium of ``file``, and the distortions between it and the original ``against``.

    ``follow`` is told what is done.

    Raises:
        IntfitError: if one of the files cannot be read, or they do not belong together.
        UsageError: if a limit in ``given`` is not one of the medium's metrics, or its package is
            not installed.
    """
    from .. import api
    from ..limits import Limits
    from ..media import medium
    from ..metrics.perceptual import group_missing

    if file == against == STREAM:
        raise UsageError("standard input is either the file or its original")
    data = read_named(file)
    try:
        original = read_named(against)
    except IntfitError as error:
        raise IntfitError(f"the original {against!r}: {error}") from None
    follow("decoding")
    loaded = api.load(data, device=device, threads=threads, limits=Limits(limit))
    for metric in given:
        if metric not in medium(loaded.kind).METRICS:
            name = METRICS[metric][0]
            raise UsageError(f"a limit on the {name} was given, but the file holds {loaded.kind}")
    for remedy, scores in group_missing(given).items():
        name = METRICS[scores[0]][0]
        raise UsageError(f"a limit on the {name} was given: it needs {remedy}")
    suffix, hooks = Path(against).suffix, Hooks(stage=follow)
    return loaded.kind, api.verify(loaded, original, suffix=suffix, hooks=hooks)
