"""Runs the modules in the folders that are named: their outputs on x0.npy, x1.npy, … must be those in y0.npy, y1.npy, ….

They may be off by 3e-5 of the largest, or where there is a bounds.npy by what it has for each output.

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
    spec = importlib.util.spec_from_file_location(f"net_{folder.name}", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load()
    inputs = [torch.from_numpy(np.load(path)) for path in sorted(folder.glob("x*.npy"), key=lambda path: int(path.stem[1:]))]
    count = len(list(folder.glob("y*.npy")))
    expected = [torch.from_numpy(np.load(folder / f"y{at}.npy")) for at in range(count)]
    bounds = np.load(folder / "bounds.npy") if (folder / "bounds.npy").exists() else None
    scripted = torch.jit.script(model)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    forms = {"module": model, "script": scripted, "script from a file": torch.jit.load(file)}
    if hasattr(torch, "export") and "--no-export" not in sys.argv:
        forms["export"] = torch.export.export(model, tuple(inputs)).module()
    for form, run in forms.items():
        outputs = outputs_of(run, inputs)
        if len(outputs) != count:
            yield f"{form}: {len(outputs)} outputs instead of {count}"
        for at, (actual, wanted) in enumerate(zip(outputs, expected)):
            if actual.shape != wanted.shape:
                yield f"{form}: output {at} is {list(actual.shape)} instead of {list(wanted.shape)}"
                continue
            error, largest = float((actual - wanted).abs().max()), float(wanted.abs().max())
            bound = float(bounds[at]) if bounds is not None else BOUND * largest
            if not error <= bound:
                yield f"{form}: output {at} is off by {error:.1e} of {largest:.1e}, where {bound:.1e} is allowed"
    names = set(load_file(folder / "model.safetensors"))
    if set(model.state_dict()) != names:
        yield f"names of parameters: {sorted(set(model.state_dict()) ^ names)}"
    again = module.load()
    again.load_state_dict(model.state_dict())


wrong = 0
folders = [name for name in sys.argv[1:] if name != "--no-export"]
for name in folders:
    try:
        found = list(faults(Path(name)))
    except Exception as error:  # what a module raises is what this is for
        found = [f"{type(error).__name__}: {error}"]
    wrong += len(found)
    for fault in found:
        print(f"{Path(name).name}: {fault}")
print(f"torch {torch.__version__}: {len(folders)} modules, {wrong} faults")
sys.exit(1 if wrong else 0)
