"""Kill encodes at random moments and see what is left: whole files, or nothing.

    python tools/kill.py --count 100

Each of SIGINT, SIGTERM, SIGHUP and SIGKILL ends so many runs that encode six pictures, after up to
two seconds. A file that is there must decode. Nothing else may be there but, after SIGKILL, a
temporary file that says whose it is.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from PIL import Image

from intfit import api
from intfit.errors import IntfitError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "photo.png"
PICTURES = 6


def kill_once(number: signal.Signals, rng: random.Random, folder: Path) -> list[str]:
    """Begin to encode, end it by a signal, and say what is wrong with what it left."""
    pictures = [str(path) for path in sorted(folder.glob("*.png"))]
    command = [sys.executable, "-m", "intfit", "encode", *pictures, "-e", "1", "--quiet"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(rng.uniform(0.05, 2.0))
    child.send_signal(number)
    _, told = child.communicate(timeout=60)
    wrong = []
    if "Traceback" in told:
        wrong.append("a traceback")
    for path in folder.iterdir():
        if path.name.endswith(".safetensors"):
            try:
                api.load(path.read_bytes(), device="cpu")
            except IntfitError as error:
                wrong.append(f"a file that does not decode: {error}")
        elif path.name.startswith(".intfit-") and number == signal.SIGKILL:
            pass
        elif path.suffix != ".png":
            wrong.append(f"{path.name} is left")
        if path.suffix != ".png":
            path.unlink()
    return wrong


def main() -> None:
    """Run all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, outcomes = random.Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Image.open(SAMPLE) as picture:
            for index in range(PICTURES):
                picture.resize((64 + index, 48)).save(folder / f"{index}.png")
        for number in SIGNALS:
            for _ in range(options.count):
                wrong = kill_once(number, rng, folder)
                outcomes[f"{number.name}: {'; '.join(wrong) or 'clean'}"] += 1
            print(dict(outcomes), flush=True)
    sys.exit(any("clean" not in outcome for outcome in outcomes))


if __name__ == "__main__":
    main()
