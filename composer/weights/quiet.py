"""transformers without its reports and progress bars."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from reporting what is dropped right after, and from drawing bars."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging  # untyped
    with _lock:  # the verbosity is the process's, and two threads would restore each other's
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
