#!/usr/bin/env python3
"""Compare netc on ONNX's nine "light" models with ONNX Runtime, and with the outputs that ONNX ships for them.

    python3 tools/onnx_light.py [--netc PATH] MODEL.onnx…      (needs onnx, onnxruntime and numpy)

The models have the structure of real nets, and every weight is a constant. Each is run as it is, and
compared with MODEL_output_0.pb beside it, where that is, and without its last softmax with ONNX Runtime;
then with seeded random weights in place of the constants: nodes ConstantOfShape, which stand for
weights, become tensors, scaled so that values keep their size. Prints a table: how many lines the source
has that `netc import` makes, and the largest differences relative to the largest number.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_runs import difference, lines, ours, rivals


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--netc", default="target/release/netc")
    args = parser.parse_args()
    print(f"{'model':28} {'lines':>5} {'flat':>5} {'its output':>10} {'as shipped':>10} {'random weights':>14}")
    for path in args.models:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            model = onnx.load(path)
            x = ramp(model)
            output = path.with_name(f"{path.stem}_output_0.pb")
            own = "-"
            if output.exists():
                wanted = numpy_helper.to_array(onnx.load_tensor(output))
                own = f"{difference(ours(args.netc, path, x, folder), wanted):.1e}"
            errors = []
            for variant in (logits_only(model), with_weights(logits_only(onnx.load(path)))):
                onnx.save(variant, folder / path.name)
                found = ours(args.netc, folder / path.name, x, folder)
                errors.append(difference(found, rivals(folder / path.name, x)))
            counts = "".join(f" {count:5}" for count in lines(args.netc, path))
            print(f"{path.stem:28}{counts} {own:>10} {errors[0]:10.1e} {errors[1]:14.1e}", flush=True)


def ramp(model):
    """The input that ONNX's outputs belong to: numbers that rise from 0 to 1."""
    weights = {tensor.name for tensor in model.graph.initializer}
    given = next(value for value in model.graph.input if value.name not in weights)
    shape = [dim.dim_value or 1 for dim in given.type.tensor_type.shape.dim]
    size = int(np.prod(shape))
    return (np.arange(size).reshape(shape) / size).astype(np.float32)


def logits_only(model):
    """The model without its last softmax, behind which differences vanish."""
    last = model.graph.node[-1]
    if last.op_type == "Softmax":
        name = model.graph.output[0].name
        del model.graph.node[-1]
        for node in model.graph.node:
            node.output[:] = [name if output == last.input[0] else output for output in node.output]
            node.input[:] = [name if operand == last.input[0] else operand for operand in node.input]
    return model


def with_weights(model):
    """The model with random tensors in place of nodes that fill one with a constant."""
    rng = np.random.default_rng(7)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    variances = {node.input[4] for node in model.graph.node if node.op_type == "BatchNormalization"}
    scales = {node.input[1] for node in model.graph.node if node.op_type == "BatchNormalization"}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        name, shape = node.output[0], [int(size) for size in shapes[node.input[0]]]
        if len(shape) >= 2:
            values = rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        elif name in variances or name in scales:
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.standard_normal(shape) * 0.1
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {operand for node in kept for operand in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    inputs = [value for value in model.graph.input if value.name in used and value.name not in shapes]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


if __name__ == "__main__":
    main()
