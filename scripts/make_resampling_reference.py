#!/usr/bin/env python3
"""Write the matrices that onnxruntime's Resize applies along one axis, for the library's tests.

Each case is the image of the unit vectors under one Resize node: every coordinate mode,
linear and nearest with every rounding, by sizes and by scales.

Needs:  pip install onnx onnxruntime numpy
Usage:  python3 scripts/make_resampling_reference.py
"""

import json
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

OUTPUT = (pathlib.Path(__file__).resolve().parent.parent
          / "crates" / "specclip" / "tests" / "reference" / "resampling.json")
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
               "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
SIZES = [(1, 3), (3, 1), (2, 5), (5, 2), (4, 4), (6, 9), (7, 4)]
SCALES = [(3, 1.7), (5, 0.7), (4, 2.6)]


def matrix(inputs, mode, coordinates, rounding, sizes=None, scale=None):
    """Rows are outputs, columns inputs."""
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
    if mode == "nearest":
        attributes["nearest_mode"] = rounding
    target, kind, values = (("sizes", TensorProto.INT64, [inputs, 1, 1, sizes]) if sizes
                            else ("scales", TensorProto.FLOAT, [1.0, 1.0, 1.0, scale]))
    names = ["x", "", "", "sizes"] if sizes else ["x", "", "scales"]
    graph = helper.make_graph(
        [helper.make_node("Resize", names, ["y"], **attributes)], "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [inputs, 1, 1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor(target, kind, [4], values)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    identity = np.eye(inputs, dtype=np.float32).reshape(inputs, 1, 1, inputs)
    (images,) = session.run(None, {"x": identity})
    return images.reshape(inputs, -1).T


def is_a_matter_of_rounding(inputs, target, coordinates, rounding):
    """Where onnxruntime departs from the definition.

    It copies when the sizes are equal, whatever the coordinates; and in single precision the
    centre of three samples comes out just below 1.
    """
    copied = target.get("sizes") == inputs and coordinates == "tf_half_pixel_for_nn"
    centre = target.get("sizes") == 1 and coordinates == "half_pixel_symmetric"
    return copied or (centre and rounding == "floor")


def cases():
    """Every combination."""
    targets = [(n, {"sizes": m}) for n, m in SIZES] + [(n, {"scale": s}) for n, s in SCALES]
    for inputs, target in targets:
        for coordinates in [*COORDINATES, "tf_half_pixel_for_nn"]:
            modes = [("nearest", rounding) for rounding in ROUNDINGS]
            if coordinates != "tf_half_pixel_for_nn":
                modes.append(("linear", None))
            for mode, rounding in modes:
                if is_a_matter_of_rounding(inputs, target, coordinates, rounding):
                    continue
                result = matrix(inputs, mode, coordinates, rounding, **target)
                yield {"inputs": inputs, "outputs": len(result), "scale": target.get("scale"),
                       "mode": mode, "coordinates": coordinates, "rounding": rounding,
                       "matrix": [round(float(x), 7) for x in result.ravel()]}


if __name__ == "__main__":
    OUTPUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases()) + "\n]\n")
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")
