"""The offline job: images through an encoder into a file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..errors import ImageError, InputError, VisionComposerError
from .reading import iter_inputs
from .sinks import FeatureWriter, output_file
from .sources import expand_sources

if TYPE_CHECKING:
    from torch import Tensor

    from ..encoder import ComposedVisionEncoder


@dataclass(frozen=True)
class EncodeSummary:
    """What a job did.

    Attributes:
        output: The Parquet file.
        failures: The list of images that failed; None when none did.
        num_images: Images encoded.
        num_failed: Images that could not be read or encoded.
        num_tokens: Tokens of all encoded images together.
        width: Features per token.
        seconds: Wall time, from the first image read to the file complete.
    """

    output: Path
    failures: Path | None
    num_images: int
    num_failed: int
    num_tokens: int
    width: int
    seconds: float


def encode_images(
    encoder: ComposedVisionEncoder,
    sources: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    batch_size: int = 8,
    overwrite: bool = False,
    on_progress: Callable[[int, int, ImageError | None], None] | None = None,
) -> EncodeSummary:
    """Encode images into a Parquet file; see :class:`FeatureWriter` for what is in it.

    An image that cannot be read, or whose features are NaN or infinite, is listed and passed over. Rows
    stand in the order of the sources. An interrupted job leaves nothing behind under the file's name.

    Args:
        encoder: A composed encoder.
        sources: Files and folders; see :func:`expand_sources`.
        output: A ``.parquet`` file, or a folder to put ``features.parquet`` in.
        batch_size: Images per forward. Images of different sizes share one only if the
            encoder packs them.
        overwrite: Replace an output that exists, and its list of failures.
        on_progress: Called after every image with the number of images done, that of all images, and the
            image's error if it failed.

    Raises:
        InputError: If a source is missing, there are no images, the output exists, or ``batch_size`` is below
            1.
        VisionComposerError: If the output cannot be written, or a batch does not fit in memory.
    """
    import torch

    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    if encoder.parallel is not None:
        raise InputError(
            "a tower that is spread over processes would write the file once on each: compose it with "
            "parallel: none, and give every process images and an output of its own"
        )
    if encoder.plan.separate_levels:
        raise InputError(
            "a file of features has one width: use deepstack: concat or none instead of separate"
        )
    files = expand_sources(sources)
    path = output_file(output, overwrite=overwrite)
    metadata = {
        "version": __version__,
        "config": encoder.config.resolved(),
        "dtype": str(encoder.dtype).removeprefix("torch."),
    }
    start = time.perf_counter()
    num_tokens = 0
    with (
        encoder.evaluating(),
        FeatureWriter(
            path, half=encoder.dtype == torch.float16, metadata=metadata, overwrite=overwrite
        ) as writer,
    ):
        for done, (name, result) in enumerate(_results(encoder, files, batch_size), start=1):
            error = result if isinstance(result, ImageError) else None
            if isinstance(result, ImageError):
                writer.fail(result)
            else:
                writer.write(name, result)
                num_tokens += len(result)
            if on_progress is not None:
                on_progress(done, len(files), error)
    return EncodeSummary(
        output=path,
        failures=writer.failures if writer.num_failed else None,
        num_images=len(files) - writer.num_failed,
        num_failed=writer.num_failed,
        num_tokens=num_tokens,
        width=encoder.plan.output_width,
        seconds=time.perf_counter() - start,
    )


def _results(
    encoder: ComposedVisionEncoder, files: list[str], batch_size: int
) -> Iterator[tuple[str, Tensor | ImageError]]:
    """Yield the features (tokens, width) or the error of every image; errors may overtake a filling batch."""
    names: list[str] = []
    batch: list[Mapping[str, Tensor]] = []
    for _, name, result in iter_inputs(files, encoder.preprocess):
        if isinstance(result, ImageError):
            yield name, result
            continue
        if batch and (len(batch) == batch_size or not encoder.preprocessor.share(batch[0], result)):
            yield from _forward(encoder, names, batch)
            names, batch = [], []
        names.append(name)
        batch.append(result)
    if batch:
        yield from _forward(encoder, names, batch)


def _forward(
    encoder: ComposedVisionEncoder, names: list[str], batch: list[Mapping[str, Tensor]]
) -> Iterator[tuple[str, Tensor | ImageError]]:
    import torch

    from ..running.finite import NOT_FINITE, not_finite

    try:
        output = encoder(**encoder.preprocessor.collate(batch))
        wrong = set(not_finite(output))
        features = [row.cpu() for row in output]
    except InputError as error:
        yield from ((name, ImageError(name, str(error))) for name in names)
    except torch.OutOfMemoryError as error:
        raise VisionComposerError(
            f"{len(batch)} images at once do not fit in memory: choose a smaller batch size ({error})"
        ) from error
    else:
        for index, (name, row) in enumerate(zip(names, features, strict=True)):
            yield name, ImageError(name, NOT_FINITE) if index in wrong else row
