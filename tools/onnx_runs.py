"""Running an ONNX model with netc and with ONNX Runtime, for the tools that compare the two."""

import re
import subprocess

import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(3)


def imported(netc, path, *flags):
    """What `netc import` prints: the source, and the notes beside it."""
    run = subprocess.run([netc, "import", str(path), *flags], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(run.stderr.strip())
    return run.stdout, run.stderr


def lines(netc, path):
    """Lines of the source, with blocks and flat."""
    return [len(imported(netc, path, *flags)[0].splitlines()) for flags in ([], ["--flat"])]


def rivals(path, x):
    """ONNX Runtime's only output."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x})
    return output


def ours(netc, path, x, folder):
    """netc's output, with the axes of input and output as the model has them."""
    notes = imported(netc, path)[1]
    turned = re.findall(r"note: `\w+` is \[c, h, w\] here, and \[(.), (.), (.)\] in the model", notes)
    order = lambda axes: [0] + ["chw".index(axis) + 1 for axis in axes]
    channels_last = x.ndim == 4 and x.shape[-1] == 3
    if channels_last:
        x = x.transpose(np.argsort(order(turned.pop(0))))
    np.save(folder / "x.npy", np.ascontiguousarray(x))
    command = [netc, "run", str(path), "--input", str(folder / "x.npy"), "--output", str(folder / "y.npy")]
    subprocess.run(command, check=True, capture_output=True)
    y = np.load(folder / "y.npy")
    return y.transpose(order(turned.pop())) if turned else y


def difference(found, wanted):
    """The largest difference, relative to the largest number that is wanted."""
    return np.abs(found.reshape(wanted.shape) - wanted).max() / max(np.abs(wanted).max(), 1e-30)
