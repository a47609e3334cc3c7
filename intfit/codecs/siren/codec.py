"""A plain SIREN as a field, for every medium: trained step by step, then quantised and packed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...coding import weights
from ...coding.container import Stored
from ...coding.header import Header
from ...coding.tensors import Tensors, payload_of, read_open
from ...networks.architecture import SirenConfig
from ...plan import Plan
from ...settings import Settings
from ...signals import Evaluate
from ..protocol import Encoding, Hooks, Prepared

if TYPE_CHECKING:
    from torch import nn

    from .evaluation import SirenField

DECODES_ON_DEVICE = True


def configure(signal: Any, plan: Plan, settings: Settings) -> SirenConfig:
    """The SIREN of a plan, for a signal's inputs and outputs."""
    return SirenConfig(
        in_features=signal.in_features,
        out_features=signal.out_features,
        width=plan.width,
        depth=plan.depth,
        omega_first=float(plan.omega_first),
        omega=float(plan.omega),
    )


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


def unpack(stored: Mapping[str, Stored], config: SirenConfig) -> Tensors:
    """The parameters in a file.

    Raises:
        FileFormatError: if it does not hold them.
    """
    payload = payload_of(stored)
    if payload is None:
        return read_open(stored, config.shapes())
    tensors = weights.unpack(payload, config.shapes())
    return {name: tensor.dequantise() for name, tensor in tensors.items()}


def decode(tensors: Tensors, config: SirenConfig, device: str) -> Evaluate:
    """The SIREN with these parameters, evaluated by torch on ``device``."""
    from .evaluation import load_network

    return load_network(tensors, config, device)


def make_module(field: "SirenField", config: SirenConfig) -> "nn.Module":
    """The network itself, with the names of a file's tensors; its parameters can be trained."""
    from .evaluation import copy_network

    return copy_network(field, config)


def write_onnx(tensors: Tensors, config: SirenConfig, header: Header) -> bytes:
    """The network as an ONNX model.

    Raises:
        UsageError: if onnx is missing, or the network is too large for its files.
    """
    from .onnx_model import build_model

    return build_model(tensors, config, header)


def parts(payload: bytes, config: SirenConfig) -> dict[str, float]:
    """The bytes that each tensor of a packed payload takes."""
    return {part.name: round(part.size, 1) for part in weights.parts(payload, config.shapes())}


def describe_plan(prepared: Prepared) -> str:
    """The network and its training in a phrase."""
    plan, config = prepared.plan, prepared.config
    bound = f"{plan.steps} steps" if plan.steps else f"{plan.max_time:g} s"
    teacher = f"{plan.teacher} ({plan.selection})" if plan.teacher == "int" else plan.teacher
    return (
        f"SIREN {config.width} x {config.depth}, {config.count()} weights, omega "
        f"{config.omega_first:g} / {config.omega:g}; {teacher}, batch {plan.batch}, {bound}, "
        f"lr {plan.lr:.3g}; {prepared.device}"
    )
