"""A worker process, seen from the driver."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
from cases import HERE, ROOT, environment

TICKS = os.sysconf("SC_CLK_TCK")


class WorkerFailed(Exception):
    """A worker ended or said something else than an answer."""


@dataclass(frozen=True)
class Engine:
    """What is measured: a library of engines.py, or a program that speaks the protocol."""

    name: str
    program: str | None = None

    def command(self, case, threads):
        start = [str(self.program)] if self.program else [sys.executable, str(HERE / "worker.py"), self.name]
        shape = ",".join(map(str, case.shape))
        return [*start, str(case.file("input")), shape, str(threads), *map(str, self.files(case))]

    def files(self, case):
        match self.name:
            case "mnn":
                return [case.file("mnn")]
            case "ncnn":
                single = type(case)(case.net, 1)
                return [single.file("ncnn.param"), single.file("ncnn.bin")]
            case "onnxruntime" | "openvino" | "rten":
                return [case.file("onnx")]
            case _:
                return [case.spec, case.weights]


class Worker:
    """One process with one model at one number of threads. Between two commands it is blocked on its input."""

    def __init__(self, engine, case, threads, prepack=True):
        self.engine, self.case = engine, case
        self.messages = open(ROOT / ".material" / "rivals" / f"{engine.name}.log", "w+")
        self.process = subprocess.Popen(
            engine.command(case, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
            env=environment(threads, prepack),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.messages.close()

    def tell(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer that does not come says what went wrong

    def answer(self):
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            self.messages.seek(0)
            said = self.messages.read().strip().splitlines()[-8:]
            text = "\n".join([line.strip(), *said]).strip() or "it ended without a word"
            raise WorkerFailed(f"{self.engine.name} on {self.case}: {text}") from None

    def ask(self, command):
        self.tell(command)
        return self.answer()

    def times(self, warmup, runs):
        """Seconds of each run."""
        return [time / 1e9 for time in self.ask(f"run {warmup} {runs}")["times"]]

    def output(self):
        path = self.case.file("output")
        self.ask(f"save {path}")
        values = np.fromfile(path, dtype="<f4")
        path.unlink()
        return values

    def memory(self, field):
        """`VmRSS`, what is resident now, or `VmHWM`, the most that was; mapped files count. In bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise WorkerFailed(f"{self.engine.name} on {self.case} has ended")

    def cpu(self):
        """Seconds of processor time that the process has used."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


class IdleWatch:
    """How busy a process is while it should wait: it would take time from the others."""

    def __init__(self, worker):
        self.worker, self.used, self.waited, self.mark = worker, 0.0, 0.0, None

    def waits(self):
        self.mark = time.monotonic(), self.worker.cpu()

    def works(self):
        if self.mark:
            self.waited += time.monotonic() - self.mark[0]
            self.used += self.worker.cpu() - self.mark[1]

    def share(self):
        return self.used / self.waited if self.waited else 0.0
