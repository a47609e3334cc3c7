"""``intfit test``: whether files are whole, without their originals."""

from typing import Annotated, Any

import typer

from ..codecs.protocol import Follow
from ..errors import UsageError
from ..jobs.files import collect_inputs, read_named
from ..jobs.phrases import format_size, printable
from ..limits import Limits
from . import options
from .errors import report_each, report_errors
from .report import Reporter, print_data

TESTED_KEYS = ("input", "ok", "error", "bytes", "kind")
"""The keys of `test --json`, in order."""


def check(
    files: Annotated[
        list[str] | None, typer.Argument(help="Files that encode wrote; - is stdin.")
    ] = None,
    files_from: options.FilesFrom = None,
    limit: options.Limit = 1.0,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Check that each file is whole and can be decoded.

    No original is needed. Its sizes and its checksum are checked, all of its payload is decoded,
    and its field evaluated at some points. Exits with 1 if a file is damaged.

    \b
    Example:
      intfit test *.safetensors
    """
    report = Reporter(as_json=as_json, quiet=quiet)

    def check_one(name: str, follow: Follow) -> dict[str, Any]:
        follow("decoding")
        kind, size = check_file(name, Limits(limit))
        return {"bytes": size, "kind": kind}

    def show(line: dict[str, Any]) -> None:
        if not as_json and not quiet:
            size = format_size(line["bytes"])
            print_data(f"{printable(line['input'])}: ok, {line['kind']}, {size}")

    with report_errors(report, debug):
        names = collect_inputs(files or [], files_from)
        if not names and files_from is None:
            raise UsageError("no input: name files")
        report_each(names, TESTED_KEYS, check_one, show, report=report, debug=debug)


def check_file(name: str, limits: Limits) -> tuple[str, int]:
    """The medium of a file that is whole, and its size in bytes.

    Raises:
        IntfitError: if it is not a sound intfit file.
    """
    import numpy as np

    from .. import api

    data = read_named(name)
    field = api.load(data, device="cpu", limits=limits)
    # a field checks that its values are numbers
    field(np.linspace(-1, 1, 64)[:, None] * np.ones(field.in_features))
    return field.kind, len(data)
