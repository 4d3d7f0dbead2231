#!/usr/bin/env python3
"""Times netc on generated files of 1,000, 10,000 and 100,000 layers, one row a shape of file and command.

    tools/scale.py NETC [--sizes 1000,10000,100000] [--only flat,wide] [--commands check,cost] [--keep DIR]

A row is linear when its seconds and its memory grow no faster than its layers. Needs Linux, and nothing but Python.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

HEAD = "net scale {\n  input image: [8, 16, 16]\n"
TAIL = "  output end\n}\n"


def flat(n):
    """One chain, a line each."""
    lines = [f"  c{i}: conv(8, 1)" if i % 2 == 0 else "  relu" for i in range(n)]
    return HEAD + "\n".join(lines) + "\n" + TAIL


def repeated(n):
    """A few lines that repeat a block."""
    block = "block unit(c) {\n  conv1: conv(c, 3, pad = 1, bias = false)\n  bn1: bn\n  relu\n  drop: dropout(0.5)\n}\n"
    return block + HEAD + f"  body: sequential {{ repeat {n // 4} {{ unit(8) }} }}\n" + TAIL


def residual(n):
    """Skips written out."""
    unit = "  add {{ {{ a{0}: conv(8, 1, bias = false); n{0}: bn; relu }}; identity }}\n"
    return HEAD + "".join(unit.format(i) for i in range(n // 5)) + TAIL


def wide(n):
    """One concat with a branch each."""
    branches = "".join(f"    b{i}: conv(1, 1)\n" for i in range(n))
    return HEAD + "  concat {\n" + branches + "  }\n" + TAIL


def listed(n):
    """Values of one stem, joined by a list of names."""
    values = "".join(f"  s{i}: from stem {{ v{i}: conv(1, 1) }}\n" for i in range(n))
    names = ",\n    ".join(f"s{i}" for i in range(n))
    return HEAD + "  stem: relu\n" + values + f"  concat({names})\n" + TAIL


def fan(n):
    """Everything adds the same stem again."""
    return HEAD + "  stem: relu\n" + "  add(prev, stem)\n" * n + TAIL


def ladder(n):
    """A U-net without stages: every value of the way down is used on the way up."""
    down = "".join(f"  d{i}: relu\n" for i in range(n // 2))
    up = "".join(f"  add(prev, d{i})\n" for i in reversed(range(n // 2)))
    return HEAD + down + up + TAIL


def deep(n):
    """Labelled braces 250 deep, again and again."""
    depth = 250
    tower = "".join(f"s{i}: sequential {{ " for i in range(depth))
    text = ""
    for i in range(max(1, n // 500)):
        text += f"  t{i}: {{ {tower}" + "relu; " * 500 + "}" * (depth + 1) + "\n"
    return HEAD + text + TAIL


def outputs(n):
    """An output behind every layer."""
    return HEAD + "".join(f"  relu\n  output o{i}\n" for i in range(n)) + "}\n"


def lets(n):
    """A name bound and used on every line."""
    body = "".join(f"  let n{i} = {'8' if i == 0 else f'n{i - 1}'}\n  c{i}: conv(n{i}, 1)\n" for i in range(n))
    return HEAD + body + TAIL


def blocks(n):
    """As many blocks as calls."""
    text = "".join(f"block b{i} {{ conv: conv(8, 1) }}\n" for i in range(n))
    return text + HEAD + "".join(f"  c{i}: b{i}\n" for i in range(n)) + TAIL


def symbolic(n):
    """Free height and width, that shrink."""
    lines = [f"  c{i}: conv(8, 3)" if i % 2 == 0 else "  relu" for i in range(n)]
    return HEAD.replace("16, 16", "H, W") + "\n".join(lines) + "\n" + TAIL


def halved(n):
    """Free height and width, halved and doubled again and again."""
    lines = ["  maxpool(2)" if i % 2 == 0 else "  upsample(2)" for i in range(n)]
    return HEAD.replace("16, 16", "H, W") + "\n".join(lines) + "\n" + TAIL


def dropped(n):
    """Layers that a plan drops or merges, each shown as an output."""
    unit = "  identity\n  dropout\n  output o{0}\n  c{0}: conv(8, 1, bias = false)\n  n{0}: bn\n  output p{0}\n"
    return HEAD + "".join(unit.format(i) for i in range(n // 4)) + "}\n"


def norms(n):
    """One convolution read by a batch norm and a relu again and again."""
    unit = "  from stem {{ n{0}: bn; relu; output o{0} }}\n"
    return HEAD + "  stem: conv(8, 1)\n" + "".join(unit.format(i) for i in range(n // 2)) + "}\n"


def gates(n):
    """One product with a gate from each of many convolutions."""
    gates = "".join(f"    {{ avgpool(global); g{i}: conv(8, 1) }}\n" for i in range(n // 2))
    return HEAD + "  mul {\n    identity\n" + gates + "  }\n" + TAIL


def budgets(n):
    """A block with budgets, called again and again."""
    block = "block unit {\n  budget { macs <= 1 G; params <= 1 G; peak_memory <= 1 GB }\n  conv: conv(8, 1)\n  relu\n}\n"
    return block + HEAD + "".join(f"  u{i}: unit\n" for i in range(n // 2)) + TAIL


def misfits(n):
    """Skips that do not fit, behind long branches."""
    branch = "".join(f"a{{0}}_{i}: conv(8, 3); " for i in range(8))
    unit = "  from stem {{ add {{ {{ " + branch + " }}; identity }} }}\n"
    return HEAD + "  stem: relu\n" + "".join(unit.format(i) for i in range(n // 9)) + TAIL


def unknown(n):
    """Many labels, and as many names that are none of them."""
    text = "".join(f"  label{i}: relu\n  add(prev, lable{i})\n" for i in range(n // 2))
    return HEAD + text + TAIL


def params(n):
    """A block with as many parameters as its call has arguments."""
    names = [f"p{i}" for i in range(n)]
    block = "block many(" + ", ".join(names) + ") {\n" + "".join(f"  {p}: conv({p}, 1)\n" for p in names) + "}\n"
    return block + HEAD + "  call: many(" + ", ".join("8" for _ in names) + ")\n" + TAIL


def mistakes(n):
    """A mistake on every line."""
    return HEAD + "".join(f"  c{i}: cnov(8, 1)\n" for i in range(n)) + TAIL


def unparsed(n):
    """A line that does not parse, again and again."""
    return HEAD + "".join(f"  c{i}: conv(8 1)\n" for i in range(n)) + TAIL


def advised(n):
    """Advice on every line."""
    return HEAD + "  conv(8, 1)\n" * n + TAIL


def one_line(n):
    """Everything on one line."""
    return flat(n).replace("\n", "; ").replace("{;", "{").replace("; }; ", "}\n")


def table(n):
    """A list of lists, walked once."""
    rows = ",\n  ".join(f"[{i}, 8]" for i in range(n))
    return f"let table = [\n  {rows}\n]\n" + HEAD + "  for [i, c] in table { c{i}: conv(c, 1) }\n" + TAIL


def imports(n, directory):
    """A chain of 120 files, and a crowd of files beside each other."""
    depth, per = 120, max(1, n // 240)
    for at in range(depth):
        body = "".join(f"  c{i}: conv(8, 1)\n" for i in range(per))
        below = f'import "chain{at + 1}.net"\n' if at + 1 < depth else ""
        inner = f"  below: chain{at + 1}\n" if at + 1 < depth else ""
        with open(os.path.join(directory, f"chain{at}.net"), "w") as file:
            file.write(f"{below}block chain{at} {{\n{body}{inner}}}\n")
    crowd = max(1, n // 100)
    for at in range(crowd):
        with open(os.path.join(directory, f"crowd{at}.net"), "w") as file:
            file.write(f"block crowd{at} {{\n" + "".join(f"  c{i}: conv(8, 1)\n" for i in range(50)) + "}\n")
    head = 'import "chain0.net"\n' + "".join(f'import "crowd{at}.net"\n' for at in range(crowd))
    calls = "  chain: chain0\n" + "".join(f"  crowd{at}: crowd{at}\n" for at in range(crowd))
    return head + HEAD + calls + TAIL


SHAPES = {
    made.__name__: made
    for made in [flat, repeated, residual, wide, listed, fan, ladder, deep, outputs, lets, blocks, symbolic, halved]
    + [dropped, norms, gates, budgets, params, misfits, unknown, mistakes, unparsed, advised, one_line, table, imports]
}
COMMANDS = ["check", "shapes", "cost", "expand", "fmt", "plan"]


def write(name, n, directory):
    os.makedirs(directory, exist_ok=True)
    made = SHAPES[name]
    text = made(n, directory) if name == "imports" else made(n)
    path = os.path.join(directory, f"{name}{n}.net")
    with open(path, "w") as file:
        file.write(text)
    return path


def measure(netc, command, path, limit):
    """Seconds, MiB at most, and how it ended."""
    arguments = [netc, command, path] + (["--batch", "1"] if command == "plan" else [])
    start = time.monotonic()
    with open(os.devnull, "w") as null:
        process = subprocess.Popen(arguments, stdout=null, stderr=null)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - start > limit:
            process.kill()
            _, status, usage = os.wait4(process.pid, 0)
            return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, f"stopped after {limit} s"
        time.sleep(0.002)
    cpu = usage.ru_utime + usage.ru_stime
    ended = os.waitstatus_to_exitcode(status)
    return cpu, usage.ru_maxrss / 1024, "" if ended == 0 else f"exit {ended}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("netc")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--only", default=",".join(SHAPES))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--keep")
    parser.add_argument("--limit", type=float, default=60)
    options = parser.parse_args()
    directory = options.keep or tempfile.mkdtemp(prefix="netc-scale-")
    print("shape      command      layers   CPU s     MiB")
    for name in options.only.split(","):
        for command in options.commands.split(","):
            for n in map(int, options.sizes.split(",")):
                path = write(name, n, os.path.join(directory, f"{name}{n}"))
                seconds, memory, ended = measure(options.netc, command, path, options.limit)
                print(f"{name:10} {command:8} {n:10,} {seconds:7.2f} {memory:7.0f}  {ended}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
