"""Commands of vision-composer in processes of limited time and memory: a script, fed with JSON on stdin.

Takes a list of argument lists, and prints a list of what each came to: exit status (negative for a signal),
seconds of the processor (of one that `pace` gives 1 for), MiB of memory, and output. Each runs in a fork of
one process that has loaded the commands, so that loading them is paid for once.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS = 2
MEBIBYTES = 1_024


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    status: int
    seconds: float
    memory: float
    output: str


def run(commands: Sequence[Sequence[str]], folder: str | os.PathLike[str]) -> list[Outcome]:
    """Run every command in ``folder``, one after the other."""
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(commands), cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    return [Outcome(**outcome) for outcome in json.loads(done.stdout)]


def _limited(command: Sequence[str]) -> dict[str, object]:
    before = pace()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            for number in (1, 2):
                os.dup2(output.fileno(), number)
            # More than is promised, so that a slow machine fails by the numbers and not by a signal.
            resource.setrlimit(resource.RLIMIT_CPU, (5 * SECONDS, 5 * SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (MEBIBYTES << 20, MEBIBYTES << 20))
            _call(command)
        _, status, usage = os.wait4(child, 0)
        output.seek(0)
        return {
            "status": os.waitstatus_to_exitcode(status),
            "seconds": (usage.ru_utime + usage.ru_stime) / max(before, pace()),
            "memory": usage.ru_maxrss / 1_024,
            "output": output.read().decode(errors="replace"),
        }


def _call(command: Sequence[str]) -> None:
    """Run the command and end the process."""
    import signal
    import traceback

    signal.alarm(30)  # for what waits and takes no time of the processor
    status = 70
    try:
        sys.argv = ["vision-composer", *command]
        main()
    except SystemExit as exit_:
        status = exit_.code if isinstance(exit_.code, int) else 1 if exit_.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    import yaml  # noqa: F401
    from pace import pace

    import vision_composer.schemas.yaml.references
    import vision_composer.schemas.yaml.warnings  # noqa: F401
    from vision_composer.cli import main

    json.dump([_limited(command) for command in json.load(sys.stdin)], sys.stdout)
