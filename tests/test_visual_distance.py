"""SSIMULACRA2 as a function that can be differentiated."""

import numpy as np
import pytest
import torch

from intfit.metrics import perceptual
from intfit.training.visual_distance import VisualDistance, score_of


def textured(height: int, width: int) -> np.ndarray:
    """A picture ``[H, W, 3]`` in 0..1 with coarse and fine detail, the same every time."""
    rng = np.random.default_rng(0)
    picture = np.full((height, width, 3), 0.5)
    for size in (4, 16, 64):
        grid = rng.normal(0, 0.1, (height // size + 1, width // size + 1, 3))
        picture += grid.repeat(size, 0).repeat(size, 1)[:height, :width]
    return picture.clip(0, 1)


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]


DISTORTIONS = {
    "noise": lambda p: p + np.random.default_rng(1).normal(0, 0.03, p.shape),
    "blocks": lambda p: p[::4, ::4].repeat(4, 0).repeat(4, 1)[: p.shape[0], : p.shape[1]],
    "darker": lambda p: 0.8 * p,
    "greyer": lambda p: 0.3 * p + 0.7 * p.mean(axis=2, keepdims=True),
    "few levels": lambda p: np.round(p * 12) / 12,
    "the same": lambda p: p,
}


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("shape", [(256, 256), (259, 301)])
def test_the_score_is_that_of_the_package(distortion, shape):
    pytest.importorskip("ssimulacra2")
    original = np.round(textured(*shape) * 255) / 255
    distorted = np.round(DISTORTIONS[distortion](original).clip(0, 1) * 255) / 255
    expected = perceptual.ssimulacra2(original, distorted, low=0, high=1)
    found = score_of(VisualDistance(as_tensor(original))(as_tensor(distorted)))
    assert found.item() == pytest.approx(expected, abs=0.5)


def test_its_gradient_leads_to_the_original_and_is_finite_there():
    original = as_tensor(textured(64, 64))
    distance = VisualDistance(original)
    picture = (
        original + 0.05 * torch.randn(original.shape, generator=torch.manual_seed(0))
    ).clone()
    picture.requires_grad_()
    start = distance(picture)
    optimizer = torch.optim.Adam([picture], lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        distance(picture).sum().backward()
        optimizer.step()
    assert distance(picture) < start / 4
    picture = original.clone().requires_grad_()
    distance(picture).sum().backward()
    assert picture.grad.isfinite().all()


def test_pictures_of_a_batch_are_compared_one_by_one():
    one, two = as_tensor(textured(64, 96)), as_tensor(textured(96, 64)).transpose(2, 3)
    both = VisualDistance(torch.cat((one, two)))(torch.cat((0.9 * one, 0.5 * two)))
    alone = torch.cat((VisualDistance(one)(0.9 * one), VisualDistance(two)(0.5 * two)))
    torch.testing.assert_close(both, alone)
