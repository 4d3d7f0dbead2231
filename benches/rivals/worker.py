"""A rival from Python behind the protocol that protocol.rs describes: `worker.py ENGINE INPUT SHAPE THREADS MODEL...`"""

import json
import os
import sys
import time

import numpy as np
from engines import ENGINES


def main():
    engine, path, shape, threads, *files = sys.argv[1:]
    answer = protect_output()
    x = np.fromfile(path, dtype="<f4").reshape([int(size) for size in shape.split(",")])
    session = ENGINES[engine](int(threads))
    answer(ready=True)
    for line in sys.stdin:
        match line.split():
            case ["load"]:
                start = time.perf_counter_ns()
                session.load(files, x)
                output = session.run()
                answer(session_ns=time.perf_counter_ns() - start)
            case ["run", warmup, runs]:
                for _ in range(int(warmup)):
                    session.run()
                times = []
                for _ in range(int(runs)):
                    start = time.perf_counter_ns()
                    output = session.run()
                    times.append(time.perf_counter_ns() - start)
                answer(times=times)
            case ["save", target]:
                np.asarray(output, dtype="<f4").tofile(target)
                answer(saved=True)
            case _:
                sys.exit(f"not a command: {line!r}")


def protect_output():
    """Libraries print to standard output; what they say goes to standard error, the answers alone to the driver."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**values):
        print(json.dumps(values), file=answers, flush=True)

    return answer


if __name__ == "__main__":
    main()
