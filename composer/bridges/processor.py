"""A processor for VLMs with a composed encoder: it puts as many image tokens as the encoder makes rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from PIL import Image
from transformers import BatchFeature, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from ..building import preprocessor_of
from ..errors import InputError
from ..images.decode import ImageLike, image_name, open_image
from ..images.preprocess import Preprocessor
from ..planning import AnyPlan, plan_any
from .vision import VisionComposerConfig

IMAGE_TOKEN = "<image>"


class VisionComposerImageProcessor(BaseImageProcessor):
    """Makes a composed encoder's inputs of images, as the encoder's ``preprocess`` does.

    Args:
        tower: The encoder's config as a mapping, as a :class:`VisionComposerConfig` has it.
        processor: The image processor with its values, as a :class:`VisionComposerConfig` has it.
        **kwargs: What transformers has written beside them.
    """

    def __init__(self, tower: Mapping[str, Any], processor: str | list[list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tower, self.processor = dict(tower), processor

    @cached_property
    def plan(self) -> AnyPlan:
        """Every fact of the encoder."""
        config = VisionComposerConfig(tower=self.tower, processor=self.processor)
        return plan_any(config.tower_config(), config.processor_settings())

    @cached_property
    def preprocessor(self) -> Preprocessor:
        """What makes the inputs."""
        return preprocessor_of(self.plan)

    def preprocess(self, images: Any, *, return_tensors: str | None = "pt", **unknown: Any) -> BatchFeature:
        """Make the encoder's inputs.

        Args:
            images: One image or several: paths, PIL images or uint8 arrays (height, width[, channels]).
            return_tensors: Tensors are torch's.
            **unknown: Must be empty: how images are processed is said by the encoder's config.

        Raises:
            ImageError: If an image cannot be read; the message names it.
            InputError: If another form of tensors or other processing is asked for.
        """
        if asked := sorted(name for name, value in unknown.items() if value is not None):
            raise InputError(
                f"{', '.join(asked)}: how images are processed is said by the encoder's config, under "
                "image_processor"
            )
        if return_tensors not in (None, "pt"):
            raise InputError(f"return_tensors is {return_tensors!r}; a composed encoder takes 'pt'")
        return BatchFeature(self.preprocessor(_opened(images)))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``from_pretrained`` reads back."""
        return {
            "image_processor_type": type(self).__name__,
            "tower": self.tower,
            "processor": self.processor,
        }


class VisionComposerProcessor(ProcessorMixin):
    """Text and images to the inputs of a VLM with a composed encoder.

    Every image token of a text becomes as many as the encoder makes rows of that image, whatever its size.

    Args:
        image_processor: Makes the encoder's inputs.
        tokenizer: Knows ``image_token`` as one token.
        image_token: Stands for an image in a text.
        chat_template: The Jinja template of a conversation.

    Raises:
        InputError: If the tokenizer does not know the image token.
    """

    def __init__(
        self,
        image_processor: VisionComposerImageProcessor,
        tokenizer: Any,
        image_token: str = IMAGE_TOKEN,
        chat_template: str | None = None,
    ) -> None:
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        if image_token not in tokenizer.get_vocab():
            raise InputError(f"the tokenizer has no token {image_token!r}; add it as a special token")
        # transformers leaves it untyped.
        super().__init__(image_processor, tokenizer, chat_template=chat_template)  # type: ignore[no-untyped-call]

    def num_image_tokens(self, width: int, height: int) -> int:
        """Count the image tokens of an image of that size in pixels.

        Raises:
            InputError: If the encoder does not take such an image.
        """
        plan: AnyPlan = self.image_processor.plan
        return plan.num_tokens(width, height)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: None = None,
        audio: None = None,
        *,
        return_tensors: str | None = None,
        images_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Make the inputs of a model.

        Args:
            images: One image, a list of them, or one list for each text: paths, PIL images or uint8 arrays.
            text: One text or several, with an image token for every image.
            videos: Must be None.
            audio: Must be None.
            return_tensors: ``pt`` for tensors of token ids too; images always become tensors.
            images_kwargs: As for :meth:`VisionComposerImageProcessor.preprocess`.
            text_kwargs: The tokenizer's arguments.
            **kwargs: More of them, such as ``padding``.

        Raises:
            InputError: If the texts do not have one image token for each image, or there is neither.
            ImageError: If an image cannot be read.
        """
        if videos is not None or audio is not None:
            raise InputError("a composed encoder reads images; leave out videos and audio")
        if images is None and text is None:
            raise InputError("neither images nor text are given")
        opened = [] if images is None else _opened(images)
        data: dict[str, Any] = {}
        if opened:
            data = dict(self.image_processor(opened, **(images_kwargs or {})))
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            self._check_places(texts, images, len(opened))
            rows = iter([self.num_image_tokens(*image.size) for image in opened])
            texts = [self._with_rows(one, rows) for one in texts]
            tokens = self.tokenizer(texts, **{**(text_kwargs or {}), **kwargs})
            data = {**tokens, **data}
        return BatchFeature(data, tensor_type=return_tensors)

    def _with_rows(self, text: str, rows: Iterator[int]) -> str:
        first, *rest = text.split(self.image_token)
        return first + "".join(self.image_token * next(rows) + part for part in rest)

    def _check_places(self, texts: Sequence[str], images: Any, number: int) -> None:
        places = [text.count(self.image_token) for text in texts]
        if sum(places) != number:
            raise InputError(
                f"the text has {sum(places)} times {self.image_token}, and there are {number} images; "
                "write it once for each image"
            )
        if isinstance(images, (list, tuple)) and any(isinstance(one, (list, tuple)) for one in images):
            given = [len(one) if isinstance(one, (list, tuple)) else 1 for one in images]
            if given != places:
                raise InputError(f"the texts have {places} image tokens, but are given {given} images")


def _opened(images: Any) -> list[Image.Image]:
    """Open images, which may be nested in lists, in order."""
    flat: list[ImageLike] = []

    def flatten(some: Any) -> None:
        if isinstance(some, (list, tuple)):
            for one in some:
                flatten(one)
        else:
            flat.append(some)

    flatten(images)
    return [open_image(image, name=image_name(image, f"image {i}")) for i, image in enumerate(flat)]
