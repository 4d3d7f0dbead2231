"""Makes what the engines read, in .material/rivals: `models.py CASE...`

The nets and their random weights are those of tools/torch_parity.py: seeded, batch norms with measured and then
disturbed statistics. From one PyTorch model come the weights as safetensors for netc, ONNX files with fixed sizes whose
weights stand beside them (so that who can map them does), and from these MNN's and ncnn's own formats. The reference
output is PyTorch's in double precision.

What is there already is not made again; a file appears under its name only when it is whole.
"""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from cases import MODELS, ROOT, Case
from safetensors.torch import save_file

sys.path.insert(0, str(ROOT / "tools"))
import torch_parity  # noqa: E402

SEED = 2015


def main():
    MODELS.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for case in map(Case.parse, sys.argv[1:]):
            if not case.file("mark").exists():
                print(f"making {case}", file=sys.stderr, flush=True)
                make(case)


def make(case):
    """All files of a case; the mark comes last and says that they are whole."""
    torch.manual_seed(SEED)
    model = torch_parity.NETS[case.net]()
    torch_parity.randomise(model, torch.randn(4, *case.shape[1:]))
    x = torch.randn(case.shape, generator=torch.Generator().manual_seed(case.batch))
    with tempfile.TemporaryDirectory(dir=MODELS, prefix=".partial-") as folder:
        folder = Path(folder)
        save_file(model.state_dict(), folder / case.weights.name)
        x.numpy().tofile(folder / case.file("input").name)
        copy.deepcopy(model).double()(x.double()).numpy().tofile(folder / case.file("expected").name)
        export(case, model, x, folder)
        for path in folder.iterdir():
            path.replace(MODELS / path.name)
    case.file("mark").touch()


def export(case, model, x, folder):
    whole = folder / "whole.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(model, (x,), whole, dynamo=False, opset_version=17, **names)
    convert_to_mnn(case, whole, folder)
    convert_to_ncnn(case, whole, folder)
    name = case.file("onnx").name
    onnx.save(onnx.load(whole), folder / name, save_as_external_data=True, location=f"{name}.data", size_threshold=1024)
    whole.unlink()


def convert_to_mnn(case, source, folder):
    target = folder / case.file("mnn").name
    tool = [sys.executable, "-c", "from MNN.tools.mnnconvert import main; main()"]
    call([*tool, "-f", "ONNX", "--modelFile", source, "--MNNModel", target, "--bizCode", "netc"], folder, target)


def convert_to_ncnn(case, source, folder):
    """For one image, whatever the batch is: ncnn has none."""
    if case.batch != 1:
        return
    shape = ",".join(map(str, case.shape))
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(source, Path(scratch) / "net.onnx")
        target = Path(scratch) / "net.ncnn.bin"
        call([pnnx(), "net.onnx", f"inputshape=[{shape}]", "fp16=0"], scratch, target)
        for kind in ("param", "bin"):
            shutil.move(Path(scratch) / f"net.ncnn.{kind}", folder / case.file(f"ncnn.{kind}").name)


def pnnx():
    """The converter that the package pnnx puts beside the interpreter."""
    beside = Path(sys.executable).with_name("pnnx")
    return beside if beside.exists() else "pnnx"


def call(command, folder, target):
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not target.exists():
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        sys.exit(f"models.py: no {target.name} from {' '.join(map(str, command))}\n{said}")


if __name__ == "__main__":
    main()
