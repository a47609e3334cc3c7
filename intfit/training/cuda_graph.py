"""Steps of a fit on a GPU, replayed as one CUDA graph.

A small network's kernels take less time than it takes to launch them one by one. A graph launches
all those of a step at once: on the same memory and of the same shapes, with nothing in between
that the host would have to know.
"""

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

#: Steps alike in a row before the next ones are taken to be so, too.
ALIKE = 3

#: Records what a call does: returns what does it again, and the result that this writes to.
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


class Work(Protocol):
    """What a step does on the device: tensors of fixed shapes from tensors of fixed shapes."""

    def __call__(self, indices: Tensor, weights: Tensor | None) -> Tensor:
        """Learn from the examples at ``indices`` ``[B]``; returns their discrepancies ``[B]``."""


class Step(Work, Protocol):
    """Work that can be recorded."""

    @property
    def parts(self) -> tuple[object, ...]:
        """What it is made of: steps are not alike where one of these has changed."""


def recorder(device: torch.device) -> Record:
    """Records as a CUDA graph of ``device``. Recording does nothing yet."""

    def record(call: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        with torch.cuda.device(device):
            graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            own = torch.cuda.Stream()
            try:
                # other threads may use the device meanwhile
                with torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):
                    found = call()
            except RuntimeError:
                torch.cuda.set_stream(before)  # a capture that fails leaves its own
                raise
        return graph.replay, found

    return record


class Graphed:
    """Does as ``step`` does; steps that are alike are recorded once and replayed, if they can be.

    What it returns is overwritten by the next step.
    """

    def __init__(self, step: Step, *, record: Record) -> None:
        self._step, self._record = step, record
        self._kind: tuple[object, ...] = ()
        self._alike, self._enough = 0, ALIKE
        self._failed = False
        self._replay: Callable[[], object] | None = None

    def __call__(self, indices: Tensor, weights: Tensor | None) -> Tensor:
        kind = len(indices), weights is None, *self._step.parts
        if kind != self._kind:
            if self._replay is not None:
                self._enough *= 2  # where steps alternate, recording costs more than it gains
            self._kind, self._alike, self._replay = kind, 0, None
        self._alike += 1
        if self._alike <= self._enough or self._failed:
            return self._step(indices, weights)
        if self._replay is None:
            given = self._given = indices.clone(), None if weights is None else weights.clone()
            try:
                self._replay, self._found = self._record(lambda: self._step(*given))
            except RuntimeError as error:
                self._failed = True
                warnings.warn(f"slower, since it cannot be a CUDA graph: {error}", stacklevel=2)
                return self._step(indices, weights)
        for kept, now in zip(self._given, (indices, weights), strict=True):
            if kept is not None and now is not None:
                kept.copy_(now)
        self._replay()
        return self._found
