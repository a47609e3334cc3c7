"""The command line. Imports neither torch nor NumPy before a command has work for them."""

from typing import Annotated

import typer

from .. import __version__
from .bench.rd import app as bench
from .decode import decode
from .encode import encode
from .export import export
from .fit import fit
from .inspect import info, verify
from .integrity import check
from .options import Sectioned
from .view import view

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
app.add_typer(bench, name="bench")
for command in (encode, fit, decode, info, verify, check, view, export):
    name = "test" if command is check else command.__name__
    app.command(name, cls=Sectioned, no_args_is_help=True)(command)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        print(f"intfit {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Media files as small neural fields.

    Turns an image, a recording or a mesh into a small file, and renders it back
    at any resolution.

    \b
      intfit encode photo.png                 -> photo.png.safetensors
      intfit decode photo.png.safetensors --scale 4 -o big.webp
      intfit COMMAND --help                   every option, with examples
    """
