"""The architecture of an image's latents: wavelet bands, and the post-filters behind them."""

import math
import reprlib
from dataclasses import dataclass
from typing import Any

from ...coding.header import Header, count_features
from ...coding.steps import LATENT_STEPS_PER_OCTAVE, TRELLIS_UNIT, step_size
from ...errors import FileFormatError
from ...networks.architecture import SirenConfig
from ..latent_steps import check_step

#: The bands of a level: detail across, down, and both ways.
ORIENTATIONS = ("across", "down", "both")
#: The features of a post-filter at a pixel: those of this many of the finest levels, one by one,
#: and the differences of these neighbours (y, x) from it.
FEATURE_LEVELS = 3
NEIGHBOURS = (
    *((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)),
    *((0, 2), (2, 0), (0, -2), (-2, 0)),
)  # fmt: skip
#: A picture's own post-filter: its number of sine layers, their frequency (omega), and the largest
#: width (neurons).
OWN_DEPTH, OWN_FREQUENCY, MAX_OWN_WIDTH = 2, 1.0, 64
#: The shared networks: the channels of pictures they are for, and the newest version. Version 1 is
#: a post-filter of this width and depth; version 2 has the decoder network behind it; in version 3,
#: the last layer of that sees smoothed pictures, too, and is modulated by every file; version 4 is
#: a decoder network of two scales, without the post-filter.
SHARED_CHANNELS, NEWEST_SHARED, SHARED_WIDTH, SHARED_DEPTH = 3, 4, 32, 2
#: The decoder network's number of hidden layers, at half the picture's resolution.
DECODER_LAYERS = 2
#: The version for pictures refined for the eye: what smooths gains squared error, not their score.
SHARED_FOR_REFINED = 2
#: From this version of the shared networks on there is no post-filter, and the decoder network has
#: so many layers at a quarter of the resolution, which hand so many channels on to those at half.
FIRST_OF_TWO_SCALES, COARSE_LAYERS, HANDED_ON = 4, 3, 24
#: From this version of the shared networks on, files modulate the last layer, by so many numbers;
#: and it sees so many smoothed pictures: what :func:`.smoothing.smooth` gives for three channels.
FIRST_MODULATED, MODULATION_SIZE, SMOOTHINGS = 3, 32, 17
#: The steps of bands by the version of their table, in sixteenths of the file's step: those of the
#: levels from the finest on; coarser levels and the coarsest picture are as the last. Without a
#: table all are 16. In version 1, fine detail is rounded more coarsely, and coarse detail less: the
#: eye minds that less than an even error.
BAND_STEPS: dict[int, tuple[int, ...]] = {1: (27, 18, 13, 11)}
NEWEST_BANDS = 1
#: The newest version of the context model, and that of the trellis.
NEWEST_CONTEXTS, NEWEST_TRELLIS = 2, 1


