"""The measurements: rounds that interleave the engines, starts, memory, and whether the outputs agree."""

import contextlib
import os
import statistics
import time

import numpy as np
from process import TICKS, IdleWatch, Worker

MOST_RUNS = 500
PAUSE = 0.03  # seconds in which the threads of the engine that has just run fall asleep


def rounds(case, threads, engines, count, turn):
    """What each engine does in `count` rounds with a turn of about `turn` seconds each, by the engine's name."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(engine, case, threads)) for engine in engines]
        found = [prepare(worker, turn) for worker in workers]
        watches = [IdleWatch(worker) for worker in workers]
        others = OtherLoad(workers)
        for round in range(count):
            shift = round % len(workers)
            for i in [*range(shift, len(workers)), *range(shift)]:
                watches[i].works()
                found[i]["rounds"].append(statistics.median(workers[i].times(*found[i]["plan"])))
                time.sleep(PAUSE)
                watches[i].waits()
        for worker, entry, watch in zip(workers, found, watches):
            entry["peak"] = worker.memory("VmHWM") - entry["idle"]
            entry["busy"] = watch.share()
        return {engine.name: entry for engine, entry in zip(engines, found)}, others.share()


def prepare(worker, turn):
    """Loads the model, checks its output, and finds how many runs make a turn."""
    worker.answer()
    idle = worker.memory("VmRSS")
    worker.ask("load")
    error = difference(worker.output(), worker.case)
    once = min(worker.times(1, 2))
    runs = min(max(round(turn / once), 1), MOST_RUNS)
    warmup = 1 if once < turn / 3 else 0
    time.sleep(PAUSE)
    return {"idle": idle, "error": error, "plan": (warmup, runs), "rounds": []}


def difference(values, case):
    """max|a-b| / max|b| against PyTorch in double precision."""
    expected = np.fromfile(case.file("expected"), dtype="<f8")
    if values.shape != expected.shape:
        return float("inf")
    return float(np.abs(values - expected).max() / np.abs(expected).max())


def starts(case, threads, engines, count):
    """Seconds from the start of a process to its first result, and from the start of loading the model in it; the
    first start of each engine, which brings its files into the page cache, does not count."""
    found = {engine.name: {"process": [], "session": []} for engine in engines}
    for round in range(count + 1):
        for engine in engines:
            begin = time.perf_counter()
            with Worker(engine, case, threads, prepack=False) as worker:
                worker.tell("load")
                worker.answer()
                session = worker.answer()["session_ns"] / 1e9
                process = time.perf_counter() - begin
            if round > 0:
                found[engine.name]["process"].append(process)
                found[engine.name]["session"].append(session)
    return found


class OtherLoad:
    """How many cores the rest of the machine keeps busy while the workers are measured."""

    def __init__(self, workers):
        self.workers, self.begin = workers, time.monotonic()
        self.mark = self.rest()

    def rest(self):
        with open("/proc/stat") as stat:
            user, nice, system, _, _, irq, soft = map(int, stat.readline().split()[1:8])
        own = sum(worker.cpu() for worker in self.workers) + sum(os.times()[:2])
        return (user + nice + system + irq + soft) / TICKS - own

    def share(self):
        return max((self.rest() - self.mark) / (time.monotonic() - self.begin), 0.0)
