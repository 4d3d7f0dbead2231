#!/usr/bin/env python3
"""Export nets with `netc export` and compare ONNX Runtime's results with netc's own.

    python3 tools/check_onnx_export.py [--netc PATH] [--opset N]… [NET.net…]   (needs onnx, onnxruntime, safetensors, numpy)

Each net (by default all of specs/) gets seeded random weights and statistics. The model must pass
onnx.checker with full checks. Prints for each net the largest difference between the outputs relative to
the largest of them, for the fast and the exact executor, and with batch norms folded; exits with 1 when
one is over 3e-5 (1e-5 for the exact executor).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

FAST, EXACT = 3e-5, 1e-5
FREE = 64  # for sizes that a net leaves free


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", type=Path)
    parser.add_argument("--netc", default="target/release/netc")
    parser.add_argument("--opset", type=int, action="append")
    args = parser.parse_args()
    nets = args.nets or sorted(Path("specs").glob("*.net"))
    failed = False
    print(f"{'net':20} {'opset':>5} {'nodes':>5} {'fast':>8} {'exact':>8} {'folded':>8}")
    for net in nets:
        with tempfile.TemporaryDirectory() as folder:
            for opset, nodes, errors in compared(args.netc, net, args.opset or [21], Path(folder)):
                wrong = [error > most for error, most in zip(errors, (FAST, EXACT, FAST))]
                failed |= any(wrong)
                cells = " ".join(f"{error:8.1e}" for error in errors)
                print(f"{net.stem:20} {opset:5} {nodes:5} {cells}{'  WRONG' * any(wrong)}", flush=True)
    sys.exit(failed)


def compared(netc, net, opsets, folder):
    """For each operator set the number of nodes, and the differences fast, exact and folded."""
    weights = folder / "weights.safetensors"
    run(netc, "init", net, "-o", weights)
    tensors = load_file(weights)
    rng = np.random.default_rng(1)
    for name, tensor in tensors.items():
        if name.endswith("running_var"):
            tensors[name] = rng.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
        elif name.endswith(("running_mean", "bias")):
            tensors[name] = (0.1 * rng.standard_normal(tensor.shape)).astype(np.float32)
    save_file(tensors, weights)
    model, inputs, outputs = folder / "model.onnx", [], {}
    for opset in opsets:
        run(netc, "export", net, "--weights", weights, "-o", model, "--opset", str(opset))
        onnx.checker.check_model(str(model), full_check=True)
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        if not outputs:
            inputs = [(x.name, sizes(x.shape)) for x in session.get_inputs()]
            outputs = {exact: own(netc, net, weights, inputs, folder, exact) for exact in (False, True)}
        feed = {name: np.load(folder / f"{name}.npy") for name, _ in inputs}
        errors = [largest(outputs[exact], session, feed) for exact in (False, True)]
        nodes = len(onnx.load(model).graph.node)
        del session
        run(netc, "export", net, "--weights", weights, "-o", model, "--opset", str(opset), "--fold-bn")
        onnx.checker.check_model(str(model), full_check=True)
        folded = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        errors.append(largest(outputs[False], folded, feed))
        yield opset, nodes, errors


def sizes(shape):
    batch = 2
    return [batch] + [size if isinstance(size, int) else FREE for size in shape[1:]]


def own(netc, net, weights, inputs, folder, exact):
    """netc's outputs by name."""
    rng = np.random.default_rng(2)
    given = []
    for name, shape in inputs:
        np.save(folder / f"{name}.npy", rng.standard_normal(shape).astype(np.float32))
        given.append(f"{name}={folder / name}.npy" if len(inputs) > 1 else f"{folder / name}.npy")
    result = folder / "result.safetensors"
    flags = ["--exact"] if exact else []
    run(netc, "run", net, "--weights", weights, "--input", *given, "-o", result, *flags)
    return load_file(result)


def largest(ours, session, feed):
    """The largest difference, relative to the largest value of the output it is in."""
    names = [output.name for output in session.get_outputs()]
    theirs = dict(zip(names, session.run(None, feed)))
    assert set(ours) == set(theirs), (set(ours), set(theirs))
    return max(float(np.abs(ours[name] - b).max() / np.abs(b).max()) for name, b in theirs.items())


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")


if __name__ == "__main__":
    main()
