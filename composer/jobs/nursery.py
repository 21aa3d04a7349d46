"""The process that worker processes are forked from: it loads what they need, once, and does nothing else.

It is started anew, so it knows nothing of the threads of the job's process, and does not run its main module.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Self

from PIL import Image

if TYPE_CHECKING:
    from ..images.reading import Reader

_START = "import sys, json; sys.path[:] = json.loads(sys.argv[1])"
_COMMAND = f"{_START}; from vision_composer.jobs.nursery import main; main(int(sys.argv[2]))"
_LARGEST = 1 << 16


class Nursery:
    """Starts the process, and asks it for workers.

    Args:
        reader: What workers read images with; is pickled, and brings what it needs along.

    Raises:
        OSError: From every method, if the process is gone.
    """

    def __init__(self, reader: Reader) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for the job's process
                # A worker is one thread of many; torch and the libraries under numpy read this when loaded.
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as its_input:
            its_input.write(pickle.dumps(reader))

    def is_ready(self) -> bool:
        """Whether the process has loaded everything; says so once."""
        self._control.setblocking(False)
        try:
            return bool(self._answer())
        except BlockingIOError:
            return False
        finally:
            self._control.setblocking(True)

    def fork(self, channel: int, memories: tuple[int, int]) -> int:
        """Start a worker, and return its process id.

        Args:
            channel: The descriptor of its connection.
            memories: The descriptors of its shared memories.
        """
        socket.send_fds(self._control, [b"fork"], [channel, *memories])
        return int(self._answer())

    def end(self, worker: int) -> int:
        """End a worker; return its exit status, or the signal that ended it before, negated."""
        self._control.send(b"%d" % worker)
        return int(self._answer())

    def _answer(self) -> bytes:
        answer = self._control.recv(_LARGEST)
        if not answer:
            raise ConnectionError("the process that starts workers is gone")
        return answer

    def close(self) -> None:
        """End the process, and with it all workers."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def main(control: int) -> None:
    """Load what workers need, then fork and end them as asked, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from .worker import work  # here, so that no worker has to load it

    warnings.simplefilter("ignore")  # what decoders have to say is lost among thousands of images
    Image.init()
    reader = pickle.load(sys.stdin.buffer)  # of the job's process
    with socket.socket(fileno=control) as asked, contextlib.suppress(ConnectionError):
        asked.send(b"ready")  # unless the job has ended already
        while True:
            message, descriptors, _, _ = socket.recv_fds(asked, _LARGEST, 3)
            if not message:
                return
            if message != b"fork":
                asked.send(b"%d" % _ended(int(message)))
                continue
            worker = os.fork()
            if not worker:
                asked.close()
                _run_worker(partial(work, reader), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            asked.send(b"%d" % worker)


def _run_worker(work: Callable[[int, list[int]], None], descriptors: list[int]) -> NoReturn:
    status = 1
    try:
        channel, *memories = descriptors
        work(channel, memories)
        status = 0
    finally:
        os._exit(status)  # without what belongs to the process it was forked from


def _ended(worker: int) -> int:
    os.kill(worker, signal.SIGKILL)  # it is not waited for yet, so the number is its own
    _, status = os.waitpid(worker, 0)
    return os.waitstatus_to_exitcode(status)
