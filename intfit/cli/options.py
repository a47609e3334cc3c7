"""The options that commands share, their headings and choices."""

from enum import StrEnum
from gettext import gettext
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from ..settings import FieldName


class Sectioned(TyperCommand):
    """A command whose help groups its options under the headings they name.

    Rich would do so too, but costs five times as long to start.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        names = [each for each in args if each.startswith("-") and Path(each).is_file()]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # of click, or of the copy of it that typer has
            if names and isinstance(message := getattr(error, "message", None), str):
                vars(error)["message"] = f"{message}. A file of that name is ./{names[0]}"
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = getattr(parameter, "rich_help_panel", None) or gettext("Options")
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=26)


#: The headings of options in the help.
OUTPUT, FIT, NETWORK, TEACHER, MACHINE, MESSAGES = (
    "Output",
    "Fit",
    "Network (chosen from the medium and its size otherwise)",
    "Teacher",
    "Machine",
    "Messages",
)


class Kind(StrEnum):
    """The choices of ``--kind``."""

    image = "image"
    audio = "audio"
    mesh = "mesh"


class FieldChoice(StrEnum):
    """The choices of ``--field``."""

    auto = "auto"
    siren = "siren"
    latent = "latent"
    palette = "palette"


class TuneChoice(StrEnum):
    """The choices of ``--tune``."""

    visual = "visual"
    psnr = "psnr"
    hearing = "hearing"
    snr = "snr"


def name_field(choice: FieldChoice) -> FieldName | None:
    """The settings' name of a field; None for ``auto``."""
    names: dict[str, FieldName] = {each: each for each in get_args(FieldName)}
    return names.get(choice.value)


class TeacherChoice(StrEnum):
    """The choices of ``--teacher``."""

    full = "full"
    uniform = "uniform"
    int = "int"
    evos = "evos"
    nint = "nint"


class SelectionChoice(StrEnum):
    """The choices of ``--selection``."""

    top = "top"
    proportional = "proportional"


class RatioChoice(StrEnum):
    """The choices of ``--ratio-schedule``."""

    constant = "constant"
    step = "step"
    linear = "linear"
    cosine = "cosine"
    reverse_cosine = "reverse-cosine"


class ProfileChoice(StrEnum):
    """The choices of ``--profile``."""

    packed = "packed"
    open = "open"


class MetadataChoice(StrEnum):
    """The choices of ``--metadata``."""

    none = "none"
    all = "all"


class PrecisionChoice(StrEnum):
    """The choices of ``--precision``."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def read_suffix(format_: str) -> str:
    """The suffix that ``--format`` names, with its dot or without."""
    return "." + format_.lstrip(".").lower()


def option(*names: str, panel: str, text: str, **more: Any) -> Any:
    """A typer.Option with its heading and help text."""
    return typer.Option(*names, rich_help_panel=panel, help=text, **more)


Tune = Annotated[
    TuneChoice | None,
    option(
        "--tune",
        panel=FIT,
        text="What the bytes are spent on. Of images: visual, what eyes see (the default), or "
        "psnr, the least squared error. Of recordings: hearing (the default) or snr.",
    ),
]
Output = Annotated[
    str | None, option("-o", "--output", panel=OUTPUT, text="Where to write; - is stdout.")
]
OutputDir = Annotated[
    Path | None,
    option("--output-dir", panel=OUTPUT, text="Write here, keeping relative sub-folders."),
]
Force = Annotated[bool, option("-f", "--force", panel=OUTPUT, text="Overwrite.")]
SkipExisting = Annotated[
    bool, option("--skip-existing", panel=OUTPUT, text="Pass over inputs whose output exists.")
]
FilesFrom = Annotated[
    str | None,
    option("--files-from", panel=OUTPUT, text="Read input paths from a list; - is stdin."),
]
KeepGoing = Annotated[
    bool,
    option(
        "--keep-going/--fail-fast", panel=OUTPUT, text="Go on, or stop, after an input that failed."
    ),
]
Device = Annotated[
    str,
    option(
        "--device", panel=MACHINE, text="auto, cpu, cuda, cuda:N or mps.", envvar="INTFIT_DEVICE"
    ),
]
Threads = Annotated[
    int | None,
    option(
        "--threads",
        panel=MACHINE,
        text="CPU threads at most (chosen by the size of the fit otherwise).",
        min=1,
        max=1024,
        envvar="INTFIT_THREADS",
    ),
]
Limit = Annotated[
    float,
    option(
        "--limit",
        panel=MACHINE,
        text="Allow so many times the usual 200 megapixels, 200 million frames, 20 million cells "
        "or faces, 8 GB.",
        metavar="FACTOR",
        envvar="INTFIT_LIMIT",
    ),
]
Width = Annotated[int | None, option("--width", panel=NETWORK, text="Neurons in a layer.")]
Depth = Annotated[int | None, option("--depth", panel=NETWORK, text="Sine layers.")]
OmegaFirst = Annotated[
    float | None,
    option(
        "--omega-first",
        panel=NETWORK,
        text="Frequency of the first. A picture's follows its spectrum by default.",
    ),
]
LearningRate = Annotated[
    float | None, option("--lr", panel=NETWORK, text="Learning rate at its highest.")
]
Jobs = Annotated[
    str | None,
    option(
        "-j",
        "--jobs",
        panel=MACHINE,
        text="Files at once; auto is one a core, or of SIRENs on CUDA as many as are alike.",
        metavar="N",
    ),
]
Cluster = Annotated[
    str | None,
    option(
        "--cluster",
        panel=MACHINE,
        text="Send the files to the Ray cluster this machine is part of, or to that at HOST:PORT.",
        metavar="auto|ADDRESS",
    ),
]
CpuTime = Annotated[
    bool,
    option(
        "--cpu-time",
        panel=MACHINE,
        text="Count the processor's seconds, not the wall's, on a machine that others use too: one "
        "thread, no GPU.",
    ),
]
Json = Annotated[bool, option("--json", panel=MESSAGES, text="One JSON object a line, on stdout.")]
Verbose = Annotated[bool, option("-v", "--verbose", panel=MESSAGES, text="Say more.")]
Quiet = Annotated[bool, option("--quiet", panel=MESSAGES, text="Say nothing but errors.")]
Debug = Annotated[bool, option("--debug", panel=MESSAGES, text="Show tracebacks.")]
