"""The scripts in examples/ do what they say."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from vision_composer import compose

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_tiny_vlm_learns_to_name_digits_and_another_process_answers_the_same(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    assert example("train_llava").run(tmp_path) > 0.9


# --- serve.py -----------------------------------------------------------------------------------------


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed % 7, 30, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server of tiny-digits, with two layers."""
    uvicorn = pytest.importorskip("uvicorn")
    app = example("serve").create_app("tiny-digits", layers=[-2, -1])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.05)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port: int, body: bytes | None, path: str = "/encode") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET" if body is None else "POST", path, body)
    response = connection.getresponse()
    return response.status, response.read()


def features(images: list[bytes], layers: list[int]) -> list[torch.Tensor]:
    encoder = compose("tiny-digits", overrides=[f"select_layers={layers}"])
    return encoder.encode([Image.open(io.BytesIO(image)) for image in images])


def test_200_callers_at_once_get_their_own_features_or_errors(port: int) -> None:
    images = [png(i) for i in range(200)]
    sent = [image[:60] if i % 9 == 4 else image for i, image in enumerate(images)]
    with ThreadPoolExecutor(len(sent)) as callers:
        answers = list(callers.map(lambda body: answer(port, body), sent))
    for i, (want, (status, content)) in enumerate(zip(features(images, [-2, -1]), answers, strict=True)):
        found = json.loads(content)
        if i % 9 == 4:
            assert status == 422
            assert "cannot be read" in found["detail"] or "truncated" in found["detail"], found
        else:
            assert status == 200
            torch.testing.assert_close(torch.tensor(found["features"]), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("query", "of"),
    [
        ("?layer=-2", lambda rows: rows[:, : rows.shape[1] // 2]),
        ("?layer=-1&pool=mean", lambda rows: rows[:, rows.shape[1] // 2 :].mean(0)),
        ("?pool=max", lambda rows: rows.amax(0)),
    ],
)
def test_a_layer_or_one_row_can_be_asked_for(port: int, query: str, of: Any) -> None:
    want = of(features([png(3)], [-2, -1])[0])
    _, content = answer(port, png(3), f"/encode{query}")
    torch.testing.assert_close(torch.tensor(json.loads(content)["features"]), want, rtol=1e-4, atol=1e-4)
    joint = "&" if query else "?"
    _, content = answer(port, png(3), f"/encode{query}{joint}format=safetensors")
    torch.testing.assert_close(load(content)["features"], want, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_answered_says_why(port: int) -> None:
    for path, body, status, message in (
        ("/encode?layer=5", png(0), 400, "layer 5 is not served; served are [-2, -1]"),
        ("/encode?pool=mid", png(0), 400, "unknown pooler 'mid'"),
        ("/encode?format=xml", png(0), 422, "json"),
        ("/encode", b"", 400, "the body is empty"),
        ("/encode", b"no image", 422, "not an image in a format"),
    ):
        code, content = answer(port, body, path)
        assert code == status, content
        assert message in str(json.loads(content)["detail"]), content


@pytest.mark.usefixtures("port")
def test_a_body_is_not_read_beyond_its_limit() -> None:
    parts = []

    class Endless:
        async def stream(self) -> Any:
            while True:
                parts.append(1 << 20)
                yield bytes(1 << 20)

    serve = example("serve")
    with pytest.raises(serve.HTTPException, match="more than 64 MiB"):
        asyncio.run(serve.body_of(Endless()))
    assert sum(parts) == 65 << 20


def test_it_says_what_it_serves(port: int) -> None:
    assert json.loads(answer(port, None, "/")[1])["layers"] == [-2, -1]


def test_the_command_line_makes_that_server(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    serve = example("serve")
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(
        serve, "create_app", lambda source, **options: made.append({"source": source, **options})
    )
    monkeypatch.setattr(serve.uvicorn, "run", lambda app, **options: made.append(options))
    monkeypatch.setattr("sys.argv", ["serve.py", "tiny-digits", "--layers", "-2", "-1", "--port", "9"])
    serve.main()
    assert made[0]["source"] == "tiny-digits"
    assert made[0]["layers"] == [-2, -1]
    assert made[1] == {"host": "127.0.0.1", "port": 9}
