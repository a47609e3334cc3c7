"""``intfit bench``: comparisons that a user can repeat."""


def use_threads(threads: int | None) -> None:
    """Have torch use so many CPU threads from here on; None leaves it to torch."""
    if threads:
        import torch

        torch.set_num_threads(threads)
