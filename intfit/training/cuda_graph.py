"""Training steps on a GPU, replayed as one CUDA graph.

A small network's kernels take less time than it takes to launch them one by one. A graph launches
all those of a step at once: on the same memory and of the same shapes, and with no values on which
the host would have to decide anything.
"""

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

#: Steps of the same kind in a row after which the next one is recorded.
STEPS_BEFORE_RECORDING = 3

#: Records what a call does. Returns what replays it, and the result, which a replay writes to.
Recorder = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


class StepFunction(Protocol):
    """What a training step does on the device."""

    def __call__(self, indices: Tensor, weights: Tensor | None, /) -> Tensor:
        """Train on the examples at ``indices`` ``[B]``; returns their discrepancies ``[B]``."""


class RecordableStep(Protocol):
    """A step of fixed shapes that takes its tensors from, and leaves them at, fixed places."""

    def __call__(self, *given: Any, **named: Any) -> Tensor:
        """Make the step; what is ``given`` are tensors, or None."""

    @property
    def parts(self) -> tuple[object, ...]:
        """What it consists of: a recording is no longer valid once one of these is replaced."""


def record_on(device: torch.device) -> Recorder:
    """A recorder that captures a CUDA graph of ``device``; capturing computes nothing yet."""

    def record(call: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        with torch.cuda.device(device):
            graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            own = torch.cuda.Stream()
            try:
                # other threads may use the device meanwhile
                with torch.cuda.graph(graph, stream=own, capture_error_mode="thread_local"):
                    result = call()
            except RuntimeError:
                torch.cuda.set_stream(before)  # a capture that fails leaves its own stream set
                raise
        return graph.replay, result

    return record


def choose_recorder(device: torch.device) -> Recorder | None:
    """What records steps on ``device``; None where that gains nothing."""
    return record_on(device) if device.type == "cuda" else None


class CudaGraphStep:
    """Does what ``step`` does; steps of the same kind are recorded once and replayed, if possible.

    The tensor that it returns is overwritten by the next call.
    """

    def __init__(self, step: RecordableStep, *, record: Recorder) -> None:
        self._step, self._record = step, record
        self._kind: tuple[object, ...] = ()
        self._same_kind, self._steps_before_recording = 0, STEPS_BEFORE_RECORDING
        self._failed = False
        self._replay: Callable[[], object] | None = None

    def __call__(self, *given: Tensor | None) -> Tensor:
        kind = (*(None if tensor is None else tensor.shape for tensor in given), *self._step.parts)
        if kind != self._kind:
            if self._replay is not None:
                # where kinds alternate, recording costs more than it gains
                self._steps_before_recording *= 2
            self._kind, self._same_kind, self._replay = kind, 0, None
        self._same_kind += 1
        if self._same_kind <= self._steps_before_recording or self._failed:
            return self._step(*given)
        if self._replay is None:
            inputs = self._inputs = [None if t is None else t.clone() for t in given]
            try:
                self._replay, self._result = self._record(lambda: self._step(*inputs))
            except RuntimeError as error:
                self._failed = True
                warnings.warn(f"slower, since it cannot be a CUDA graph: {error}", stacklevel=2)
                return self._step(*given)
        for recorded, tensor in zip(self._inputs, given, strict=True):
            if recorded is not None and tensor is not None:
                recorded.copy_(tensor)
        self._replay()
        return self._result
