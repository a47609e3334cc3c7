"""How different two pictures look: SSIMULACRA2 (Sneyers 2023), differentiable, in torch.

Two pictures are compared at six scales, each half the size of the one before, in the colours XYB
of JPEG XL, which follow the eye. At each scale a map of structural dissimilarity and two maps of
edges, of those that are new and those that are lost, are reduced to means and to 4-norms, and
their weighted sum is the distance.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor

#: Scales, and the Gaussian that means are taken with: standard deviation and taps to each side.
SCALES, SIGMA, RADIUS = 6, 1.5, 5
#: Scales with a side below this, in pixels, are left out.
SMALLEST_SIDE = 8
#: The constant of SSIM that keeps flat parts from counting.
FLAT = 0.0009
#: Linear RGB to the responses of the eye's three kinds of cones, and the offset of each.
CONES = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.5518098665095536),
)
OFFSET = 0.0037930732552754493
#: The published weights, by channel (X, Y, B), scale, norm (mean, 4-norm) and map (structure, new
#: edges, lost edges).
WEIGHTS = (
    (
        ((0.0, 0.0007376606707406586, 0.0), (0.0, 0.0007793481682867309, 0.0)),
        (
            (0.0, 0.0004371155730107379, 0.0),
            (1.1041726426657346, 0.00066284834129271, 0.00015231632783718752),
        ),
        ((0.0, 0.0016406437456599754, 0.0), (1.8422455520539298, 11.441172603757666, 0.0)),
        (
            (0.0007989109436015163, 0.000176816438078653, 0.0),
            (1.8787594979546387, 10.94906990605142, 0.0),
        ),
        (
            (0.0007289346991508072, 0.9677937080626833, 0.0),
            (0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053),
        ),
        ((0.0004550992113792063, 0.0, 0.0), (0.0013648766163243398, 0.0, 0.0)),
    ),
    (
        ((0.0, 0.0, 0.0), (7.466890328078848, 0.0, 17.445833984131262)),
        (
            (0.0006235601634041466, 0.0, 0.0),
            (6.683678146179332, 0.00037724407979611296, 1.027889937768264),
        ),
        (
            (225.20515300849274, 0.0, 0.0),
            (19.213238186143016, 0.0011401524586618361, 0.001237755635509985),
        ),
        (
            (176.39317598450694, 0.0, 0.0),
            (24.43300999870476, 0.28520802612117757, 0.0004485436923833408),
        ),
        ((0.0, 0.0, 0.0), (34.77906344483772, 44.835625328877896, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ),
    (
        ((0.0, 0.0008680556573291698, 0.0), (0.0, 0.0, 0.0)),
        ((0.0, 0.0005313191874358747, 0.0), (0.00016533814161379112, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0004179171803251336, 0.0017290828234722833, 0.0)),
        ((0.0020827005846636437, 0.0, 0.0), (8.826982764996862, 23.19243343998926, 0.0)),
        (
            (95.1080498811086, 0.9863978034400682, 0.9834382792465353),
            (0.0012286405048278493, 171.2667255897307, 0.9807858872435379),
        ),
        ((0.0, 0.0, 0.0), (0.0005130064588990679, 0.0, 0.00010854057858411537)),
    ),
)
#: From the weighted sum to the distance: a factor, and a cubic without constant.
FACTOR = 0.9562382616834844
CUBIC = (2.326765642916932, -0.020884521182843837, 6.248496625763138e-05)
#: The exponent that makes a score of a distance.
EXPONENT = 0.6276336467831387
#: Keeps gradients of roots finite where there is no difference.
TINY = 1e-24


def linearise(picture: Tensor) -> Tensor:
    """Linear light in 0..1 of sRGB values; those beyond 0..1 are cut off."""
    values = picture.clamp(0, 1)
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055).pow(2.4))


def _to_xyb(linear: Tensor) -> Tensor:
    """Linear RGB ``[B, 3, H, W]`` as XYB, moved so that it is positive."""
    matrix = linear.new_tensor(CONES)
    cones = torch.einsum("ij,bjhw->bihw", matrix, linear) + OFFSET
    one, two, three = (cones.pow(1 / 3) - OFFSET ** (1 / 3)).unbind(1)
    x, y = (one - two) / 2, (one + two) / 2
    return torch.stack((14 * x + 0.42, y + 0.01, three - y + 0.55), dim=1)


def _halve(picture: Tensor) -> Tensor:
    """Means of 2 x 2 pixels ``[B, C, H, W]``; of fewer at an odd edge."""
    return functional.avg_pool2d(picture, 2, ceil_mode=True, count_include_pad=False)


def _blur(planes: Tensor) -> Tensor:
    """``[B, C, H, W]`` under a Gaussian, mirrored at its upper and lower edges, and 0 beside it.

    So does the package ``ssimulacra2``.
    """
    count = planes.shape[1]
    places = torch.arange(-RADIUS, RADIUS + 1, device=planes.device, dtype=planes.dtype)
    taps = torch.exp(-0.5 * (places / SIGMA) ** 2)
    taps = taps / taps.sum()
    across = functional.conv2d(
        planes, taps.view(1, 1, 1, -1).expand(count, -1, -1, -1), padding=(0, RADIUS), groups=count
    )
    above, below = across[:, :, :RADIUS].flip(2), across[:, :, -RADIUS:].flip(2)
    tall = torch.cat((above, across, below), dim=2)
    return functional.conv2d(tall, taps.view(1, 1, -1, 1).expand(count, -1, -1, -1), groups=count)


def _reduce(maps: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum ``[B]`` of means and 4-norms of one kind of map ``[B, 3, H, W]``.

    ``weights`` ``[3, 2]`` are those of each channel's mean and 4-norm.
    """
    mean = maps.mean(dim=(2, 3))
    norm = (maps.square().square().mean(dim=(2, 3)) + TINY).pow(0.25) - TINY**0.25
    reduced: Tensor = mean @ weights[:, 0] + norm @ weights[:, 1]
    return reduced


