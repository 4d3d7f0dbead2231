"""Runs the modules in the folders that are named: their outputs on x.npy must be those in y0.npy, y1.npy, ….

Each module is run as it is, as TorchScript, as TorchScript from a file, and by torch.export where PyTorch has that; and
its state_dict must have the names in the weights. Prints what is wrong.
"""

import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

BOUND = 3e-5


def outputs_of(model, inputs):
    with torch.no_grad():
        outputs = model(*inputs)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def faults(folder):
    spec = importlib.util.spec_from_file_location(folder.name, folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load()
    inputs = [torch.from_numpy(np.load(path)) for path in sorted(folder.glob("x*.npy"))]
    count = len(list(folder.glob("y*.npy")))
    expected = [torch.from_numpy(np.load(folder / f"y{at}.npy")) for at in range(count)]
    scripted = torch.jit.script(model)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    forms = {"module": model, "script": scripted, "script from a file": torch.jit.load(file)}
    if hasattr(torch, "export"):
        forms["export"] = torch.export.export(model, tuple(inputs)).module()
    for form, run in forms.items():
        outputs = outputs_of(run, inputs)
        if len(outputs) != count:
            yield f"{form}: {len(outputs)} outputs instead of {count}"
        for at, (actual, wanted) in enumerate(zip(outputs, expected)):
            if actual.shape != wanted.shape:
                yield f"{form}: output {at} is {list(actual.shape)} instead of {list(wanted.shape)}"
                continue
            error = float((actual - wanted).abs().max() / wanted.abs().max())
            if not error <= BOUND:
                yield f"{form}: output {at} is off by {error:.1e}"
    names = set(load_file(folder / "model.safetensors"))
    if set(model.state_dict()) != names:
        yield f"names of parameters: {sorted(set(model.state_dict()) ^ names)}"
    again = module.load()
    again.load_state_dict(model.state_dict())


wrong = 0
for name in sys.argv[1:]:
    try:
        found = list(faults(Path(name)))
    except Exception as error:  # what a module raises is what this is for
        found = [f"{type(error).__name__}: {error}"]
    wrong += len(found)
    for fault in found:
        print(f"{Path(name).name}: {fault}")
print(f"torch {torch.__version__}: {len(sys.argv) - 1} modules, {wrong} faults")
sys.exit(1 if wrong else 0)
