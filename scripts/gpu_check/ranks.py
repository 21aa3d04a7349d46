"""Start the probes of several processes, as torchrun would, and gather what they answer."""

from __future__ import annotations

import json
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .probes import PROBES
from .processes import THIS, environment
from .recorder import Recorder


def ranks(record: Recorder) -> list[dict[str, Any]]:
    """All ranks of all probes at once, since each of them takes long to start."""
    seconds = max(20.0, min(60.0, record.seconds_left))
    with ThreadPoolExecutor() as pool:
        started = []
        for name, probe in PROBES.items():
            shared: dict[str, Any] = {"WORLD_SIZE": probe.ranks, "LOCAL_WORLD_SIZE": probe.ranks}
            shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "TORCHELASTIC_RUN_ID": "check"}
            for rank in range(probe.ranks):
                variables = shared | {"RANK": rank, "LOCAL_RANK": rank}
                answer = pool.submit(one_rank, name, str(record.device), variables, seconds)
                started.append((name, rank, answer))
        return [
            {"probe": name, "rank": rank, "fact": fact, "value": value}
            for name, rank, answer in started
            for fact, value in answer.result().items()
        ]


def one_rank(probe: str, device: str, variables: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What one rank has found, and what it died of; if its time was up, what it had found by then."""
    command = [*THIS, "--probe", probe, "--device", device]
    surroundings = environment() | {name: str(value) for name, value in variables.items()}
    try:
        run = subprocess.run(command, env=surroundings, capture_output=True, timeout=seconds)
        output, errors, status = run.stdout, run.stderr, str(run.returncode)
    except subprocess.TimeoutExpired as late:
        output, errors, status = late.stdout or b"", late.stderr or b"", f"ended after {seconds:.0f} s"
    whole, _, _ = output.rpartition(b"\n")  # the last line may have been cut off
    answers = [line for line in whole.splitlines() if line.startswith(b"{")]
    found: dict[str, Any] = json.loads(answers[-1]) if answers else {}
    if status != "0":
        found |= {"exit status": status, "stderr": errors.decode(errors="replace")[-1500:]}
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
