"""Frames of videos, by PyAV: as many a second as asked for, or a number spread over the whole.

A row is a frame, or a clip of all of them.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...errors import ImageError, InputError, MissingDependencyError
from ...files import open_regular
from ...images.limits import MAX_PIXELS
from .row import Row

if TYPE_CHECKING:
    from PIL import Image

KIND = "video"
CLIP = "clip"
EXTENSIONS = frozenset({".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg"})
_MOST_BYTES = 1 << 50
_PLAIN = {"format_whitelist": "mov,mp4,matroska,webm,avi,mpeg,mpegts", "protocol_whitelist": ""}
"""Containers that hold their video themselves; playlists would have other files and addresses read."""


def rows(source: str, *, fps: float | None, frames: int | None, clip: bool = False) -> Iterator[Row]:
    """Yield frames of a video: those nearest to ``fps`` moments a second, ``frames`` in all, or every one.

    With ``clip``, they are one row.

    Raises:
        InputError: If it is no video that can be read, or the numbers make no sense.
        MissingDependencyError: If PyAV is not installed.
    """
    import math

    if fps is not None and frames is not None:
        raise InputError("say how many frames a second or how many in all, not both")
    if (fps is not None and not (fps > 0 and math.isfinite(fps))) or (frames is not None and frames < 1):
        raise InputError("the frames of a video, in all or a second, must be more than 0")
    times, base = _times(source)
    size = os.path.getsize(source)
    chosen = _chosen(times, base, fps, frames)
    if clip:
        yield Row(source, source, CLIP, source, (*chosen, size))
        return
    for pts in chosen:
        yield Row(f"{source}@{float(pts * base):.3f}", source, KIND, source, (pts, size))


def _chosen(times: list[int], base: Fraction, fps: float | None, frames: int | None) -> list[int]:
    if frames is not None:
        # The middle of each of as many equal pieces; a short video has fewer frames than asked for.
        n = min(frames, len(times))
        return [times[(2 * i + 1) * len(times) // (2 * n)] for i in range(n)]
    if fps is None:
        return times
    chosen: list[int] = []
    step = Fraction(fps).limit_denominator(10_000) ** -1 / base
    due = Fraction(times[0])
    for pts in times:
        if pts >= due:
            chosen.append(pts)
            due += ((pts - due) // step + 1) * step
    return chosen


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "reading videos needs PyAV: pip install 'vision-composer[video]'"
        ) from error
    return av


def _times(source: str) -> tuple[list[int], Fraction]:
    """Return when the frames of a video are shown, in units of its clock, without decoding them."""
    av = _av()
    try:
        with open_regular(source, limit=_MOST_BYTES) as file, av.open(file, options=_PLAIN) as container:
            stream = container.streams.video[0]
            times = sorted({packet.pts for packet in container.demux(stream) if packet.pts is not None})
            base = Fraction(stream.time_base)
    except (OSError, IndexError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{source}: not a video that can be read: {reason}") from error
    if not times:
        raise InputError(f"{source}: has no frames")
    return times, base


def load(row: Row) -> Image.Image:
    """Return one frame.

    Raises:
        ImageError: If it cannot be decoded.
    """
    return next(load_clip(row))


def load_clip(row: Row) -> Iterator[Image.Image]:
    """Yield the frames of a row one after the other.

    Raises:
        ImageError: If one cannot be decoded.
    """
    av = _av()
    wanted = row.where[:-1]
    try:
        with open_regular(row.path, limit=_MOST_BYTES) as file, av.open(file, options=_PLAIN) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise ImageError(row.id, f"{stream.width}x{stream.height} pixels is more than the limit")
            keys = _key_frames(container, stream) if len(wanted) > 1 else []
            decoded: Iterator[Any] = iter(())
            for i, pts in enumerate(wanted):
                # Decoding goes on from the last frame, unless there is a later one to begin at.
                if not i or bisect_right(keys, pts) > bisect_right(keys, wanted[i - 1]):
                    container.seek(pts, stream=stream)
                    decoded = container.decode(stream)
                frame = next((frame for frame in decoded if frame.pts is not None and frame.pts >= pts), None)
                if frame is None:
                    seconds = float(pts * stream.time_base)
                    raise ImageError(row.id, f"the video ends before its frame at {seconds:.3f} seconds")
                yield frame.to_image()
    except (OSError, IndexError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ImageError(row.id, f"the video cannot be decoded here: {reason}") from error


def _key_frames(container: Any, stream: Any) -> list[int]:
    """Return when the frames are shown that decoding can begin at."""
    packets = container.demux(stream)
    return sorted(packet.pts for packet in packets if packet.is_keyframe and packet.pts is not None)
