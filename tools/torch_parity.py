"""Compare netc with PyTorch on whole nets and write docs/torch-parity.md.

    cargo build --release
    python -m venv .venv && .venv/bin/pip install -r tools/requirements.txt
    .venv/bin/python tools/torch_parity.py                        # the usual nets
    .venv/bin/python tools/torch_parity.py --nets vgg19 resnet152  # some others
    .venv/bin/python tools/torch_parity.py --nets all

Each net gets random weights from a fixed seed, and batch norms whose statistics, weights and
biases are all random, so that folding them is really tested. The weights go to a safetensors file,
the inputs (two of one image, one of three) to .npy files, and `netc run` must give PyTorch's
logits: max|a-b| / max|b| over every input at most 3e-5. The exit code is 1 otherwise.

The table also shows how far netc (as it runs by default, and with --exact) and PyTorch itself are from
PyTorch's answer in double precision; the bounds there are 2e-5 and, with --exact, 5e-6 or PyTorch's own distance.
"""

import argparse
import copy
import datetime
import shlex
import subprocess
import sys
import tempfile
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torchvision.models as models
from safetensors.torch import save_file
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

ROOT = Path(__file__).resolve().parent.parent
BOUND = 3e-5
DOUBLE_BOUND, EXACT_BOUND = 2e-5, 5e-6
SEED = 2015
INPUTS = [(1, 1.0), (1, 2.0), (3, 1.0)]  # how many images, and their contrast


def lenet5():
    """LeNet-5 as it is taught today: dense conv2, average pooling without weights, 10 logits."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5),
            tanh1=nn.Tanh(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            tanh2=nn.Tanh(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            tanh3=nn.Tanh(),
            fc2=nn.Linear(120, 84),
            tanh4=nn.Tanh(),
            fc3=nn.Linear(84, 10),
        )
    )


def googlenet():
    return models.googlenet(init_weights=False, aux_logits=False, transform_input=False)


USUAL = {
    "lenet5": lenet5,
    "alexnet": models.alexnet,
    "vgg16": models.vgg16,
    "vgg16_bn": models.vgg16_bn,
    "resnet18": models.resnet18,
    "resnet50": models.resnet50,
    "googlenet": googlenet,
    "mobilenet_v2": models.mobilenet_v2,
}
EXTRA = {
    "vgg11": models.vgg11,
    "vgg13": models.vgg13,
    "vgg19": models.vgg19,
    "resnet34": models.resnet34,
    "resnet101": models.resnet101,
    "resnet152": models.resnet152,
    "densenet121": models.densenet121,
}
NETS = USUAL | EXTRA


def input_shape(name):
    return (1, 32, 32) if name == "lenet5" else (3, 224, 224)


def randomise(model, images):
    """Random weights that keep the signal alive to the last layer.

    Batch norm statistics are first measured on `images` and then disturbed; wholly random ones
    would let a deep net fade or explode, and its logits would no longer depend on the input. What
    a residual block adds is kept small, as training leaves it: blocks that double the signal would
    amplify rounding errors too, tenfold and more in ResNet-50.
    """
    norms = []
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.momentum = None  # the running statistics become those of the one batch below
            norms.append(module)

    for module in model.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
            nn.init.uniform_(last.weight, 0.1, 0.5)

    model.eval()
    if norms:
        for norm in norms:
            norm.train()
        model(images)
        model.eval()
    for norm in norms:
        deviation = norm.running_var.sqrt()
        norm.running_mean += 0.2 * deviation * torch.randn_like(deviation)
        norm.running_var *= torch.empty_like(deviation).uniform_(0.7, 1.4)


def difference(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def run_netc(netc, spec, weights, image, output, *options):
    command = [netc, "run", spec, "--weights", weights, "--input", image, "--output", output, *options]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(str(part) for part in command)}\n{done.stderr.strip()}")
    return np.load(output)


def compare(name, netc, folder):
    """One row of the table: what netc and what single precision itself is off by at most."""
    torch.manual_seed(SEED)
    model = NETS[name]()
    inputs = [gain * torch.randn(batch, *input_shape(name)) for batch, gain in INPUTS]
    randomise(model, torch.cat(inputs))
    precise = copy.deepcopy(model).double()
    logits = [model(x).numpy() for x in inputs]
    double = [precise(x.double()).numpy() for x in inputs]
    if difference(logits[0], logits[1]) < 0.1:
        raise RuntimeError("two inputs give nearly the same logits, so this would test little")

    weights = folder / f"{name}.safetensors"
    save_file(model.state_dict(), weights)
    errors, against_double, exact = [], [], []
    for i, (x, expected) in enumerate(zip(inputs, logits)):
        image, output = folder / f"{name}.input{i}.npy", folder / f"{name}.output{i}.npy"
        np.save(image, x.numpy())
        got = run_netc(netc, ROOT / "specs" / f"{name}.net", weights, image, output)
        if got.shape != expected.shape or got.dtype != np.float32:
            raise RuntimeError(f"got {got.dtype} {got.shape}, expected float32 {expected.shape}")
        errors.append(difference(got, expected))
        against_double.append(difference(got, double[i]))
        summed = run_netc(netc, ROOT / "specs" / f"{name}.net", weights, image, output, "--exact")
        exact.append(difference(summed, double[i]))
    return {
        "net": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "errors": errors,
        "worst": float(np.max(errors)),  # NaN if any of them is
        "double": float(np.max(against_double)),
        "exact": float(np.max(exact)),
        "single": max(difference(a, b) for a, b in zip(logits, double)),
    }


def table(rows):
    lines = [
        "| net | parameters | first image | second image | batch of 3 | netc to f64 | --exact to f64 | PyTorch to f64 | within the bounds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        if "failure" in row:
            lines.append(f"| {row['net']} | | | | | | | | **failed** |")
            continue
        errors = " | ".join(f"{error:.1e}" for error in row["errors"])
        verdict = "yes" if passed(row) else "**no**"
        lines.append(
            f"| {row['net']} | {row['parameters']:,} | {errors} | {row['double']:.1e} | {row['exact']:.1e} "
            f"| {row['single']:.1e} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def passed(row):
    if "failure" in row:
        return False
    exact_bound = max(EXACT_BOUND, row["single"])
    return row["worst"] <= BOUND and row["double"] <= DOUBLE_BOUND and row["exact"] <= exact_bound


def report(rows, netc):
    built = subprocess.run([netc, "--version"], capture_output=True, text=True).stdout.strip()
    names = " ".join(row["net"] for row in rows)
    return f"""# netc against PyTorch

