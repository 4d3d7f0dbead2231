"""Time steps of training, netc against PyTorch on the CPU, in turns.

    python -m venv .venv && .venv/bin/pip install -r benches/rivals/requirements.txt
    cargo build --release
    .venv/bin/python benches/training/bench.py [--threads 2] [--rounds 9] [lenet5] [cifar_resnet20] [mobilenet_v2]

A step is forward, backward and SGD with momentum on one batch of random inputs that stays in memory; all layers are
trained. PyTorch runs in four forms: as it is, with its tensors channels-last, compiled, and both; each is a process of
its own that waits between turns, with glibc's malloc told neither to trim nor to map, which helps it much. A round gives
each contender one turn of a second or so; the figure of a turn is the median of its steps, that of a contender the median
of its turns. The last column is netc's rate over the best of PyTorch's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = {"lenet5": (64, 60), "cifar_resnet20": (128, 4), "mobilenet_v2": (32, 2)}
FORMS = ["plain", "channels-last", "compiled", "compiled channels-last"]


def worker(case, form, threads):
    """Serve turns: for each line on standard input the median seconds of some steps on standard output."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    sys.path.append(str(ROOT / "tools"))
    from torch_nets import Basic, Lenet5, PadShortcut

    torch.set_num_threads(threads)
    torch.manual_seed(0)

    def resnet20():
        layers, before = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            for unit in range(3):
                layers.append(Basic(before, channels, stride if unit == 0 else 1, PadShortcut))
                before = channels
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))

    def mobilenet():
        import torchvision

        return torchvision.models.mobilenet_v2()

    make, size, classes = {
        "lenet5": (Lenet5, (1, 32, 32), 10),
        "cifar_resnet20": (resnet20, (3, 32, 32), 10),
        "mobilenet_v2": (mobilenet, (3, 224, 224), 1000),
    }[case]
    batch, steps = CASES[case]
    net, x = make(), torch.randn(batch, *size)
    target = torch.randint(0, classes, (batch,))
    if "channels-last" in form:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    run = torch.compile(net) if "compiled" in form else net

    def step():
        begin = time.perf_counter()
        optimiser.zero_grad()
        F.cross_entropy(run(x), target).backward()
        optimiser.step()
        return time.perf_counter() - begin

    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(statistics.median(step() for _ in range(steps)), flush=True)


def netc(case, threads):
    batch, steps = CASES[case]
    command = [str(ROOT / "target/release/netc"), "bench", str(ROOT / f"specs/{case}.net"), "--train", "--format", "json"]
    command += ["--batch", str(batch), "--runs", str(steps), "--warmup", "2", "--threads", str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)["median_seconds"]


def measure(case, threads, rounds):
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_THRESHOLD_": str(1 << 40)}
    workers = {}
    for form in FORMS:
        command = [sys.executable, __file__, "--worker", case, form, "--threads", str(threads)]
        workers[form] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        if workers[form].stdout.readline().strip() != "ready":
            sys.exit(f"PyTorch does not run {case} {form}")
    times = {name: [] for name in ["netc", *FORMS]}
    for _ in range(rounds):
        times["netc"].append(netc(case, threads))
        for form, process in workers.items():
            process.stdin.write("turn\n")
            process.stdin.flush()
            times[form].append(float(process.stdout.readline()))
    for process in workers.values():
        process.stdin.close()
        process.wait()
    rates = {name: CASES[case][0] / statistics.median(found) for name, found in times.items()}
    best = max(rates[form] for form in FORMS)
    row = " | ".join(f"{rates[name]:.1f}" for name in ["netc", *FORMS])
    print(f"| {case} | {CASES[case][0]} | {row} | {rates['netc'] / best:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(*options.worker, options.threads)
    if unknown := [case for case in options.cases if case not in CASES]:
        parser.error(f"there is no {unknown[0]!r}; choose from {', '.join(CASES)}")
    print(f"images a second, {options.threads} threads, medians of {options.rounds} turns\n")
    print(f"| net | batch | netc | {' | '.join(FORMS)} | netc / best |\n|---|--:|" + "--:|" * (len(FORMS) + 2))
    for case in options.cases or CASES:
        measure(case, options.threads, options.rounds)


if __name__ == "__main__":
    main()
