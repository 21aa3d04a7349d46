"""Serve a vision encoder over HTTP: images in, features out, many callers' images in shared forwards.

Needs FastAPI and uvicorn: ``pip install '.[serve]'``.

    python examples/serve.py tiny-digits --layers -2 -1 --port 8000
    curl --data-binary @photo.jpg 'http://127.0.0.1:8000/encode?pool=mean'

``GET /`` tells what is served. ``POST /encode`` takes an image file as its body and answers with

- all tokens, or with ``pool=mean``, ``max``, ``cls`` or a registered pooler one row of them,
- of all layers side by side, or with ``layer=-2`` of one of those that are served,
- in JSON, or with ``format=safetensors`` as a safetensors file of one tensor, ``features``.

An image that cannot be read is answered with status 422 and the reason; the others are not concerned.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from safetensors.torch import save
from torch import Tensor

from vision_composer import Batcher, compose
from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.pooling import Pooler, pooler_of

LARGEST_BODY = 64 << 20
"""Bytes of an image file at most."""


def create_app(
    source: str,
    *,
    layers: Sequence[int] | None = None,
    device: str | None = None,
    max_tokens: int = 8192,
    max_wait: float = 0.005,
) -> FastAPI:
    """Make the application.

    Args:
        source: What ``compose`` takes: a preset, a config, a checkpoint.
        layers: The hidden states that are served; default: what the config selects, as a whole.
        device: Where the encoder runs.
        max_tokens: Patches of all images of a forward at most.
        max_wait: Seconds that an image waits for others at most.
    """
    overrides = [] if layers is None else [f"select_layers={list(layers)}"]
    encoder = compose(source, overrides=overrides, device=device)
    width = encoder.output_width // len(layers or (None,))

    @asynccontextmanager
    async def batching(app: FastAPI) -> AsyncIterator[None]:
        with Batcher(encoder, max_tokens=max_tokens, max_wait=max_wait) as batcher:
            app.state.batcher = batcher
            yield

    app = FastAPI(title="vision-composer", lifespan=batching)

    @app.get("/")
    async def about() -> dict[str, object]:
        return {"source": source, "layers": layers, "width": width, "dtype": str(encoder.dtype)}

    @app.post("/encode")
    async def encode(
        request: Request,
        layer: int | None = None,
        pool: str = "none",
        answer: Annotated[Literal["json", "safetensors"], Query(alias="format")] = "json",
    ) -> Response:
        try:
            pooler = pooler_of(pool, encoder.plan)
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        if layer is not None and layer not in (layers or ()):
            raise HTTPException(400, f"layer {layer} is not served; served are {list(layers or ())}")
        try:
            features = await asyncio.wrap_future(app.state.batcher.submit(await body_of(request)))
        except ImageError as error:
            raise HTTPException(422, error.reason) from None
        if layer is not None and layers is not None:
            start = layers.index(layer) * width
            features = features[:, start : start + width]
        return await asyncio.to_thread(answer_of, features, pooler, answer)

    return app


def answer_of(features: Tensor, pooler: Pooler | None, answer: str) -> Response:
    """Pool features (tokens, width) and write them down; takes too long for the thread that all share."""
    if pooler is not None:
        features = pooler(features)
    features = features.contiguous().cpu()
    if answer == "safetensors":
        return Response(save({"features": features}), media_type="application/octet-stream")
    return JSONResponse({"shape": list(features.shape), "features": features.float().tolist()})


async def body_of(request: Request) -> bytes:
    """Return the body of a request, which is an image file.

    Raises:
        HTTPException: If it is empty or too large.
    """
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise HTTPException(413, f"an image file of more than {LARGEST_BODY >> 20} MiB is not read")
    if not content:
        raise HTTPException(400, "the body is empty; it must be an image file")
    return bytes(content)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve a vision encoder over HTTP.")
    parser.add_argument("source", help="a preset, a YAML file, or a checkpoint")
    parser.add_argument("--layers", type=int, nargs="+", help="hidden states to serve, such as -2 -1")
    parser.add_argument("--device")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-tokens", type=int, default=8192, help="patches of a forward at most")
    parser.add_argument("--max-wait", type=float, default=0.005, help="seconds an image waits for others")
    given = parser.parse_args()
    app = create_app(
        given.source,
        layers=given.layers,
        device=given.device,
        max_tokens=given.max_tokens,
        max_wait=given.max_wait,
    )
    uvicorn.run(app, host=given.host, port=given.port)


if __name__ == "__main__":
    main()
