"""Compare netc with the fastest CPU runtimes: see README.md beside this file.

    python benches/rivals/rivals.py                                                    # everything, half an hour
    python benches/rivals/rivals.py --nets resnet50 --threads 1 --rounds 5 --rivals onnxruntime --starts 0
    python benches/rivals/rivals.py --report --markdown docs/performance.md            # tables of what was measured
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

import machine
import measure
import report
from cases import ALL, HERE, MODELS, ROOT, Case
from process import Engine, WorkerFailed

RIVALS = ["onnxruntime", "openvino", "mnn", "ncnn", "rten"]
BOUND = 5e-4  # the engine with the least accurate Winograd is at 1.5e-4
MARKS = "<!-- measured by benches/rivals -->", "<!-- end of what was measured -->"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--nets", nargs="+", type=case, default=ALL, metavar="NET", help=f"of {', '.join(map(str, ALL))}")
    add("--threads", nargs="+", type=int, default=[2, 1], metavar="N", help="numbers of threads (default: 2 and 1)")
    add("--rivals", nargs="*", choices=RIVALS, default=RIVALS, metavar="RIVAL", help=f"of {', '.join(RIVALS)}")
    add("--rounds", type=int, default=15, metavar="N", help="rounds (default: %(default)s); 0: no runs are timed")
    add("--turn", type=float, default=0.3, metavar="SECONDS", help="about how long each engine's turn in a round is (default: %(default)s)")
    add("--starts", type=int, default=5, metavar="N", help="starts of each engine (default: %(default)s)")
    add("--netc", metavar="PATH", help="a netc_worker that is built already (default: it is built)")
    add("--also", nargs="*", default=[], metavar="NAME=PATH", help="other builds of netc_worker, to compare")
    add("--json", type=Path, default=MODELS / "results.json", metavar="FILE", help="results are merged into this file")
    add("--markdown", type=Path, metavar="FILE", help="put the tables of the results into this page, between its marks")
    add("--report", action="store_true", help="measure nothing; show what the results file holds")
    return parser.parse_args()


def case(text):
    try:
        return Case.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def main():
    chosen = arguments()
    results = json.loads(chosen.json.read_text()) if chosen.json.exists() else {"entries": []}
    agree = chosen.report or run(chosen, results)
    if not results["entries"]:
        sys.exit(f"rivals.py: {chosen.json} holds nothing yet")
    text = report.tables(results) + "\n" + report.made(results)
    print(text)
    if chosen.markdown:
        insert(chosen.markdown, text)
    return 0 if agree else 1


def run(chosen, results):
    """Measures case by case and keeps each at once; gives whether all were measured and all outputs agree."""
    engines = [Engine("netc", chosen.netc or build("netc"))]
    engines += [Engine(*also.split("=", 1)) for also in chosen.also]
    engines += [Engine(name, build("rten") if name == "rten" else None) for name in chosen.rivals]
    results["own_builds"] = ["netc", *(also.split("=", 1)[0] for also in chosen.also)]
    results["machine"] = machine.describe()
    subprocess.run([sys.executable, HERE / "models.py", *map(str, chosen.nets)], check=True)
    agree = True
    for case in chosen.nets:
        for threads in chosen.threads:
            try:
                entry = measure_one(chosen, case, threads, engines, results)
            except WorkerFailed as failure:
                print(f"not measured: {failure}", file=sys.stderr)
                agree = False
                continue
            for name, error in report.disagreements(entry, BOUND).items():
                print(f"{case}: {name} is off by {error:.1e}", file=sys.stderr)
                agree = False
    return agree


def measure_one(chosen, case, threads, engines, results):
    print(f"{case} on {threads}: ", end="", file=sys.stderr, flush=True)
    entry = {"case": str(case), "threads": threads, "date": str(datetime.date.today()), "netc": machine.commit()}
    if chosen.rounds:
        entry["engines"], entry["others"] = measure.rounds(case, threads, engines, chosen.rounds, chosen.turn)
        tell(entry)
        keep(results, entry, chosen.json)
    if chosen.starts:
        entry["starts"] = measure.starts(case, threads, engines, chosen.starts)
        keep(results, entry, chosen.json)
    return entry


def tell(entry):
    """A line of progress, and a warning of who did not sleep in the others' turns."""
    medians = {name: report.quartiles(engine["rounds"])[1] * 1e3 for name, engine in entry["engines"].items()}
    said = ", ".join(f"{name} {report.digits(median)}" for name, median in medians.items())
    busy = [f"{name} {engine['busy']:.0%}" for name, engine in entry["engines"].items() if engine["busy"] > 0.02]
    note = f"; busy while it should wait: {', '.join(busy)}" if busy else ""
    print(f"{said} ms; others' load {entry['others']:.1f}{note}", file=sys.stderr, flush=True)


def keep(results, entry, path):
    """Replaces what the file holds of the same case and number of threads, part by part."""
    key = entry["case"], entry["threads"]
    others = {(other["case"], other["threads"]): other for other in results["entries"]}
    results["entries"] = list((others | {key: others.get(key, {}) | entry}).values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".new").replace(path)


def build(name):
    """Builds a worker in Rust; gives its program."""
    target = ROOT / "target" / "rivals"
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", HERE / name / "Cargo.toml"]
    if subprocess.run([*command, "--target-dir", target]).returncode != 0:
        sys.exit(f"rivals.py: {name}_worker cannot be built")
    return target / "release" / f"{name}_worker"


def insert(page, text):
    before, mark, rest = page.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (mark and end):
        sys.exit(f"rivals.py: {page} has no lines {MARKS[0]} and {MARKS[1]}")
    page.write_text(f"{before}{mark}\n\n{text}\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
