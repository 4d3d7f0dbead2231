"""Checks that the sums of the hot loops stay in registers: no vector goes to the stack or comes from there.

    cargo build --release
    python3 tools/hot_loops/check.py target/release/netc
    python3 tools/hot_loops/check.py --listing tools/hot_loops/spilled.txt    # must fail

A hot loop is an innermost loop, found by its backward jump, of a kernel (a function that `Isa::run` has compiled for one
instruction set) that has exactly the multiply-adds and loads of a tile. Each has to be there. What is read is the disassembly of
binutils' objdump.
"""

import argparse
import re
import subprocess
import sys

ADD = r"vfn?m(add|sub)\d*ps\s+"
# What a round of each loop has: so many of these instructions, and no other multiply-adds.
LOOPS = {
    "product on AVX-512, 12 rows of 32": {ADD + "zmm": 24, r"vbroadcastss\s+zmm\d+,DWORD PTR": 12},
    "product on AVX2, 6 rows of 16": {ADD + "ymm": 12, r"vbroadcastss\s+ymm\d+,DWORD PTR": 6},
    "dot products of 8 rows": {ADD + r"ymm.*YMMWORD PTR": 8},
}
KERNEL = re.compile(r"^[0-9a-f]+ <(.*isa.*x86.*run.*inner.*)>:$")
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
JUMP = re.compile(r"^j\w+\s+(?:0x)?([0-9a-f]+)\b")
VECTOR = re.compile(r"[xyz]mm\d+")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", help="an optimised binary or library")
    parser.add_argument("--listing", metavar="FILE", help="a disassembly in place of a binary")
    chosen = parser.parse_args()
    if (chosen.binary is None) == (chosen.listing is None):
        parser.error("give a binary or a listing")
    text = open(chosen.listing).read() if chosen.listing else disassemble(chosen.binary)
    found, spilled = {name: 0 for name in LOOPS}, {name: [] for name in LOOPS}
    for kernel in kernels(text):
        # By rsp, or by rbp where that is the frame's.
        has_frame = any(re.fullmatch(r"mov\s+rbp,rsp", line) for _, line in kernel)
        stack = re.compile(r"\[r[sb]p" if has_frame else r"\[rsp")
        for loop in innermost(kernel):
            for name, wanted in LOOPS.items():
                counts = {pattern: sum(bool(re.match(pattern, line)) for line in loop) for pattern in [*wanted, ADD]}
                if counts == {ADD: max(wanted.values()), **wanted}:
                    found[name] += 1
                    spilled[name] += [line for line in loop if stack.search(line) and VECTOR.search(line)]
    bad = False
    for name, loops in found.items():
        spills = spilled[name]
        print(f"{name}: {loops} loops, {len(spills)} vectors on the stack")
        for line in spills:
            print(f"    {line}")
        bad |= not loops or bool(spills)
    if bad:
        sys.exit("hot_loops: a hot loop is missing or keeps vectors on the stack")


def disassemble(binary):
    call = ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", binary]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout


def kernels(text):
    """The instructions of each kernel, as pairs of address and text."""
    kernel = None
    for line in text.splitlines():
        if line.endswith(">:"):
            if kernel:
                yield kernel
            kernel = [] if KERNEL.match(line) else None
        elif kernel is not None and (match := LINE.match(line)):
            kernel.append((int(match[1], 16), match[2]))
    if kernel:
        yield kernel


def innermost(kernel):
    """The instructions of each loop without a loop inside."""
    place = {address: at for at, (address, _) in enumerate(kernel)}
    # From the head to the last jump back to it.
    loops = {}
    for at, (address, text) in enumerate(kernel):
        jump = JUMP.match(text)
        if jump and int(jump[1], 16) <= address and int(jump[1], 16) in place:
            loops[place[int(jump[1], 16)]] = at
    for first, last in loops.items():
        if not any(first < head <= last for head in loops):
            yield [text for _, text in kernel[first : last + 1]]


if __name__ == "__main__":
    main()
