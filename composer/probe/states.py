"""Every hidden state of images, pooled: from one forward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

from torch import Tensor

from ..encoder import ComposedVisionEncoder
from ..encoders.aliases import Reads
from ..encoders.batch import Batch
from ..errors import ImageError, InputError
from ..images.decode import ImageLike, image_name
from ..images.read_ahead import read_ahead
from ..running.finite import NOT_FINITE
from ..tower.readout import HiddenStates

Pooled = dict[tuple[int, str], Tensor]
"""Hidden state and pooling -> the features of an image, (width,) float32 on the CPU."""

_STRATEGIES = {"mean": "default", "class": "class"}
"""How tokens are pooled -> which of them are."""


def pooled_states(
    encoder: ComposedVisionEncoder, images: Sequence[ImageLike], *, batch_size: int
) -> Iterator[Pooled | ImageError]:
    """Yield every hidden state of each image, or the error of one that cannot be read or is not finite.

    Args:
        encoder: The encoder, in evaluation mode; hidden states up to its last block are there.
        images: Paths, PIL images or arrays.
        batch_size: Images per forward.

    Raises:
        InputError: If the encoder cuts images into tiles, or spreads them over processes.
    """
    if encoder.plan.tiling is not None:
        raise InputError("layers are probed on images whole: compose the encoder with output=features")
    if encoder.parallel is not None:
        raise InputError("layers are probed in one process: compose the encoder with parallel=none")
    reader = encoder.preprocessor
    ahead = read_ahead(images, lambda i, image: reader.read([image], first=i)[0], ahead=2 * batch_size)
    with closing(ahead):
        done = 0
        while read := list(islice(ahead, batch_size)):
            inputs = [each for each in read if not isinstance(each, ImageError)]
            finished = encoder.tower.read(reader.finish(inputs, encoder.device)) if inputs else None
            states = iter([] if finished is None else _states(encoder, finished))
            for place, each in enumerate(read, done):
                yield each if isinstance(each, ImageError) else _checked(next(states), images[place], place)
            done += len(read)


def _states(encoder: ComposedVisionEncoder, batch: Batch) -> Iterable[Pooled]:
    tower = encoder.tower
    batch = batch.to(encoder.device, encoder.dtype)
    layout = tower.layout(batch)
    found: list[Pooled] = [{} for _ in batch.grids]
    readouts = {
        pooling: HiddenStates(
            tower.family,
            encoder.plan.encoder,
            tower.info,
            layers=tuple(range(encoder.plan.num_blocks + 1)),
            strategy=strategy,
        )
        for pooling, strategy in _STRATEGIES.items()
        if pooling == "mean" or _has_class_token(encoder)
    }
    reads = {pooling: readout.reads(tower.model, layout) for pooling, readout in readouts.items()}

    def pool(layer: int, state: Tensor) -> Tensor:
        for pooling, readout in readouts.items():
            tokens = batch.split(reads[pooling][layer](state), readout.num_tokens)
            for image, each in zip(found, tokens, strict=True):
                image[layer, pooling] = each.float().mean(0).cpu()
        return state.new_empty(0)  # nothing of the state is kept

    every: Reads = {layer: partial(pool, layer) for layer in range(encoder.plan.num_blocks + 1)}
    tower.family.run(tower.model, batch, layout, every, tower.run_block)
    return found


def _has_class_token(encoder: ComposedVisionEncoder) -> bool:
    info = encoder.info
    return encoder.config.encoder.has_class_token and info.one_plane


def _checked(pooled: Pooled, image: ImageLike, place: int) -> Pooled | ImageError:
    if all(bool(each.isfinite().all()) for each in pooled.values()):
        return pooled
    return ImageError(image_name(image, f"image {place}"), NOT_FINITE)
