"""A plain SIREN as a field, for every medium: trained step by step, then quantised and packed."""

from typing import TYPE_CHECKING

from ...coding.header import Header
from ...coding.tensors import Tensors
from ...plan import Plan
from ...signals import Evaluate
from ..protocol import Encoding, Hooks, Prepared
from .config import AnyConfig, colours_of, configure, distance_of
from .packing import parts, unpack

__all__ = [
    "DECODES_ON_DEVICE", "configure", "decode", "describe_plan", "encode", "make_module", "parts",
    "trains", "unpack", "write_onnx",
]  # fmt: skip

if TYPE_CHECKING:
    from torch import nn

    from .evaluation import PaintedField, SirenField

DECODES_ON_DEVICE = True


def trains(plan: Plan) -> bool:
    """A SIREN is always trained."""
    return True


def encode(prepared: Prepared, hooks: Hooks) -> Encoding:
    """Train one SIREN, or where a goal alone is set, search for the narrowest that reaches it.

    Raises:
        IntfitError: if training diverges, or the packed file cannot be as small as asked.
    """
    from .fitting import fit
    from .width_search import search_width

    if prepared.plan.goal is None or prepared.plan.stops_at_goal:
        return fit(prepared, hooks)
    return search_width(prepared, hooks)


def decode(tensors: Tensors, config: AnyConfig, device: str) -> Evaluate:
    """The SIREN with these parameters, evaluated by torch on ``device``."""
    from .evaluation import load_network

    return load_network(tensors, config, device)


def make_module(field: "SirenField | PaintedField", config: AnyConfig) -> "nn.Module":
    """The network itself, with the names of a file's tensors; its parameters can be trained."""
    from .evaluation import copy_network

    return copy_network(field)


def write_onnx(tensors: Tensors, config: AnyConfig, header: Header) -> bytes:
    """The network as an ONNX model.

    Raises:
        UsageError: if onnx is missing, or the network is too large for its files.
    """
    from .onnx_model import build_model

    return build_model(tensors, config, header)


def describe_plan(prepared: Prepared) -> str:
    """The network and its training in a phrase."""
    plan, config = prepared.plan, distance_of(prepared.config)
    colours = colours_of(prepared.config)
    beside = "" if colours is None else f" (and {colours.width} x {colours.depth} for colours)"
    bound = f"{plan.steps} steps" if plan.steps else f"{plan.max_time:g} s"
    teacher = f"{plan.teacher} ({plan.selection})" if plan.teacher == "int" else plan.teacher
    return (
        f"SIREN {config.width} x {config.depth}{beside}, {prepared.config.count()} weights, omega "
        f"{config.omega_first:g} / {config.omega:g}; {teacher}, batch {plan.batch}, {bound}, "
        f"lr {plan.lr:.3g}; {prepared.device}"
    )
