"""Worker processes: started with their number of threads, asked one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.training.peers import NotMeasured

ROOT = Path(__file__).parents[2]
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS", "UNDERTOW_NUM_THREADS", "NPROC",
)  # fmt: skip
PATIENCE = 400.0  # seconds for one answer


class WorkerFailed(Exception):
    """A worker died or gave no answer; the message holds what it printed last."""


def environment(threads: int, caches: Path) -> dict[str, str]:
    """The environment of a worker: its number of threads, and folders for compiled code."""
    found = dict(os.environ)
    found.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    # XLA takes the number of threads from NPROC; for one thread its products must be told too.
    found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=" + ("true" if threads > 1 else "false")
    found.pop("OPENBLAS_CORETYPE", None)  # some systems hold NumPy's products to kernels of the oldest processors
    found.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # a checkout would be compiled at each start, and installed peers are not
    found["UNDERTOW_CACHE_DIR"] = str(caches / "undertow")
    found["TORCHINDUCTOR_CACHE_DIR"] = str(caches / "inductor")
    found["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    found["JAX_COMPILATION_CACHE_DIR"] = str(caches / "jax")
    found["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    found["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    found["JAX_PLATFORMS"] = "cpu"
    found["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return found


class Worker:
    """A running worker.

    Args:
        system: a name of `SYSTEMS`.
        workload: a name that `find_workload` knows.
        task: ``serve``, ``first`` or ``fit``.
        threads: how many threads it may use.
        caches: the folder of its caches.
        module: what it runs.
    """

    def __init__(
        self,
        system: str,
        workload: str,
        task: str,
        threads: int,
        caches: Path,
        module: str = "benchmarks.training.worker",
    ) -> None:
        self.system = system
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`
        command = [sys.executable, "-m", module, system, workload, task]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(threads, caches), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, text=True,
        )  # fmt: skip

    def ask(self, **message: Any) -> dict[str, Any]:
        """Ask and wait for the answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: its last answer, or its error, says why
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Wait for an answer; NotMeasured and WorkerFailed say why there is none."""
        assert self.process.stdout is not None
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip()
            self.close()
            raise WorkerFailed(f"{self.system} ended with {self.process.returncode}:\n{said[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        if "not_measured" in answer:
            self.close()
            raise NotMeasured(answer["not_measured"])
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        try:
            if self.process.poll() is None and hasattr(
                os, "pidfd_open"
            ):  # Linux; to wait with a limit is to look after 16, 32 and 64 ms
                with open(os.pidfd_open(self.process.pid)) as ended:
                    select.select([ended], [], [], 10)
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def run_whole(system: str, workload: str, task: str, threads: int, caches: Path) -> tuple[dict[str, Any], float, float]:
    """Run a process from start to end: its answer, the seconds until the answer, and until the end."""
    started = time.perf_counter()
    worker = Worker(system, workload, task, threads, caches)
    answer = worker.read()
    answered = time.perf_counter() - started
    worker.close()
    return answer, answered, time.perf_counter() - started
