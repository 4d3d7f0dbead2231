#!/usr/bin/env python3
"""Export nets with `netc export` and compare ONNX Runtime's results with netc's own.

    python3 tools/check_onnx_export.py [--netc PATH] [--opset N]… [--photos FOLDER] [FILE…]

Needs onnx, onnxruntime, safetensors and numpy; for photos also pillow.

Each net (by default all of specs/, and the examples of docs/language.md, which has some for each layer)
gets seeded random weights and statistics. The model must pass onnx.checker with full checks. Prints for
each net the largest difference between the outputs relative to the largest of them, for the fast and the
exact executor, and with batch norms folded; exits with 1 when one is over 3e-5 (1e-5 for the exact
executor).

With photos, nets that say how an image becomes their input are exported with that in the graph, and are
given the pixels; the differences are then those of resampled bytes that are rounded otherwise, and the
largest over all photos is printed.
"""

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file, save_file

FAST, EXACT = 3e-5, 1e-5
LATEST = 21
OLD = 13  # before this operator set layers may be refused, from then on only those that these words are about
LACKING = ["dilated windows of AveragePool need operator set 19"]
LEAST = 40  # examples of a document
RESAMPLED = 5e-3  # the largest difference that bytes rounded otherwise make
FREE = 64  # for sizes that a net leaves free


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", type=Path)
    parser.add_argument("--netc", default="target/release/netc")
    parser.add_argument("--opset", type=int, action="append")
    parser.add_argument("--photos", type=Path)
    args = parser.parse_args()
    files = args.nets or [*sorted(Path("specs").glob("*.net")), Path("docs/language.md")]
    if args.photos:
        return compare_photos(args.netc, files, args.photos)
    failed = False
    print(f"{'net':20} {'opset':>5} {'nodes':>5} {'fast':>8} {'exact':>8} {'folded':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for net in [net for file in files for net in nets(args.netc, file, Path(folder))]:
            for opset, nodes, errors in compared(args.netc, net, args.opset or [LATEST], Path(folder)):
                if isinstance(errors, str):
                    failed |= opset >= OLD and not any(lacking in errors for lacking in LACKING)
                    print(f"{net.stem:20} {opset:5} {errors}", flush=True)
                    continue
                wrong = [not error <= most for error, most in zip(errors, (FAST, EXACT, FAST))]
                failed |= any(wrong)
                cells = " ".join(f"{error:8.1e}" for error in errors)
                print(f"{net.stem:20} {opset:5} {nodes:5} {cells}{'  WRONG' * any(wrong)}", flush=True)
    sys.exit(failed)


def compare_photos(netc, files, photos):
    from PIL import Image

    failed = False
    print(f"{'net':20} {'photos':>6} {'largest':>8} {'same first':>10}")
    for net in [file for file in files if file.suffix == ".net" and "preprocess" in file.read_text()]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            weights, model, photo = folder / "weights.safetensors", folder / "model.onnx", folder / "photo.png"
            run(netc, "init", net, "-o", weights)
            run(netc, "export", net, "--weights", weights, "-o", model, "--with-preprocess")
            onnx.checker.check_model(str(model), full_check=True)
            session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
            [given], [output] = session.get_inputs(), session.get_outputs()
            errors, same = [], []
            for path in sorted(photos.glob("*.*g")):
                image = Image.open(path).convert("RGB")
                image.save(photo)
                run(netc, "run", net, "--weights", weights, "--input", photo, "-o", folder / "result.safetensors")
                ours = load_file(folder / "result.safetensors")[output.name]
                theirs = session.run(None, {given.name: np.asarray(image)[None]})[0]
                errors.append(float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
                same.append(ours.argmax() == theirs.argmax())
            print(f"{net.stem:20} {len(errors):6} {max(errors):8.1e} {sum(same):10}", flush=True)
            failed |= not (errors and max(errors) <= RESAMPLED and all(same))
    sys.exit(failed)


def nets(netc, path, folder):
    """The net of a file, or those of a document's examples that stand by themselves and are right."""
    if path.suffix != ".md":
        return [path]
    found, lines = [], iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        if line != "```net":
            continue
        body = "\n".join(text for _, text in itertools.takewhile(lambda line: line[1] != "```", lines))
        if not re.search(r"^(net|block) ", body, re.M):
            begins = "" if re.search(r"^\s*input ", body, re.M) else "input image: [16, 32, 32]\n"
            ends = "" if re.search(r"^\s*output ", body, re.M) else "\noutput features"
            body = f"net example {{\n{begins}{body}{ends}\n}}\n"
        net = folder / f"{path.stem}_{number}.net"
        net.write_text(body)
        if "import " not in body and subprocess.run([netc, "shapes", str(net)], capture_output=True).returncode == 0:
            found.append(net)
    if len(found) < LEAST:
        sys.exit(f"{path}: {len(found)} of its examples are nets, fewer than {LEAST}")
    return found


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
        export = [str(part) for part in (netc, "export", net, "--weights", weights, "-o", model, "--opset", opset)]
        refused = subprocess.run(export, capture_output=True, text=True)
        if refused.returncode:
            yield opset, 0, refused.stderr.strip().split("\n  help:")[0]
            continue
        try:
            onnx.checker.check_model(str(model), full_check=True)
            session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        except Exception as error:  # the checker's and the runtime's own kinds
            yield opset, 0, f"WRONG {error}"
            continue
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
