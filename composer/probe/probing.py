"""probe_layers: probes on every hidden state of an encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from ..encoder import ComposedVisionEncoder
from ..errors import ImageError, InputError
from ..images.decode import ImageLike
from ..vision_encoder import VisionEncoder
from .classifiers import NEIGHBOURS, held_out_of, nearest_neighbours, ridge, standardised
from .result import LayerProbe, ProbeReport
from .states import pooled_states


def probe_layers(
    encoder: VisionEncoder,
    images: Sequence[ImageLike],
    labels: Sequence[object],
    *,
    held_out: Sequence[bool] | None = None,
    seed: int = 0,
    batch_size: int = 8,
) -> ProbeReport:
    """Say what every hidden state of an encoder knows of labelled images, from one forward of each.

    An image is the mean of its patch tokens, and beside that its class token if the encoder has one. Features
    are standardised. Ten nearest neighbours by cosine, and a ridge regression on the classes, are fitted on
    some images and judged on the others. Hidden states are as blocks return them, without a post-norm.

    Args:
        encoder: What ``compose`` returned, of one tower. Hidden states are probed up to the last block that
            it has: select the last one to probe all.
        images: Paths, PIL images, or uint8 arrays (height, width[, channels]). Those that cannot be read, or
            whose features are not finite, are left out and listed.
        labels: The class of each; compared by their text.
        held_out: Whether each image is kept for judging. Default: half of every class, drawn by ``seed``.
        seed: What draws them; the same images are drawn in every run.
        batch_size: Images per forward.

    Raises:
        InputError: If there are no images, a list is of another length, all images are of one class, a class
            has one image only or none to fit, none is held out, or the encoder has several towers, cuts
            images into tiles or spreads them over processes.
    """
    tower = _one_tower(encoder)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    for what, values in (("labels", labels), ("values of held_out", held_out)):
        if values is not None and len(values) != len(images):
            raise InputError(f"the numbers of images and of {what} differ: {len(images)} and {len(values)}")
    texts = [str(label) for label in labels]
    _check_classes(texts, "")
    with tower.evaluating():
        found = list(pooled_states(tower, images, batch_size=batch_size))
    failed = tuple(each for each in found if isinstance(each, ImageError))
    read = [i for i, each in enumerate(found) if not isinstance(each, ImageError)]
    pooled = [each for each in found if not isinstance(each, ImageError)]
    if failed:
        _check_classes([texts[i] for i in read], f" that could be read ({failed[0]})")
    classes = sorted(set(texts))
    classed = torch.tensor([classes.index(texts[i]) for i in read])
    if held_out is None:
        judged = held_out_of(classed, seed=seed)
    else:
        judged = torch.tensor([bool(held_out[i]) for i in read])
    _check_split(classed, judged, classes)
    neighbours = min(NEIGHBOURS, int((~judged).sum()))
    probes = [
        _probe(*key, torch.stack([each[key] for each in pooled]), classed, judged, neighbours)
        for key in sorted(pooled[0], key=lambda key: (key[0], key[1] != "mean"))
    ]
    return ProbeReport(
        name=tower.config.name or tower.info.model_type,
        depth=tower.info.num_hidden_layers,
        classes=tuple(classes),
        num_fitted=int((~judged).sum()),
        num_held_out=int(judged.sum()),
        seed=seed if held_out is None else None,
        neighbours=neighbours,
        probes=tuple(probes),
        failed=failed,
    )


def _one_tower(composed: VisionEncoder) -> ComposedVisionEncoder:
    """Return the encoder, if it is one of one tower.

    Raises:
        InputError: If not.
    """
    if not isinstance(composed, ComposedVisionEncoder):
        raise InputError("layers are probed of one tower: probe the towers of this encoder one by one")
    return composed


def _probe(
    layer: int, pooling: str, features: Tensor, classes: Tensor, judged: Tensor, neighbours: int
) -> LayerProbe:
    fitted, others = standardised(features[~judged], features[judged])
    known, truth = classes[~judged], classes[judged]
    by_neighbours = nearest_neighbours(fitted, known, others, neighbours=neighbours)
    by_ridge = ridge(fitted, known, others)
    right = [int((guess == truth).sum()) for guess in (by_neighbours, by_ridge)]
    return LayerProbe(layer, pooling, right[0], right[1], len(truth))


def _check_classes(labels: Sequence[str], which: str) -> None:
    sizes = Counter(labels)
    if not sizes:
        raise InputError(f"there are no images{which} to probe with")
    if len(sizes) == 1:
        raise InputError(
            f"all images{which} are of the class {labels[0]!r}: a probe tells two classes or more apart"
        )
    single = [label for label, number in sorted(sizes.items()) if number == 1]
    if single:
        raise InputError(
            f"the class {single[0]!r} has one image{which}: it takes two, one to fit the probes and one to "
            "judge them"
        )


def _check_split(classes: Tensor, judged: Tensor, names: Sequence[str]) -> None:
    if not judged.any():
        raise InputError("no image is held out to judge the probes on")
    for number, name in enumerate(names):
        if judged[classes == number].all():
            raise InputError(f"all images of the class {name!r} are held out, and none is left to fit")
