"""A process that prepares images: it answers tasks until nobody asks any more."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from itertools import cycle
from multiprocessing.connection import Connection
from typing import Any

from ..errors import ImageError, VisionComposerError
from ..images.reading import Reader
from .arena import Arena
from .preparing import prepare


def work(reader: Reader, connection: int, memories: Sequence[int]) -> None:
    """Answer tasks from a connection; arrays go through shared memory.

    A message is a task: images. It is answered with a list: for every image its size, where its arrays are,
    and the memory's size; or the reason why it has none. An error that is not an image's is answered instead
    of the list.

    Args:
        reader: Reads images.
        connection: The descriptor of the connection.
        memories: The descriptors of two memories. Tasks take them in turns, so the answers to one can be read
            while the next one is worked on.
    """
    channel = Connection(connection)
    arenas = cycle([Arena(memory) for memory in memories])
    try:
        while True:
            images = channel.recv()
            arena = next(arenas)
            arena.clear()
            try:
                answers: list[Any] = []
                for row, content in images:
                    result = prepare(row, content, reader)
                    if isinstance(result, ImageError):
                        answers.append(result.reason)
                    else:
                        answers.append((result.size, arena.put(result.inputs), arena.size))
            except Exception as error:
                known = isinstance(error, VisionComposerError)
                channel.send(error if known else RuntimeError(traceback.format_exc()))
            else:
                channel.send(answers)
    except (EOFError, ConnectionError):  # the job has ended, in whatever way
        return
