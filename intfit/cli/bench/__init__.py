"""``intfit bench``: comparisons that a user can repeat."""

from ...errors import UsageError


def parse_numbers(flag: str, text: str, example: str) -> list[float]:
    """The numbers in a ``text`` like the ``example``, rising, each once.

    Raises:
        UsageError: which names ``flag``, if one is no number.
    """
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise UsageError(f"{flag} {text!r} is not of the form {example}") from None


def use_threads(threads: int | None) -> None:
    """Have torch use so many CPU threads from here on; None leaves it to torch."""
    if threads:
        import torch

        torch.set_num_threads(threads)
