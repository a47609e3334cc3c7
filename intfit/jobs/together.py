"""Files whose SIRENs are fitted at once, as one computation of a GPU, in this process."""

import warnings
from collections import defaultdict
from collections.abc import Generator, Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..codecs.protocol import Hooks
from ..settings import Settings
from .pool import Failed, Listener, Task
from .tasks import Product, describe, make_hooks

if TYPE_CHECKING:
    from ..codecs.protocol import Prepared

#: The most files of a group: of default networks they take up to 3 GB of a GPU's memory. Twice as
#: many may wait for others of their kind.
GROUP = 64


@dataclass(frozen=True)
class _Waiting:
    """A file of ``bytes_in`` that has been read, and waits for others to be fitted with."""

    position: int
    bytes_in: int
    prepared: "Prepared"
    hooks: Hooks


def has_cuda(device: str) -> bool:
    """Whether ``--device`` stands for a CUDA device here."""
    if not device.startswith(("auto", "cuda")):
        return False
    from ..devices import choose_device
    from ..errors import IntfitError

    try:
        return choose_device(device).type == "cuda"
    except IntfitError:  # whoever needs the device says so
        return False


def run_together(
    tasks: Iterator[tuple[int, Task]], listener: Listener, *, settings: Settings, kind: str | None
) -> Generator[tuple[int, Product | Failed]]:
    """Encode all tasks; yields the position and the outcome of each as it ends.

    SIRENs that can be are fitted in groups of up to :data:`GROUP`, all others one by one. What a
    file fails for ends neither its group nor the others.
    """
    from .. import api
    from ..codecs.siren.together import kin

    waiting: defaultdict[Hashable, list[_Waiting]] = defaultdict(list)
    for position, (data, suffix) in tasks:
        hooks = make_hooks(partial(listener, position), settings)
        try:
            prepared = api.prepare(data, settings, suffix=suffix, kind=kind)
        except Exception as error:
            yield position, Failed(error)
            continue
        one, key = _Waiting(position, len(data), prepared, hooks), kin(prepared)
        if key is None:
            yield position, _encode(one)
            continue
        waiting[key].append(one)
        largest = max(waiting, key=lambda each: len(waiting[each]))
        if len(waiting[largest]) == GROUP or sum(map(len, waiting.values())) == 2 * GROUP:
            yield from _encode_group(waiting.pop(largest))
    for group in waiting.values():
        yield from _encode_group(group)


def _encode_group(group: list[_Waiting]) -> Iterator[tuple[int, Product | Failed]]:
    """The outcome of each of a group, fitted at once; or one after another if that fails."""
    from .. import api

    found = None
    if len(group) > 1:
        try:
            found = api.encode_together(
                [one.prepared for one in group], [one.hooks for one in group]
            )
        except Exception as error:  # not one of them: the device's memory may be short
            first = str(error).strip().partition("\n")[0]
            warnings.warn(
                f"slower, since {len(group)} files cannot be fitted at once: {first}", stacklevel=2
            )
    for place, one in enumerate(group):
        if found is None:
            yield one.position, _encode(one)
        elif isinstance(result := found[place], Exception):
            yield one.position, Failed(result)
        else:
            yield one.position, describe(one.bytes_in, result)


def _encode(one: _Waiting) -> Product | Failed:
    """The outcome of a file by itself."""
    from .. import api

    try:
        return describe(one.bytes_in, api.encode_prepared(one.prepared, one.hooks))
    except Exception as error:
        return Failed(error)
