"""What there is to say of a medium that was encoded."""

from dataclasses import dataclass

from .codecs.protocol import Encoding, Prepared
from .media import medium


@dataclass(frozen=True)
class Encoded:
    """What :func:`intfit.encode` made: the file's bytes, and what there is to say of them.

    ``samples`` counts pixels, samples of each channel, or faces, which take ``raw_size`` bytes
    uncompressed; ``rate`` is in the unit that ``rate_name`` names (``bpp``, ``kbps``,
    ``bytes_per_1000_faces``). ``parameters`` counts the weights and biases that were fitted.
    ``network`` describes the field and its training. ``distortion`` is in dB or, for ``iou``, a
    share; ``reached`` is the value in the goal's metric where there is a goal; ``seconds`` are
    those of the fit, or of all fits of a search.
    """

    data: bytes
    kind: str
    samples: int
    raw_size: int
    rate_name: str
    rate: float
    parameters: int
    network: str
    metric: str
    distortion: float
    reached: float | None
    steps: int
    seconds: float
    device: str
    teacher: str
    seed: int
    notes: tuple[str, ...]


def describe(prepared: Prepared, encoding: Encoding) -> Encoded:
    """What was made of ``prepared``."""
    signal, module = prepared.signal, medium(prepared.kind)
    rate_name, rate = module.rate(signal.facts, len(encoding.data))
    return Encoded(
        data=encoding.data,
        kind=prepared.kind,
        samples=module.count_samples(signal.facts),
        raw_size=module.raw_size(signal.facts),
        rate_name=rate_name,
        rate=rate,
        parameters=encoding.config.count_weights(),
        network=encoding.network,
        metric=signal.metric,
        distortion=encoding.distortion,
        reached=encoding.reached,
        steps=encoding.steps,
        seconds=encoding.seconds,
        device=prepared.device,
        teacher=encoding.teacher,
        seed=prepared.plan.seed,
        notes=(*signal.notes, *encoding.notes),
    )
