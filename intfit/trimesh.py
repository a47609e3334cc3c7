"""A loader of trimesh: after ``import intfit.trimesh``, ``trimesh.load`` reads files of surfaces.

``trimesh.load("bunny.obj.safetensors", resolution=128)``: ``resolution`` and ``voxel`` are those of
:func:`intfit.decode`.
"""

from typing import Any, BinaryIO

from trimesh.exchange.load import mesh_loaders

from . import api
from .coding.container import SUFFIX


def load_surface(
    file_obj: BinaryIO,
    file_type: str | None = None,
    *,
    resolution: int | None = None,
    voxel: float | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Vertices ``[V, 3]`` and faces ``[F, 3]`` by name, as trimesh makes a mesh of them.

    Raises:
        IntfitError: if it is not a sound file of a surface.
    """
    field = api.load(file_obj.read())
    vertices, faces = field.render(resolution=resolution, voxel=voxel)
    return {"vertices": vertices, "faces": faces, "process": False}


mesh_loaders[SUFFIX[1:]] = load_surface
