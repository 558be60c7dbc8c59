"""Tiny ONNX models whose answers are known in closed form."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_model(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def convolution(weights: np.ndarray, bias=None, *, shape=None, pad: bool = True, after=()) -> onnx.ModelProto:
    """One convolution with `weights` (out, in, ...), then the nodes named in `after`; `shape` fixes the input's."""
    space = weights.ndim - 2
    shape = shape or ["n", weights.shape[1], *"zyx"[-space:]]
    pads = [k // 2 for k in weights.shape[2:]] * 2 if pad else [0] * 2 * space
    values = {"w": weights.astype(np.float32)}
    if bias is not None:
        values["b"] = np.asarray(bias, np.float32)
    names = ["x", *values]
    nodes = [helper.make_node("Conv", names, ["c0"], pads=pads)]
    for k, (kind, attributes) in enumerate(after):
        nodes.append(helper.make_node(kind, [f"c{k}"], [f"c{k + 1}"], **attributes))
    last = f"c{len(after)}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [None] * (space + 2))],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def box_mean(side: int = 3, limit: float = 0.0) -> np.ndarray:
    """Weights of the mean of a cube."""
    return np.full((1, 1, side, side, side), 1 / side**3)


def edge_model() -> onnx.ModelProto:
    """Two classes over 3 × 3 × 3 voxels: of 1 where their mean is above 0."""
    mean = box_mean()[0, 0]
    return convolution(np.stack([-mean, mean])[:, None])


def averaging_model(classes: int = 2) -> onnx.ModelProto:
    """Halves and doubles its input, so that sizes must be even; the scores are those of a threshold at 0."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["half"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        helper.make_node("Resize", ["half", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Concat", ["x", "up"], ["y"], axis=1),
    ]
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2, 2], np.float32), "scales")
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "z", "y", "x"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 5)],
        [scales],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
