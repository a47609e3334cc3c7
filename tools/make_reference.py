"""Write docs/reference/cli.md from the help of every command: python tools/make_reference.py

With --check, write nothing, and exit with 1 where the page is not what the help says.
"""

import argparse
import sys
from pathlib import Path

from typer.testing import CliRunner

from intfit.cli import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
COMMANDS = (
    "", "encode", "fit", "decode", "info", "verify", "test", "view", "export", "bench",
    "bench teachers", "bench paper", "bench speed", "bench rd",
)  # fmt: skip
INTRODUCTION = """\
# Command line

What `--help` says, command by command. (Written by `tools/make_reference.py`: do not edit.)

Exit codes: 0 all done, 1 some input failed, 2 wrong usage, 130 interrupted. Output files are
written whole or not at all. Messages go to stderr; stdout carries data only.

Environment: `INTFIT_DEVICE` and `INTFIT_THREADS` stand for `--device` and `--threads`; `NO_COLOR`
is respected.
"""


def help_of(command: str) -> str:
    """The help of a command at 80 columns."""
    environment: dict[str, str | None] = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    environment |= {"INTFIT_DEVICE": None, "INTFIT_THREADS": None}
    run = CliRunner().invoke(app, [*command.split(), "--help"], env=environment, prog_name="intfit")
    if run.exit_code:
        raise SystemExit(f"intfit {command} --help exits with {run.exit_code}: {run.output}")
    return run.stdout.rstrip()


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for command in COMMANDS:
        lines = [line.rstrip() for line in help_of(command).splitlines()]
        parts.append(
            "\n".join([f"## {f'intfit {command}'.strip()}", "", "```text", *lines, "```", ""])
        )
    return "\n".join(parts)


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare it")
    if parser.parse_args().check:
        if PAGE.read_text() != page():
            sys.exit("docs/reference/cli.md is out of date: run python tools/make_reference.py")
        return
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
