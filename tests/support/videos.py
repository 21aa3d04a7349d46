"""Videos whose frames show which they are, and a mark for tests of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

INSTALLED = importlib.util.find_spec("av") is not None
needs_av = pytest.mark.skipif(not INSTALLED, reason="PyAV is not installed; make test-ray runs these")


def video(path: Path, frames: int = 50, rate: int = 25) -> Path:
    """A video whose frames show their number: eight bars, white where its bit is set."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 12
        for i in range(frames):
            bars = np.repeat([255 * (i >> bit & 1) for bit in range(8)], 8).astype(np.uint8)
            image = Image.fromarray(np.broadcast_to(bars[None, :, None], (48, 64, 3)).copy())
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))
    return path


def number_of(frame: Any) -> int:
    """The number that a frame of such a video shows."""
    bars = np.asarray(frame)[24, 4::8, 0] > 127
    return sum(1 << int(bit) for bit in np.flatnonzero(bars))
