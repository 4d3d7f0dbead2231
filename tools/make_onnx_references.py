#!/usr/bin/env python3
"""Write the small ONNX models in tests/reference/onnx, with an input and what ONNX Runtime makes of it.

    python3 tools/make_onnx_references.py        (needs onnx, onnxruntime and numpy)

Each model has one feature that importers stumble over; NAME.onnx comes with NAME.input.npy and
NAME.output.npy.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "reference" / "onnx"
RNG = np.random.default_rng(1)


def weights(name, *shape, dtype=np.float32, scale=0.5):
    return numpy_helper.from_array((RNG.standard_normal(shape) * scale).astype(dtype), name)


def ints(name, values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def node(op, inputs, outputs, name="", **attributes):
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def model(nodes, shape, initializers, opset=17, element=TensorProto.FLOAT, out=None, **more):
    graph = helper.make_graph(
        nodes,
        more.pop("title", "net"),
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", out or element, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *more.pop("opsets", [])], ir_version=8, **more)


def norm(name, c):
    return [
        numpy_helper.from_array(RNG.uniform(0.5, 1.5, c).astype(np.float32), f"{name}.weight"),
        weights(f"{name}.bias", c),
        weights(f"{name}.running_mean", c),
        numpy_helper.from_array(RNG.uniform(0.5, 1.5, c).astype(np.float32), f"{name}.running_var"),
    ]


def residual():
    """Basic blocks with PyTorch's names, one with a projection."""
    nodes, tensors = [], [weights("conv1.weight", 8, 3, 3, 3)]
    nodes.append(node("Conv", ["x", "conv1.weight"], ["c"], "/conv1/Conv", pads=[1] * 4))
    nodes.append(node("Relu", ["c"], ["r"], "/relu/Relu"))
    above = "r"
    for stage, blocks, width in [("layer1", 2, 8), ("layer2", 3, 16)]:
        for at in range(blocks):
            path = f"{stage}.{at}"
            in_c = 8 if stage == "layer1" or at == 0 else 16
            stride = 2 if stage == "layer2" and at == 0 else 1
            names = {leaf: f"{path}.{leaf}" for leaf in ("conv1", "conv2", "bn1", "bn2")}
            scope = f"/{stage}/{path}"
            tensors += [weights(f"{path}.conv1.weight", width, in_c, 3, 3), weights(f"{path}.conv2.weight", width, width, 3, 3)]
            tensors += norm(names["bn1"], width) + norm(names["bn2"], width)
            leaf = lambda bn: [f"{names[bn]}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
            nodes += [
                node("Conv", [above, f"{path}.conv1.weight"], [f"{path}a"], f"{scope}/conv1/Conv", pads=[1] * 4, strides=[stride] * 2),
                node("BatchNormalization", [f"{path}a", *leaf("bn1")], [f"{path}b"], f"{scope}/bn1/BatchNormalization"),
                node("Relu", [f"{path}b"], [f"{path}c"], f"{scope}/relu/Relu"),
                node("Conv", [f"{path}c", f"{path}.conv2.weight"], [f"{path}d"], f"{scope}/conv2/Conv", pads=[1] * 4),
                node("BatchNormalization", [f"{path}d", *leaf("bn2")], [f"{path}e"], f"{scope}/bn2/BatchNormalization"),
            ]
            skip = above
            if stride == 2:
                tensors += [weights(f"{path}.downsample.0.weight", width, in_c, 1, 1), *norm(f"{path}.downsample.1", width)]
                down = [f"{path}.downsample.1.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
                nodes += [
                    node("Conv", [above, f"{path}.downsample.0.weight"], [f"{path}f"], f"{scope}/downsample/downsample.0/Conv", strides=[2, 2]),
                    node("BatchNormalization", [f"{path}f", *down], [f"{path}g"], f"{scope}/downsample/downsample.1/BatchNormalization"),
                ]
                skip = f"{path}g"
            nodes += [node("Add", [f"{path}e", skip], [f"{path}h"], f"{scope}/Add"), node("Relu", [f"{path}h"], [f"{path}i"], f"{scope}/relu_1/Relu")]
            above = f"{path}i"
    tensors += [weights("fc.weight", 10, 16), weights("fc.bias", 10)]
    nodes += [
        node("GlobalAveragePool", [above], ["p"], "/avgpool/GlobalAveragePool"),
        node("Flatten", ["p"], ["f"], "/Flatten"),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], "/fc/Gemm", transB=1),
    ]
    return model(nodes, ["N", 3, 16, 16], tensors, title="main_graph")