@dataclass(frozen=True)
class WaveletConfig:
    """The latents of a picture of ``channels`` x ``height`` x ``width``.

    ``step`` is the index of the quantisation step. ``neurons`` is the width of the picture's own
    post-filter, a SIREN, and ``common`` the version of the shared networks, to whose output its own
    is added; None where there is none. ``adapted`` says whether the file changes the last layer of
    the decoder network. ``bands`` is the version of :data:`BAND_STEPS`, ``contexts`` that of the
    context model; None is the first. ``trellis`` is the version of the trellis of dependent
    quantisation, None where every latent is quantised by itself. (These names are those of a file's
    header.)

    Raises:
        FileFormatError: if the picture cannot have them.
    """

    channels: int
    height: int
    width: int
    step: int
    neurons: int | None = None
    common: int | None = None
    adapted: bool | None = None
    bands: int | None = None
    contexts: int | None = None
    trellis: int | None = None

    def __post_init__(self) -> None:
        check_step(self.step, "a pyramid")
        if self.bands is not None and (type(self.bands) is not int or self.bands not in BAND_STEPS):
            raise FileFormatError("its bands have steps that this version does not know")
        if self.contexts is not None and (
            type(self.contexts) is not int or self.contexts != NEWEST_CONTEXTS
        ):
            raise FileFormatError("its latents have a context model this version does not have")
        if self.trellis is not None:
            if type(self.trellis) is not int or self.trellis != NEWEST_TRELLIS:
                raise FileFormatError("its latents have a trellis this version does not have")
            if self.contexts is None:
                raise FileFormatError("damaged: a trellis that is for other latents")
        if self.common is not None:
            if type(self.common) is not int or not 1 <= self.common <= NEWEST_SHARED:
                raise FileFormatError("it is corrected by a network this version does not have")
            if not self.can_share_network():
                raise FileFormatError("damaged: a network that is for other pictures")
        if self.adapted is not None and (self.adapted is not True or not self.decoder_shapes()):
            raise FileFormatError("damaged: it changes a network that is not there")
        if self.neurons is not None:
            if type(self.neurons) is not int or not 1 <= self.neurons <= MAX_OWN_WIDTH:
                raise FileFormatError(
                    f"not a network this version can build: {reprlib.repr(self.neurons)}"
                )
            if not self.levels():
                raise FileFormatError("damaged: a network on latents that are not there")

    @property
    def step_size(self) -> float:
        """The quantisation step, in the unit of values that lie in [-1, 1]."""
        return step_size(self.step, LATENT_STEPS_PER_OCTAVE)

    def band_step(self, level: int) -> float:
        """The quantisation step of the bands of a level; 0 is the finest."""
        return self.step_size * self.band_sixteenths()[level] / 16

    def latent_unit(self, level: int) -> float:
        """What the latents of a level are multiples of, in the unit of the picture's values."""
        step = self.band_step(level)
        return step if self.trellis is None else step * TRELLIS_UNIT / 16

    def coarsest_step(self) -> float:
        """The quantisation step of the coarsest picture."""
        return self.band_step(self.levels())

    def band_sixteenths(self) -> list[int]:
        """The steps of all levels, from the finest on, and of the coarsest picture.

        In sixteenths of the file's step.
        """
        steps = (16,) if self.bands is None else BAND_STEPS[self.bands]
        return [steps[min(level, len(steps) - 1)] for level in range(self.levels() + 1)]

    def levels(self) -> int:
        """The number of levels: sides are halved while the shorter one has 16 pixels or more."""
        count = 0
        while min(self.height, self.width) >> count >= 16:
            count += 1
        return count

    def coarsest_shape(self) -> tuple[int, int, int]:
        """The shape ``(C, h, w)`` of the low-pass picture that is left after all levels."""
        scale = 1 << self.levels()
        return self.channels, -(-self.height // scale), -(-self.width // scale)

    def band_shapes(self) -> list[tuple[tuple[int, int, int], ...]]:
        """The shapes of the bands of each level, from the finest on: across, down and both."""
        shapes: list[tuple[tuple[int, int, int], ...]] = []
        height, width = self.height, self.width
        for _ in range(self.levels()):
            tall, wide = -(-height // 2), -(-width // 2)
            sides = ((tall, width // 2), (height // 2, wide), (height // 2, width // 2))
            shapes.append(tuple((self.channels, *side) for side in sides))
            height, width = tall, wide
        return shapes

    def can_share_network(self) -> bool:
        """Whether the shared networks are for this picture: three channels, 64 pixels a side."""
        return self.channels == SHARED_CHANNELS and self.levels() >= FEATURE_LEVELS

    def own_network(self) -> SirenConfig | None:
        """The SIREN of the picture's own post-filter; a linear layer is added to its outputs."""
        return self._postfilter(self.neurons, OWN_DEPTH) if self.neurons else None

    def own_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the picture's own post-filter, in order."""
        network = self.own_network()
        return {} if network is None else network.shapes_with_skip()

    def shared_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the shared network, where one is used."""
        return self.shared_postfilter_shapes() | self.decoder_shapes()

    def shared_postfilter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the shared post-filter, where it is used.

        Its layers are those of the own one, with rectifiers in place of sines.
        """
        if self.common is None or self.has_two_scales():
            return {}
        return self._postfilter(SHARED_WIDTH, SHARED_DEPTH).shapes_with_skip()

    def decoder_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter of the decoder network, where it is used."""
        if self.common is None or self.common == 1:
            return {}
        shapes: dict[str, tuple[int, ...]] = {}
        width, inputs = 40, 11 * self.channels + 5
        if self.has_two_scales():
            width, inputs = 48, 8 * self.channels + 1 + HANDED_ON
            shapes |= _convolutions("coarse", COARSE_LAYERS, 11 * self.channels + 1, width)
            shapes |= {"handed.weight": (4 * HANDED_ON, width), "handed.bias": (4 * HANDED_ON,)}
        shapes |= _convolutions("blocks", DECODER_LAYERS, inputs, width)
        seen = width + inputs + 1
        if self.is_modulated():
            seen += 4 * SMOOTHINGS
            shapes["last.basis"] = (MODULATION_SIZE, 4 * self.channels, seen)
        shapes["last.weight"] = (4 * self.channels, seen)
        shapes["last.scale"] = (seen,)
        return shapes

    def has_two_scales(self) -> bool:
        """Whether the decoder network works at two scales, without a post-filter before it."""
        return self.common is not None and self.common >= FIRST_OF_TWO_SCALES

    def is_modulated(self) -> bool:
        """Whether the file has numbers that modulate the decoder network's last layer."""
        return self.common is not None and self.common >= FIRST_MODULATED

    def modulation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of these numbers, if there are any."""
        return {"modulation": (MODULATION_SIZE,)} if self.is_modulated() else {}

    def adaptation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the change of the decoder network's last layer, if there is one."""
        return {"adaptation": self.decoder_shapes()["last.weight"]} if self.adapted else {}

    def _postfilter(self, width: int, depth: int) -> SirenConfig:
        """A network whose inputs are the features of :class:`.postfilter.Features`."""
        inputs = (min(FEATURE_LEVELS, self.levels()) + 1) * self.channels + len(NEIGHBOURS)
        return SirenConfig(inputs, self.channels, width, depth, OWN_FREQUENCY, OWN_FREQUENCY)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the open profile."""
        shapes: dict[str, tuple[int, ...]] = {
            "colours": (self.channels, self.channels),
            "coarsest": self.coarsest_shape(),
        }
        for level, bands in enumerate(self.band_shapes()):
            for name, shape in zip(ORIENTATIONS, bands, strict=True):
                shapes[f"levels.{level}.{name}"] = shape
        networks = (("common", self.shared_shapes()), ("correction", self.own_shapes()))
        for network, parameters in networks:
            shapes |= {f"{network}.{name}": shape for name, shape in parameters.items()}
        return shapes | self.adaptation_shapes() | self.modulation_shapes()

    def count(self) -> int:
        """Number of latents."""
        return self.channels * self.height * self.width

    def count_weights(self) -> int:
        """Number of weights and biases of the picture's own post-filter."""
        return sum(math.prod(shape) for shape in self.own_shapes().values())

    def header_entries(self) -> dict[str, Any]:
        """What a file's header says of the field."""
        names = ("step", "neurons", "common", "adapted", "bands", "contexts", "trellis")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> str:
        """The field in a phrase."""
        phrase = "latents"
        if self.common:
            phrase += " + shared post-filter" if self.common == 1 else " + decoder network"
        if self.adapted:
            phrase += " (adapted)"
        if self.neurons:
            phrase += f" + SIREN {self.neurons} x {OWN_DEPTH}"
        return phrase


def _convolutions(name: str, layers: int, inputs: int, width: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of the parameters of so many layers of 3 x 3, of this ``width``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        shapes[f"{name}.{layer}.weight"] = (width, width if layer else inputs, 3, 3)
        shapes[f"{name}.{layer}.bias"] = (width,)
    return shapes


def read_config(header: Header) -> WaveletConfig:
    """The latents that a header describes, whose facts are sound.

    Raises:
        FileFormatError, TypeError, KeyError: if it describes none.
    """
    _, channels = count_features(header.medium, header.facts)
    facts = header.facts
    return WaveletConfig(channels, facts["height"], facts["width"], **header.network)
