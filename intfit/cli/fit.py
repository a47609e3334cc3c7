"""``intfit fit``: ``intfit encode`` of a plain SIREN in the open profile."""

import inspect
from collections.abc import Callable, Collection
from typing import Any

from .encode import encode

#: The options of encode that fit does without: it decides them, or its files have no bound on
#: their size but that of the network.
NOT_OFFERED = frozenset({"field", "profile", "tune", "target_size", "target_bpp", "target_kbps"})


def fit(**given: Any) -> None:
    """Fit a SIREN to each input, and write its weights.

    They are named float32 tensors: any safetensors reader can use them, and intfit decodes them as
    any other file. The options, the summary and the JSON lines are those of encode.

    Networks of one --seed begin with the same weights where they are of the same architecture: give
    --width, --omega-first (otherwise it follows the picture's spectrum and the recording's length)
    and files of the same medium and number of channels. --json is then a manifest.

    \b
    Examples:
      intfit fit photo.png                       -> photo.png.safetensors
      intfit fit photo.png --width 128 --depth 4 --steps 5000
      intfit fit *.png --output-dir w/ --width 32 --omega-first 60 --json > w.jsonl
      intfit fit bunny.obj --teacher uniform --lr 1e-3 --precision float16
    """
    encode(**given, field="siren", profile="open")


def signature_without(command: Callable[..., None], left_out: Collection[str]) -> inspect.Signature:
    """The signature of a command without some of its options, which Typer makes options of."""
    signature = inspect.signature(command)
    kept = [option for name, option in signature.parameters.items() if name not in left_out]
    assert len(kept) == len(signature.parameters) - len(left_out)
    return signature.replace(parameters=kept)


# Typer reads the options off the signature: those of encode, so that the two cannot differ.
fit.__signature__ = signature_without(encode, NOT_OFFERED)  # type: ignore[attr-defined]
