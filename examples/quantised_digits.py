"""What quantisation costs tiny-digits: the cosine of each hidden state, and the accuracy of a linear probe.

Needs the extras ``torchao`` and ``demo``. Downloads nothing.
"""

from __future__ import annotations

import torch

from vision_composer import compose
from vision_composer.demo.digits import PARTS, as_images, load_pixels
from vision_composer.demo.probe import linear_probe

KINDS = ("none", "int8", "int8-dynamic")
LAYERS = range(5)

pixels, labels = load_pixels()
states = {}
for kind in KINDS:
    encoder = compose("tiny-digits", overrides=[f"select_layers={list(LAYERS)}", f"quantize={kind}"])
    features = torch.stack(encoder.encode(as_images(pixels), batch_size=64))
    states[kind] = features.chunk(len(LAYERS), dim=-1)

print("hidden state  quantize      mean cosine  least cosine  held-out digits named rightly")
for layer in LAYERS:
    for kind in KINDS:
        tokens = states[kind][layer]
        cosine = torch.cosine_similarity(tokens, states["none"][layer], dim=-1)
        result = linear_probe(tokens.mean(1).numpy(), labels, PARTS["probe_train"], PARTS["probe_test"])
        print(
            f"{layer:<12}  {kind:<12}  {float(cosine.mean()):.6f}     {float(cosine.min()):.6f}      "
            f"{result.correct} of {result.total}"
        )
