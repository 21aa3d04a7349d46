"""DINOv3's image processor on Pillow; transformers has it on torchvision only.

It rescales before it resizes there, so pixels between those of the image are not rounded to grey levels.
"""

from __future__ import annotations

from transformers import ViTImageProcessorPil


class DINOv3ViTImageProcessorPil(ViTImageProcessorPil):
    """The same steps on 8-bit pixels, which changes a pixel by at most one grey level."""
