"""From image files to pixels: decoding, resizing, and the image processors that transformers lacks."""