def channels_last():
    """An image with its channels last, turned at both ends, and a dense layer over the flattened map."""
    nodes = [
        node("Sub", ["x", "mean"], ["m"]),
        node("Transpose", ["m"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "stem/kernel", "stem/bias"], ["c"], "stem/Conv2D", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("Transpose", ["c"], ["u"], perm=[0, 2, 3, 1]),
        node("Relu", ["u"], ["r"]),
        node("MatMul", ["r", "mix/kernel"], ["k"]),
        node("Add", ["k", "mix/bias"], ["b"]),
        node("Reshape", ["b", "flat"], ["f"]),
        node("MatMul", ["f", "dense/kernel"], ["d"]),
        node("Add", ["d", "dense/bias"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(np.array([0.4, 0.5, 0.6], np.float32), "mean"), weights("stem/kernel", 4, 3, 3, 3), weights("stem/bias", 4),
        weights("mix/kernel", 4, 5), weights("mix/bias", 5), ints("flat", [-1, 5 * 4 * 3]), weights("dense/kernel", 60, 7), weights("dense/bias", 7),
    ]
    return model(nodes, ["N", 8, 6, 3], tensors)


def shape_arithmetic():
    """A size that is computed from that of the input, as PyTorch exports interpolate."""
    nodes = [
        node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], pads=[1] * 4, strides=[2, 2]),
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "two", "four", "zero"], ["hw"]),
        node("Shape", ["c"], ["cs"]),
        node("Slice", ["cs", "nought", "two", "zero"], ["nc"]),
        node("Cast", ["hw"], ["hwi"], to=TensorProto.INT64),
        node("Concat", ["nc", "hwi"], ["sizes"], axis=0),
        node("Resize", ["c", "", "", "sizes"], ["u"], mode="linear", coordinate_transformation_mode="align_corners"),
        node("Concat", ["x", "u"], ["j"], axis=1),
        node("Shape", ["j"], ["js"]),
        node("Gather", ["js", "first"], ["n"]),
        node("Unsqueeze", ["n", "zero"], ["nn"]),
        node("Concat", ["nn", "rest"], ["to"], axis=0),
        node("GlobalAveragePool", ["j"], ["g"]),
        node("Reshape", ["g", "to"], ["y"]),
    ]
    tensors = [
        weights("conv.weight", 4, 3, 3, 3), weights("conv.bias", 4), ints("zero", [0]), ints("nought", [0]), ints("two", [2]), ints("four", [4]),
        ints("first", 0), ints("rest", [-1]),
    ]
    return model(nodes, ["batch", 3, 12, 10], tensors)


