#!/usr/bin/env python3
"""Compare netc with ONNX Runtime on models, the weights of which may be constants.

    python3 tools/onnx_light.py [--netc PATH] MODEL.onnx…      (needs onnx, onnxruntime and numpy)

ONNX's nine "light" models have the structure of real nets, and every weight is a constant. Each model is
run as it is, then with seeded random weights in place of the constants: nodes ConstantOfShape, which
stand for weights, become tensors, scaled so that values keep their size. Prints a table: how many lines
the source has that `netc import` makes, and the largest difference between the logits relative to the
largest of them.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--netc", default="target/release/netc")
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    print(f"{'model':28} {'lines':>5} {'flat':>5} {'as shipped':>11} {'random weights':>14}")
    for path in args.models:
        with tempfile.TemporaryDirectory() as folder:
            shipped, random = Path(folder) / path.name, Path(folder) / "random.onnx"
            model = onnx.load(path)
            onnx.save(logits_only(model), shipped)
            onnx.save(with_weights(logits_only(onnx.load(path))), random)
            lines = [len(imported(args.netc, path, *flags).splitlines()) for flags in ([], ["--flat"])]
            errors = [difference(args.netc, model, Path(folder)) for model in (shipped, random)]
            print(f"{path.stem:28} {lines[0]:5} {lines[1]:5} {errors[0]:11.1e} {errors[1]:14.1e}", flush=True)


def imported(netc, path, *flags):
    return subprocess.run([netc, "import", str(path), *flags], check=True, capture_output=True, text=True).stdout


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
    return model


def difference(netc, path, folder):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in inputs[0].shape]
    size = int(np.prod(shape))
    x = (np.arange(size, dtype=np.float32) / size).reshape(shape)
    wanted = session.run(None, {inputs[0].name: x})[0]
    np.save(folder / "x.npy", x)
    subprocess.run([netc, "run", str(path), "--input", str(folder / "x.npy"), "--output", str(folder / "y.npy")], check=True, capture_output=True)
    found = np.load(folder / "y.npy").reshape(wanted.shape)
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30)


if __name__ == "__main__":
    main()
