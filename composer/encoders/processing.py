"""Which image processor a family's images go through, and how it resizes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..images.resize import ResizeRule
from ..images.rules import rule_of
from ..images.settings import Needs, ProcessorSettings, resolve_settings
from ..schemas import PROCESSOR_CLASSES, EncoderConfig, ImageProcessorConfig

if TYPE_CHECKING:
    from ..images.preprocess import ImagePreprocessor

C = TypeVar("C", bound=EncoderConfig)


class ProcessorFamily(ABC, Generic[C]):
    """The part of a family that says how images become the inputs of its tower."""

    image_processor: ClassVar[str] = "CLIPImageProcessor"
    """The image processor of a checkpoint that names none: a class of ``schemas.PROCESSOR_CLASSES``."""

    def image_processor_defaults(self, encoder: C) -> dict[str, object]:
        """Return arguments of the family's image processor for a checkpoint without a processor config."""
        fit = PROCESSOR_CLASSES[self.image_processor].fit
        return {} if fit is None else dict(fit(encoder.image_size))

    def image_processor_settings(self, encoder: C) -> dict[str, object]:
        """Return arguments of any processor that the encoder dictates, whatever a checkpoint says."""
        return {}

    def processor_settings(
        self, encoder: C, block: ImageProcessorConfig | None = None, folder: Path | None = None
    ) -> ProcessorSettings:
        """Return which image processor the encoder's images go through, and its values.

        Args:
            encoder: The config block.
            block: The config's ``image_processor``.
            folder: The checkpoint's folder; None if there is none at hand.

        Raises:
            ConfigError: If the config sets what the processor does not know, or what does not work.
            WeightsError: If the checkpoint's processor config is broken, or not for this encoder.
        """
        needs = Needs(
            own=PROCESSOR_CLASSES[self.image_processor],
            fitting=self.image_processor_defaults(encoder),
            side=getattr(encoder, "image_size", 0),
            dictated=self.image_processor_settings(encoder),
        )
        return resolve_settings(block or ImageProcessorConfig(), folder, needs)

    def resize_rule(self, encoder: C, settings: ProcessorSettings) -> ResizeRule:
        """Return the size that the image processor makes of an image."""
        return rule_of(settings.type, settings.values)

    @abstractmethod
    def preprocessor(self, encoder: C, settings: ProcessorSettings) -> ImagePreprocessor:
        """Make the preprocessor, which turns images into the inputs of the tower.

        Args:
            encoder: The config block.
            settings: The image processor and its values.

        Raises:
            WeightsError: If the values do not work.
            MissingDependencyError: If the installed transformers has this processor only for a library that
                is not installed.
        """
