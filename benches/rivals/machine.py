"""What the figures were made on and with."""

import os
import platform
import re
import subprocess
from importlib import metadata

from cases import HERE, ROOT

PACKAGES = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "MNN": "MNN", "ncnn": "ncnn", "PyTorch": "torch"}


def describe():
    versions = {name: metadata.version(package) for name, package in PACKAGES.items()}
    versions["rten"] = re.search(r'^rten = .*"=([0-9.]+)"', (HERE / "rten/Cargo.toml").read_text(), re.M)[1]
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
    }


def processor():
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown CPU")


def commit():
    """The commit of the tree, with a `+` where files differ from it."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.lock", "Cargo.toml")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
