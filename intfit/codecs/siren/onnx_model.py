"""A SIREN as an ONNX model: two nodes a layer, written without an exporter."""

import json
from collections.abc import Mapping

import numpy as np

from ... import __version__
from ...coding.header import Header
from ...errors import UsageError
from ...networks.architecture import SirenConfig
from ...signals import AXES, Floats

#: Old enough for any runtime of today: Gemm and Sin have not changed since.
OPSET, IR_VERSION = 13, 8
#: The most bytes of parameters: protobuf holds no message of 2 GiB.
MAX_BYTES = (1 << 31) - (1 << 20)


def build_model(tensors: Mapping[str, Floats], config: SirenConfig, header: Header) -> bytes:
    """The bytes of a model from ``coordinates`` ``[B, d]`` to ``values`` ``[B, c]``, float32.

    Its initializers have the names and shapes of the open profile's tensors. Its metadata are the
    ``medium``, and as JSON its ``facts`` and the ``network``.

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
    nodes, current = [], "coordinates"
    for layer in range(config.depth + 1):
        last = layer == config.depth
        # omega (W x + b), as one operation
        omega = 1.0 if last else config.omega if layer else config.omega_first
        before, after = f"arguments.{layer}", f"layers.{layer}.output"
        inputs = [current, f"layers.{layer}.weight", f"layers.{layer}.bias"]
        output = "values" if last else before
        nodes.append(helper.make_node("Gemm", inputs, [output], alpha=omega, beta=omega, transB=1))
        if not last:
            nodes.append(helper.make_node("Sin", [before], [after]))
        current = after
    graph = helper.make_graph(
        nodes,
        "siren",
        [helper.make_tensor_value_info("coordinates", number, ["B", config.in_features])],
        [helper.make_tensor_value_info("values", number, ["B", config.out_features])],
        [numpy_helper.from_array(np.asarray(tensors[n], np.float32), n) for n in config.shapes()],
    )
    model = helper.make_model(
        graph,
        producer_name="intfit",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        doc_string=(
            f"A SIREN of one {header.medium}: coordinates {AXES[config.in_features]} in [-1, 1] "
            "along the longest axis to values in about [-1, 1]."
        ),
    )
    facts, network = (json.dumps(part, sort_keys=True) for part in (header.facts, header.network))
    helper.set_model_props(model, {"medium": header.medium, "facts": facts, "network": network})
    data: bytes = model.SerializeToString(deterministic=True)
    return data