The same random weights (batch norms included) and inputs given to PyTorch and to `netc run`.
Each figure is max|a-b| / max|b| over the logits. Against PyTorch in single precision the bound is
{BOUND:.0e}; then come the largest distances from PyTorch's answer in double precision, where the bounds are
{DOUBLE_BOUND:.0e} and, with `--exact`, {EXACT_BOUND:.0e} or PyTorch's own distance where that is larger.

{table(rows)}
Made on {datetime.date.today()} with {built},
PyTorch {version("torch")}, torchvision {version("torchvision")}, NumPy {version("numpy")}, by

    python tools/torch_parity.py --nets {names}
"""


def arguments():
    parser = argparse.ArgumentParser(description="Compare netc with PyTorch on whole nets.")
    parser.add_argument(
        "--nets",
        nargs="+",
        default=list(USUAL),
        metavar="NET",
        help=f"'all' or some of {', '.join(NETS)} (default: {', '.join(USUAL)})",
    )
    parser.add_argument(
        "--netc",
        type=Path,
        default=ROOT / "target" / "release" / "netc",
        help="the binary (default: the project's target/release/netc)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="keep weights, inputs and outputs here (default: a temporary folder)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=ROOT / "docs" / "torch-parity.md",
        help="the page to write (default: the project's docs/torch-parity.md)",
    )
    chosen = parser.parse_args()
    if chosen.nets == ["all"]:
        chosen.nets = list(NETS)
    unknown = [name for name in chosen.nets if name not in NETS]
    if unknown:
        parser.error(f"no such net: {', '.join(unknown)}; there are {', '.join(NETS)}")
    chosen.netc = chosen.netc.resolve()
    if not chosen.netc.is_file():
        parser.error(f"no netc binary at {chosen.netc}; build it with `cargo build --release`")
    return chosen


def main():
    chosen = arguments()
    rows = []
    for name in chosen.nets:
        with tempfile.TemporaryDirectory(prefix="torch-parity-") as temporary:
            folder = chosen.work or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with torch.no_grad():
                    row = compare(name, chosen.netc, folder)
                print(f"{name}: {row['worst']:.1e}", flush=True)
            except (RuntimeError, OSError, ValueError) as failure:
                row = {"net": name, "failure": failure}
                print(f"{name}: failed\n{failure}", file=sys.stderr, flush=True)
        rows.append(row)

    print("\n" + table(rows))
    chosen.report.parent.mkdir(parents=True, exist_ok=True)
    chosen.report.write_text(report(rows, chosen.netc))
    return 0 if all(passed(row) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