def functions():
    """A function of the model's own, called twice, with an attribute passed on; and a branch that is known."""
    body = [
        node("Conv", ["a", "w"], ["c"]),
        node("LeakyRelu", ["c"], ["b"]),
    ]
    body[1].attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    function = helper.make_function("own", "Step", ["a", "w"], ["b"], body, [helper.make_opsetid("", 17)], ["slope"])
    branch = lambda op: helper.make_graph([node(op, ["m"], ["z"])], op, [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
    nodes = [
        helper.make_node("Step", ["x", "first"], ["l"], domain="own", slope=0.2),
        helper.make_node("Step", ["l", "second"], ["m"], domain="own", slope=0.5),
        node("If", ["yes"], ["y"], then_branch=branch("Sigmoid"), else_branch=branch("Tanh")),
    ]
    tensors = [weights("first", 4, 3, 1, 1), weights("second", 5, 4, 1, 1), numpy_helper.from_array(np.array(True), "yes")]
    return model(nodes, [1, 3, 5, 4], tensors, functions=[function], opsets=[helper.make_opsetid("own", 1)])


def quantised():
    """Weights of 8 bits with a scale for each output channel, and of 16 bits."""
    quantised = RNG.integers(-100, 100, (6, 3, 3, 3)).astype(np.int8)
    nodes = [
        node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        node("Conv", ["x", "w"], ["c"], "conv"),
        node("Cast", ["half"], ["h"], to=TensorProto.FLOAT),
        node("Mul", ["c", "h"], ["s"]),
        node("Clip", ["s", "low", "high"], ["y"]),
    ]
    tensors = [
        numpy_helper.from_array(quantised, "q"), numpy_helper.from_array(RNG.uniform(0.01, 0.02, 6).astype(np.float32), "scale"),
        numpy_helper.from_array(RNG.integers(-3, 3, 6).astype(np.int8), "zero"), weights("half", 1, 6, 1, 1, dtype=np.float16),
        numpy_helper.from_array(np.float32(0), "low"), numpy_helper.from_array(np.float32(6), "high"),
    ]
    return model(nodes, ["N", 3, 6, 6], tensors)


def caffe():
    """Batch norm whose scale and shift are nodes of their own, padding as a node, and a grouped shuffle."""
    nodes = [
        node("Pad", ["x", "pads"], ["p"]),
        node("Conv", ["p", "conv1_w_0"], ["c"]),
        node("BatchNormalization", ["c", "bn_s_0", "bn_b_0", "bn_m_0", "bn_v_0"], ["n"]),
        node("Unsqueeze", ["scale_w_0", "axes"], ["sw"]),
        node("Mul", ["n", "sw"], ["s"]),
        node("Unsqueeze", ["scale_b_0", "axes"], ["sb"]),
        node("Add", ["s", "sb"], ["b"]),
        node("Reshape", ["b", "cut"], ["g"]),
        node("Transpose", ["g"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "joined"], ["j"]),
        node("Sigmoid", ["j"], ["i"]),
        node("Mul", ["j", "i"], ["y"]),
    ]
    c = 6
    tensors = [
        ints("pads", [0, 0, 1, 0, 0, 0, 1, 2]), weights("conv1_w_0", c, 3, 3, 3), weights("bn_s_0", c), weights("bn_b_0", c), weights("bn_m_0", c),
        numpy_helper.from_array(RNG.uniform(0.5, 1.5, c).astype(np.float32), "bn_v_0"), ints("axes", [1, 2]), weights("scale_w_0", c), weights("scale_b_0", c),
        ints("cut", [0, 2, 3, 6, 5]), ints("joined", [0, -1, 6, 5]),
    ]
    return model(nodes, [1, 3, 6, 5], tensors)


def external():
    """Tensors in a file beside the model."""
    nodes = [node("Conv", ["x", "w", "b"], ["y"])]
    return model(nodes, [1, 3, 4, 4], [weights("w", 2, 3, 3, 3), weights("b", 2)])


def pyramid():
    """Levels that are made smaller and larger again, gates whose products are used twice, functions written out."""
    nodes = [
        node("Conv", ["x", "stem.weight"], ["s"], pads=[1] * 4, strides=[2, 2]),
        node("Mul", ["s", "a"], ["sa"], "p2o.Mul.0"),
        node("Add", ["sa", "b"], ["sb"], "p2o.Add.0"),
        *hard_swish("sb", "c2"),
        node("Conv", ["c2", "stage.weight"], ["d"], pads=[1] * 4, strides=[2, 2]),
        *hard_swish("d", "c3"),
        node("Conv", ["c2", "lateral2.weight"], ["l2"]),
        *gated("l2", "gate2", "g2"),
        node("Conv", ["c3", "lateral3.weight"], ["l3"]),
        *gated("l3", "gate3", "g3"),
        node("Resize", ["g3", "", "scales"], ["up"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Add", ["g2", "up"], ["p2"]),
        node("Resize", ["g3", "", "scales"], ["up3"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Concat", ["p2", "up3"], ["y"], axis=1),
    ]
    scalars = [numpy_helper.from_array(np.float32(value), name) for name, value in [("a", 1.25), ("b", -0.5), ("three", 3), ("six", 6), ("zero", 0)]]
    tensors = [
        weights("stem.weight", 4, 3, 3, 3), weights("stage.weight", 6, 4, 3, 3), weights("lateral2.weight", 8, 4, 1, 1), weights("lateral3.weight", 8, 6, 1, 1),
        *(weights(f"gate{level}.{part}.{leaf}", *shape) for level in (2, 3) for part, leaf, shape in [
            ("reduce", "weight", (2, 8, 1, 1)), ("reduce", "bias", (2,)), ("expand", "weight", (8, 2, 1, 1)), ("expand", "bias", (8,))]),
        numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales"), *scalars,
    ]
    return model(nodes, ["n", 3, "h", "w"], tensors, title="Model from PaddlePaddle.")


def hard_swish(x, y):
    return [
        node("Add", [x, "three"], [f"{y}_shifted"]), node("Clip", [f"{y}_shifted", "zero", "six"], [f"{y}_bent"]),
        node("Mul", [x, f"{y}_bent"], [f"{y}_product"]), node("Div", [f"{y}_product", "six"], [y]),
    ]


def gated(x, name, y):
    """x + x * gate(x)"""
    return [
        node("GlobalAveragePool", [x], [f"{name}_p"]),
        node("Conv", [f"{name}_p", f"{name}.reduce.weight", f"{name}.reduce.bias"], [f"{name}_r"]), node("Relu", [f"{name}_r"], [f"{name}_f"]),
        node("Conv", [f"{name}_f", f"{name}.expand.weight", f"{name}.expand.bias"], [f"{name}_e"]), node("HardSigmoid", [f"{name}_e"], [f"{name}_s"], alpha=0.2),
        node("Mul", [x, f"{name}_s"], [f"{name}_m"]), node("Add", [x, f"{name}_m"], [y]),
    ]


def detector():
    """Levels whose anchors are lined up, and joined; one with the channels of its anchors split."""
    nodes = [
        node("Conv", ["x", "stem.weight"], ["s"], pads=[1] * 4, strides=[2, 2]), node("Relu", ["s"], ["c1"]),
        node("MaxPool", ["c1"], ["c2"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["c1", "head1.weight"], ["h1"]), node("Conv", ["c2", "head2.weight"], ["h2"]),
        node("Transpose", ["h1"], ["t1"], perm=[0, 2, 3, 1]), node("Reshape", ["t1", "lines"], ["r1"]),
        node("Reshape", ["h2", "anchors"], ["a2"]), node("Transpose", ["a2"], ["t2"], perm=[0, 1, 3, 4, 2]),
        node("Sigmoid", ["t2"], ["g2"]), node("Reshape", ["g2", "lines"], ["r2"]),
        node("Concat", ["r1", "r2"], ["y"], axis=1),
    ]
    tensors = [weights("stem.weight", 4, 3, 3, 3), weights("head1.weight", 10, 4, 1, 1), weights("head2.weight", 10, 4, 1, 1), ints("lines", [1, -1, 5]), ints("anchors", [1, 2, 5, 2, 3])]
    return model(nodes, [1, 3, 8, 12], tensors)


def arithmetic():
    """What is rare and still expressed: cuts by padding, picked channels, reductions, values spread over others, and shuffles
    that are cut, turned and joined."""
    nodes = [
        node("Pad", ["x", "cut"], ["p"]), node("Gather", ["p", "order"], ["bgr"], axis=1),
        node("Reshape", ["bgr", "cells"], ["c5"]), node("Transpose", ["c5"], ["t5"], perm=[0, 1, 3, 5, 2, 4]), node("Reshape", ["t5", "deep"], ["d"]),
        node("Conv", ["d", "conv.weight"], ["c"]),
        node("ReduceMean", ["c"], ["mean"], axes=[1]), node("ReduceMax", ["c"], ["most"], axes=[1]), node("Concat", ["mean", "most"], ["pair"], axis=1),
        node("Conv", ["pair", "attention.weight"], ["at"]), node("Sigmoid", ["at"], ["gate"]), node("Mul", ["c", "gate"], ["m"]),
        node("ReduceSum", ["m", "plane"], ["sum"]), node("ReduceL2", ["m"], ["norm"], axes=[2, 3]), node("Mean", ["sum", "norm"], ["both"]),
        node("Add", ["m", "both"], ["a"]), node("Sub", ["per_channel", "a"], ["minus"]),
        node("Resize", ["minus", "", "down"], ["small"], mode="nearest"), node("Tile", ["small", "times"], ["tiled"]),
        node("Reshape", ["tiled", "groups"], ["g"]), node("Transpose", ["g"], ["gt"], perm=[0, 1, 4, 2, 5, 3]), node("Reshape", ["gt", "wide"], ["y"]),
    ]
    tensors = [
        ints("cut", [0, 0, -1, 1, 0, 0, -1, -1]), ints("order", [2, 1, 0]), ints("cells", [0, 3, 4, 2, 4, 2]), ints("deep", [0, 12, 4, 4]), weights("conv.weight", 8, 12, 1, 1),
        weights("attention.weight", 1, 2, 1, 1), ints("plane", [2, 3]), weights("per_channel", 8, 1, 1), numpy_helper.from_array(np.float32([1, 1, 0.5, 0.5]), "down"),
        ints("times", [1, 1, 2, 1]), ints("groups", [0, 2, 2, 2, 4, 2]), ints("wide", [0, 2, 8, 4]),
    ]
    return model(nodes, [1, 3, 10, 8], tensors, opset=13)


def formulas():
    """Norms and functions written out, in the forms of several exporters."""
    scalars = {"half": 0.5, "one": 1, "two": 2, "three": 3, "root2": np.sqrt(2), "cubic": 0.044715, "root": np.sqrt(2 / np.pi), "eps": 1e-6, "eps5": 1e-5}
    nodes = [
        node("Conv", ["x", "stem.weight"], ["c"], pads=[1] * 4),
        # A norm over the channels, which stand last.
        node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        node("ReduceMean", ["t"], ["m"], axes=[-1]), node("Sub", ["t", "m"], ["d"]), node("Pow", ["d", "two"], ["q"]),
        node("ReduceMean", ["q"], ["v"], axes=[-1]), node("Add", ["v", "eps"], ["e"]), node("Sqrt", ["e"], ["s"]), node("Div", ["d", "s"], ["n"]),
        node("Mul", ["n", "norm.weight"], ["w"]), node("Add", ["w", "norm.bias"], ["b"]), node("Transpose", ["b"], ["h"], perm=[0, 3, 1, 2]),
        # gelu as PyTorch writes it.
        node("Div", ["h", "root2"], ["g1"]), node("Erf", ["g1"], ["g2"]), node("Add", ["g2", "one"], ["g3"]), node("Mul", ["h", "g3"], ["g4"]), node("Mul", ["g4", "half"], ["g"]),
        # gelu with tanh.
        node("Pow", ["g", "three"], ["t1"]), node("Mul", ["t1", "cubic"], ["t2"]), node("Add", ["g", "t2"], ["t3"]), node("Mul", ["t3", "root"], ["t4"]),
        node("Tanh", ["t4"], ["t5"]), node("Add", ["t5", "one"], ["t6"]), node("Mul", ["g", "half"], ["t7"]), node("Mul", ["t7", "t6"], ["t8"]),
        node("Softplus", ["t8"], ["m1"]), node("Tanh", ["m1"], ["m2"]), node("Mul", ["t8", "m2"], ["mish"]),
        node("GlobalAveragePool", ["mish"], ["p"]), node("Flatten", ["p"], ["f"]),
        # A norm of a vector, by the inverse of the root.
        node("ReduceMean", ["f"], ["fm"], axes=[1]), node("Sub", ["f", "fm"], ["fd"]), node("Mul", ["fd", "fd"], ["fq"]), node("ReduceMean", ["fq"], ["fv"], axes=[1]),
        node("Add", ["fv", "eps5"], ["fe"]), node("Sqrt", ["fe"], ["fs"]), node("Reciprocal", ["fs"], ["fi"]), node("Mul", ["fd", "fi"], ["fn"]),
        node("Gemm", ["fn", "fc.weight", "fc.bias"], ["y"], transB=1),
    ]
    tensors = [
        weights("stem.weight", 6, 3, 3, 3), weights("norm.weight", 6), weights("norm.bias", 6), weights("fc.weight", 4, 6), weights("fc.bias", 4),
        *(numpy_helper.from_array(np.float32(value), name) for name, value in scalars.items()),
    ]
    return model(nodes, ["n", 3, 6, 5], tensors, opset=13)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for make in (residual, channels_last, shape_arithmetic, functions, quantised, caffe, external, pyramid, detector, arithmetic, formulas):
        made = make()
        path = FOLDER / f"{make.__name__}.onnx"
        shape = [d.dim_value or {"h": 16, "w": 24}.get(d.dim_param, 2) for d in made.graph.input[0].type.tensor_type.shape.dim]
        x = RNG.uniform(0, 1, shape).astype(np.float32)
        y = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})[0]
        if make is external:
            onnx.save_model(made, path, save_as_external_data=True, all_tensors_to_one_file=True, location="external.bin", size_threshold=0)
        else:
            onnx.save_model(made, path)
        np.save(FOLDER / f"{make.__name__}.input.npy", x)
        np.save(FOLDER / f"{make.__name__}.output.npy", y)
        print(f"{path.name}: {list(x.shape)} to {list(y.shape)}")


if __name__ == "__main__":
    main()
