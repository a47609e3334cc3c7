"""``python -m intfit``, and the ``intfit`` command."""

import os
import sys


def main() -> None:
    """Run the command line; an interrupt exits with 130, wherever it falls."""
    # NumPy's products are of a few columns: threads cost them more than they gain, and two workers
    # get in each other's way (measured: twelve photographs in 32 s instead of 10). PyTorch has its
    # own, except on ARM.
    if os.uname().machine == "x86_64":
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # PyTorch's threads wait for each other a hundred times a step, and spin: beside other programs,
    # for one that does not run. (Measured, two cores: a fit of 1 s takes 26 s beside two programs,
    # and 4 s where threads sleep after some microseconds; as long as before where cores are free.)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        from .cli import app

        app()
    except KeyboardInterrupt:
        print("intfit: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
