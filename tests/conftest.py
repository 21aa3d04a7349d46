"""Set-up for every test process."""

from __future__ import annotations

import os

# Tests run several processes side by side, on tensors too small to be worth a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
