"""``python -m intfit``, and the ``intfit`` command."""

import sys


def main() -> None:
    """Run the command line; an interrupt exits with 130, wherever it falls."""
    try:
        from .cli import app

        app()
    except KeyboardInterrupt:
        print("intfit: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
