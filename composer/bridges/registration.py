"""Tell transformers' Auto classes of the models here."""

from __future__ import annotations


def register_transformers() -> None:
    """Let ``from_pretrained`` of transformers load what the bridges here have saved.

    ``encoder.as_transformers()`` and ``build_vlm`` call it, so that only a process with neither has to.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

    # By itself, the oldest supported transformers offers it with torchvision only.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    from .llava import VisionComposerLlavaConfig, VisionComposerLlavaForConditionalGeneration
    from .processor import VisionComposerImageProcessor, VisionComposerProcessor
    from .vision import VisionComposerConfig, VisionComposerModel

    AutoConfig.register(VisionComposerConfig.model_type, VisionComposerConfig, exist_ok=True)
    AutoModel.register(VisionComposerConfig, VisionComposerModel, exist_ok=True)
    AutoConfig.register(VisionComposerLlavaConfig.model_type, VisionComposerLlavaConfig, exist_ok=True)
    AutoModelForImageTextToText.register(
        VisionComposerLlavaConfig, VisionComposerLlavaForConditionalGeneration, exist_ok=True
    )
    for config in (VisionComposerConfig, VisionComposerLlavaConfig):
        # A plain LLaVA's processor is found by its name, among those of all that is registered.
        AutoImageProcessor.register(config, VisionComposerImageProcessor, exist_ok=True)
        # transformers leaves it untyped.
        AutoProcessor.register(config, VisionComposerProcessor, exist_ok=True)  # type: ignore[no-untyped-call]
