"""Draw mesh files side by side, shaded and in their colours: PICTURE FILE...

Each file is a column, from left to right: above by its shape alone, below with its colours, where
it has some. All are seen from the same side, turned by --turn degrees about the z axis after
--pitch degrees about the x axis.

    python tools/render_surfaces.py fuze.png fuze.glb fuze.decoded.glb --pitch -90 --turn 30
"""

import argparse
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from intfit.media.triangles import measure_box, read_painted

SIZE = 640
LIGHT = np.array([0.35, 0.45, 0.82]) / np.linalg.norm([0.35, 0.45, 0.82])
SAMPLES = 2  # a side of each pixel


def draw(path: Path, view: np.ndarray, size: int) -> list[np.ndarray]:
    """Pictures ``[size, size, 3]`` of a file, white behind: by shape, and in its colours."""
    vertices, faces, _, paint = read_painted(path.read_bytes(), path.suffix)
    centre, half = measure_box(vertices)
    turned = (vertices - centre) / half @ view.T
    side = size * SAMPLES
    corners = turned[faces] * [1, -1, 1]
    corners[..., :2] = (corners[..., :2] / 1.45 + 1) * side / 2
    normals = np.cross(
        turned[faces[:, 1]] - turned[faces[:, 0]], turned[faces[:, 2]] - turned[faces[:, 0]]
    )
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    depth = np.full((side, side), -np.inf)
    face = np.full((side, side), -1)
    shares = np.zeros((side, side, 3))
    for index, (a, b, c) in enumerate(corners):
        low = np.floor(np.minimum(np.minimum(a, b), c)[:2] - 0.5).astype(int).clip(0)
        high = np.ceil(np.maximum(np.maximum(a, b), c)[:2] + 0.5).astype(int).clip(0, side)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0 or not x.size:
            continue
        second = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        third = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / area
        z = a[2] + second * (b[2] - a[2]) + third * (c[2] - a[2])
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        seen = (second >= 0) & (third >= 0) & (second + third <= 1) & (z > depth[part])
        depth[part][seen], face[part][seen] = z[seen], index
        shares[part][seen] = np.stack([1 - second - third, second, third], axis=-1)[seen]
    hit = face >= 0
    light = 0.25 + 0.75 * np.abs(normals[face] @ LIGHT)
    shaded = np.where(hit, light, 1)[..., None] * np.ones(3)
    pictures = [shaded]
    if paint is not None:
        coloured = np.ones((side, side, 3))
        coloured[hit] = paint.sample(face[hit], shares[hit])
        pictures.append(coloured)
    return [
        np.rint(255 * p.reshape(size, SAMPLES, size, SAMPLES, 3).mean(axis=(1, 3))).astype(np.uint8)
        for p in pictures
    ]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--pitch", type=float, default=0.0)
    parser.add_argument("--turn", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=SIZE)
    given = parser.parse_args()
    tilt, spin = (
        trimesh.transformations.rotation_matrix(np.radians(angle), axis)[:3, :3]
        for angle, axis in ((given.pitch, (1, 0, 0)), (given.turn, (0, 0, 1)))
    )
    columns = [draw(path, tilt @ spin, given.size) for path in given.files]
    rows = max(map(len, columns))
    blank = np.full((given.size, given.size, 3), 255, np.uint8)
    stacked = [np.vstack([*column, *[blank] * (rows - len(column))]) for column in columns]
    Image.fromarray(np.hstack(stacked)).save(given.picture)


if __name__ == "__main__":
    main()
