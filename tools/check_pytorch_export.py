"""Compares what `netc export --to pytorch` writes with netc itself, on each net of specs/.

    python tools/check_pytorch_export.py [--netc target/release/netc] [--exact] [NET…]

Each net gets seeded weights, of which none is what it begins with, not even biases and statistics; the module reads them
and must give the same outputs, also as TorchScript and by torch.export. The error is max |a - b| / max |b|.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
FREE = {"H": 64, "W": 96}


def netc(arguments, options):
    command = [str(options.netc), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def weights(net, folder, options):
    """Seeded weights; biases, scales, shifts and statistics are drawn too."""
    path = folder / "seeded.safetensors"
    netc(["init", net, "-o", path, "--seed", 7], options)
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(7)
    for name, tensor in tensors.items():
        if name.endswith(("running_mean", "bias")):
            tensors[name] = torch.randn(tensor.shape, generator=generator) * 0.1
        elif name.endswith("running_var") or tensor.dim() == 1:
            tensors[name] = torch.rand(tensor.shape, generator=generator) + 0.5
    save_file(tensors, path)
    return path


def error(actual, expected):
    return float((actual - expected).abs().max() / expected.abs().max())


def check(net, options):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = weights(net, folder, options)
        netc(["export", net, "-o", folder / "model.py", "--weights", stored], options)
        report = json.loads(netc(["shapes", net, "--format", "json"], options))
        (declared,) = report["input"].values()
        sizes = [FREE.get(size, size) for size in declared]
        free = [f"{symbol}={FREE[symbol]}" for symbol in declared if symbol in FREE]
        x = torch.randn([2, *sizes], generator=torch.Generator().manual_seed(1))
        np.save(folder / "x.npy", x.numpy())
        run = ["run", net, "--weights", stored, "--input", folder / "x.npy", "--output", folder / "y.npy"]
        run += ["--exact"] if options.exact else []
        netc(run + [part for size in free for part in ("--set", size)], options)
        expected = torch.from_numpy(np.load(folder / "y.npy"))
        spec = importlib.util.spec_from_file_location("model", folder / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.load()
        with torch.no_grad():
            found = {"module": error(model(x), expected)}
            found["script"] = error(torch.jit.script(model)(x), expected)
            if hasattr(torch, "export"):
                dynamic = None
                if free:
                    # What the net says of its sizes: multiples of 16.
                    dynamic = ({axis: 16 * torch.export.Dim(f"n{axis}", min=2, max=64) for axis in (2, 3)},)
                program = torch.export.export(model, (x,), dynamic_shapes=dynamic)
                found["export"] = error(program.module()(x), expected)
                if free:
                    other = torch.randn(2, sizes[0], 48, 80)
                    assert program.module()(other).shape[2:] == (48, 80)
        names = set(load_file(stored))
        assert set(model.state_dict()) == names, set(model.state_dict()) ^ names
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--netc", type=Path, default=ROOT / "target/release/netc")
    parser.add_argument("--exact", action="store_true", help="sum convolutions product by product; the bound is 1e-5")
    parser.add_argument("nets", nargs="*", type=Path)
    options = parser.parse_args()
    bound = 1e-5 if options.exact else 3e-5
    nets = [net.resolve() for net in options.nets] or sorted((ROOT / "specs").glob("*.net"))
    print(f"torch {torch.__version__}, bound {bound:g}")
    print(f"{'net':24}{'module':>10}{'script':>10}{'export':>10}")
    wrong = 0
    for net in nets:
        found = check(net, options)
        columns = [f"{found[kind]:10.1e}" if kind in found else f"{'-':>10}" for kind in ("module", "script", "export")]
        too_far = any(not error <= bound for error in found.values())  # no comparison holds for NaN
        wrong += too_far
        print(f"{net.stem:24}{''.join(columns)}{'  too far' if too_far else ''}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
