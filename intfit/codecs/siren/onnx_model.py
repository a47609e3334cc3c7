"""A SIREN as an ONNX model: two nodes a layer, written without an exporter."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import __version__
from ...coding.header import Header, count_features
from ...errors import UsageError
from ...signals import AXES, Floats
from ..trim_config import PREFIX
from .config import COLOURS, AnyConfig, colours_of, distance_of

#: Old enough for any runtime of today: Gemm and Sin have not changed since.
OPSET, IR_VERSION = 13, 8
#: The most bytes of parameters: protobuf holds no message of 2 GiB.
MAX_BYTES = (1 << 31) - (1 << 20)


def build_model(tensors: Mapping[str, Floats], config: AnyConfig, header: Header) -> bytes:
    """The bytes of a model from ``coordinates`` ``[B, d]`` to ``values`` ``[B, c]``, float32.

    A trim is left out. The initializers have the names and shapes of the open profile's tensors.
    The metadata are the ``medium``, and as JSON its ``facts`` and the ``network``.

    Raises:
        UsageError: if onnx is missing, or the network is too large for its files.
    """
    if 4 * config.count() > MAX_BYTES:
        raise UsageError("ONNX holds no network of 2 GiB: export it to .safetensors")
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise UsageError("onnx is missing: pip install 'intfit[onnx]'") from None
    number = TensorProto.FLOAT
    nodes, constants = _make_nodes(config)
    inside, outside = count_features(header.medium, header.facts)
    graph = helper.make_graph(
        nodes,
        "siren",
        [helper.make_tensor_value_info("coordinates", number, ["B", inside])],
        [helper.make_tensor_value_info("values", number, ["B", outside])],
        [
            *(
                numpy_helper.from_array(np.asarray(tensors[n], np.float32), n)
                for n in config.shapes()
                if not n.startswith(PREFIX)
            ),
            *constants,
        ],
    )
    model = helper.make_model(
        graph,
        producer_name="intfit",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        doc_string=(
            f"A SIREN of one {header.medium}: coordinates {AXES[inside]} in [-1, 1] "
            "along the longest axis to values in about [-1, 1]."
        ),
    )
    facts, sizes = (json.dumps(part, sort_keys=True) for part in (header.facts, header.network))
    helper.set_model_props(model, {"medium": header.medium, "facts": facts, "network": sizes})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _make_nodes(config: AnyConfig) -> tuple[list[Any], list[Any]]:
    """Nodes from ``coordinates`` to ``values``, and the constants that they need."""
    from onnx import helper

    colours = colours_of(config)
    networks = {"": distance_of(config)} | ({} if colours is None else {COLOURS: colours})
    nodes: list[Any] = []
    constants: list[Any] = []
    for prefix, network in networks.items():
        whole = "values" if colours is None else f"{prefix}values.part"
        current = "coordinates"
        for layer in range(network.depth + 1):
            last = layer == network.depth
            # omega (W x + b), as one operation
            omega = 1.0 if last else network.omega if layer else network.omega_first
            name, output = f"{prefix}layers.{layer}", f"{prefix}arguments.{layer}"
            if last:
                output = f"{prefix}outputs" if network.creases else whole
            inputs = [current, f"{name}.weight", f"{name}.bias"]
            node = helper.make_node("Gemm", inputs, [output], alpha=omega, beta=omega, transB=1)
            nodes.append(node)
            current = f"{name}.output"
            if not last:
                nodes.append(helper.make_node("Sin", [output], [current]))
        if network.creases:
            own, places = _bend(network.creases, f"{prefix}outputs", whole)
            nodes, constants = nodes + own, constants + places
    if colours is not None:
        parts = ["values.part", f"{COLOURS}values.part"]
        nodes.append(helper.make_node("Concat", parts, ["values"], axis=1))
    return nodes, constants


def _bend(creases: int, outputs: str, values: str) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that take a last layer's ``outputs`` to ``values`` with creases.

    As :func:`.siren.add_creases`: u + v |w| + ...
    """
    from onnx import helper, numpy_helper

    last = 1 + 2 * creases
    places = {"smooth": [0], "bends": range(1, last, 2), "sides": range(2, last, 2), "axis": [1]}
    constants = [
        numpy_helper.from_array(np.array(where, np.int64), f"{name}.places")
        for name, where in places.items()
    ]
    return [
        *(
            helper.make_node("Gather", [outputs, f"{name}.places"], [name], axis=1)
            for name in ("smooth", "bends", "sides")
        ),
        helper.make_node("Abs", ["sides"], ["distances"]),
        helper.make_node("Mul", ["bends", "distances"], ["creases"]),
        helper.make_node("ReduceSum", ["creases", "axis.places"], ["bent"]),
        helper.make_node("Add", ["smooth", "bent"], [values]),
    ], constants
