"""JPEGs to time with: of the size that is asked for, the same every time, and not too simple."""

from __future__ import annotations

import io

from PIL import Image

from vision_composer.bench.jpeg import jpeg


def test_it_is_a_jpeg_of_that_size() -> None:
    content = jpeg(90, 50)
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("JPEG", (90, 50))
    assert len(image.getcolors(90 * 50) or ()) > 1000
    assert jpeg(90, 50) == content