class VisualDistance:
    """The distance of pictures from an original, whose share of the work is done only once."""

    def __init__(self, original: Tensor) -> None:
        """``original`` ``[B, 3, H, W]`` is in sRGB, 0 to 1, with sides of 8 pixels or more.

        Below 256 pixels a side there are fewer scales, each with the weights it always has.
        """
        self._weights = original.new_tensor(WEIGHTS)
        self._scales: list[tuple[Tensor, Tensor, Tensor]] = []
        with torch.no_grad():
            linear = linearise(original)
            while len(self._scales) < SCALES and min(linear.shape[2:]) >= SMALLEST_SIDE:
                xyb = _to_xyb(linear)
                mean, square = _blur(torch.cat((xyb, xyb * xyb), dim=1)).chunk(2, dim=1)
                self._scales.append((xyb, mean, square))
                linear = _halve(linear)

    def __call__(self, picture: Tensor) -> Tensor:
        """The distance ``[B]`` of ``picture`` ``[B, 3, H, W]``: 0 where they are the same.

        It may be differentiated. :func:`score_of` makes SSIMULACRA2 of it.
        """
        linear = linearise(picture)
        total = linear.new_zeros(len(linear))
        for scale, (original, mean, square) in enumerate(self._scales):
            linear = _halve(linear) if scale else linear
            xyb = _to_xyb(linear)
            own_mean, own_square, product = _blur(
                torch.cat((xyb, xyb * xyb, xyb * original), dim=1)
            ).chunk(3, dim=1)
            covariance = product - mean * own_mean
            variances = square - mean * mean + own_square - own_mean * own_mean
            same = (1 - (mean - own_mean) ** 2) * (2 * covariance + FLAT) / (variances + FLAT)
            edges = (1 + (xyb - own_mean).abs()) / (1 + (original - mean).abs()) - 1
            for index, maps in enumerate((1 - same, edges, -edges)):
                total = total + _reduce(maps.clamp(min=0), self._weights[:, scale, :, index])
        total = FACTOR * total
        first, second, third = CUBIC
        return first * total + second * total**2 + third * total**3


def score_of(distance: Tensor) -> Tensor:
    """SSIMULACRA2 of a distance: 100 where pictures are the same, negative where they are bad."""
    score: Tensor = 100 - 10 * distance.clamp(min=0).pow(EXPONENT)
    return score
