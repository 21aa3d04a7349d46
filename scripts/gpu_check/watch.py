"""The process that watches: it starts workers, ends those that hang, and writes the results as they come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from argparse import Namespace
from contextlib import suppress
from pathlib import Path

from .log import append, running
from .processes import THIS, environment
from .report import STDERR, write_reports
from .sections import SHARES

PATIENCE = 25
"""Seconds beyond its time after which a measurement is ended."""


def watch(arguments: Namespace) -> int:
    """Run the worker, again where it died, until all sections are done or the time is up."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / STDERR).unlink(missing_ok=True)
    budget = arguments.budget / (2 if arguments.quick else 1)
    log, started = arguments.output / "gpu_check.log.jsonl", time.time()
    head = {"event": "run", "time": started, "end": started + budget, "budget": budget}
    head |= {"device": arguments.device, "shares": {name: SHARES[name] for name in arguments.only}}
    log.write_text(json.dumps(head) + "\n", encoding="utf-8")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        reason, size = "died", 0
        # One that has left nothing behind could not even start, and the next could not either.
        while reason == "died" and time.time() < started + budget and size != log.stat().st_size:
            size = log.stat().st_size
            reason = one_worker(log, arguments, started + budget)
    except KeyboardInterrupt:
        reason = "interrupted"
    finally:
        signal.signal(signal.SIGTERM, before)
    write_reports(log, arguments.output)
    print(f"{arguments.output / 'gpu_check.md'} and gpu_check.json: {time.time() - started:.0f} s")
    return 130 if reason == "interrupted" else 0


def one_worker(log: Path, arguments: Namespace, end: float) -> str:
    """Run one worker to its end. Returns whether it has ``finished`` or ``died``, or was ``interrupted``."""
    errors = arguments.output / STDERR
    command = [*THIS, "--worker", str(log), "--device", arguments.device]
    process = None
    try:  # from the start: an interruption may come at once
        with errors.open("a", encoding="utf-8") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment(), start_new_session=True
            )
        reason = supervise(process, log, arguments.output, end)
    except KeyboardInterrupt:
        reason = "interrupted"
    if process is not None:
        kill(process)
    if (open_item := running(log)) is not None:
        tail = errors.read_text(encoding="utf-8", errors="replace")[-1500:]
        died = {"ok": False, "error": reason, "tail": tail, "seconds": time.time() - open_item.begun}
        append(log, event="end", section=open_item.section, item=open_item.item, **died)
    return reason if reason in ("finished", "interrupted") else "died"


def supervise(process: subprocess.Popen[bytes], log: Path, output: Path, end: float) -> str:
    """Write the results down as they come; give up on a process that is far behind. Says how it ended."""
    size = 0
    while True:
        try:
            code = process.wait(timeout=0.5)
            return "finished" if code == 0 else f"the process died with exit status {code}"
        except subprocess.TimeoutExpired:
            pass
        if (now := log.stat().st_size) != size:
            size = now
            write_reports(log, output)
        if (open_item := running(log)) is not None:
            limit = min(max(open_item.begun, open_item.deadline), end) + PATIENCE
            if time.time() > limit:
                return f"stopped after {time.time() - open_item.begun:.0f} s"
        if time.time() > end + PATIENCE + 5:
            return "the time was up"


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started, such as inductor's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
