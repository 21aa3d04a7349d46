"""Towers recorded for numbers of tokens, by a stand-in that refuses what a CUDA graph could not do again."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from support import tiny
from support.compare import assert_close
from support.kinds import one_of_each_kind
from support.packed import batch_of
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from vision_composer import compose, plan, register_attention_backend
from vision_composer.encoders import FAMILIES
from vision_composer.encoders.dense import ImagePadding
from vision_composer.encoders.padding import Padding
from vision_composer.errors import BackendError, ConfigError
from vision_composer.running.compilation import compile_tower
from vision_composer.running.token_budgets import TokenBudgets, token_budgets
from vision_composer.schemas import CompileConfig
from vision_composer.tower.module import VisionTower


def padding_of(encoder: dict[str, Any]) -> Padding[Any, Any] | None:
    info = plan({"schema": 1, "encoder": encoder}).info
    return FAMILIES[info.model_type].padding(info)


FOLLOWING = [name for name, encoder in tiny.PACKED.items() if padding_of(encoder) is not None]
BUDGETS = (128, 512)
BATCHES = [[(1, 4, 4)] * 2, [(1, 3, 2)], [(1, 2, 5), (2, 3, 3)], [(1, 6, 4), (1, 1, 1), (1, 1, 7)]]
"""Of the first, no image is as long as the padding of the second."""


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention that reads the lengths where they are, and the longest one on the host."""
    ends = kwargs["cu_seqlens"]
    assert int(ends.diff().max()) <= kwargs["max_seqlen"]
    _ = torch.full((), kwargs["max_seqlen"])  # a launch that depends on it
    places = torch.arange(query.shape[2], dtype=ends.dtype)
    owner = torch.searchsorted(ends[1:], places, right=True)
    k, v = (part.repeat_interleave(query.shape[1] // part.shape[1], dim=1) for part in (key, value))
    output = scaled_dot_product_attention(
        query.to(v.dtype), k.to(v.dtype), v, attn_mask=owner[:, None] == owner, scale=kwargs.get("scaling")
    )
    return output.transpose(1, 2), None


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    attention.packed = True  # type: ignore[attr-defined]  # how a function says that it takes packed images
    register_attention_backend("by_lengths", attention)


class Launches(TorchDispatchMode):
    """Writes down what is launched: operations, shapes, numbers, and the memory that was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []
        self._own: dict[int, Any] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if "local_scalar" not in str(function):  # the assertion of the attention above
            self.seen.append((str(function), tree_map(self._described, (args, kwargs))))
        for made in tree_iter(result):
            if isinstance(made, Tensor):
                storage = made.untyped_storage()
                self._own.setdefault(storage.data_ptr(), storage)  # held, so that no other gets its address
        return result

    def _described(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        place = value.untyped_storage().data_ptr()
        return (
            tuple(value.shape),
            value.stride(),
            value.dtype,
            None if place in self._own else value.data_ptr(),
        )


class Recorder:
    """Like CUDA graphs: what ran once runs again with the same memory, shapes and numbers, or not at all."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.count += 1
        run()  # as ahead of a CUDA graph: what is made once is made
        with Launches() as recorded:
            output = run()

        def replay() -> Tensor:
            # In the mode of the recording: in inference mode, operations come in other pieces.
            with torch.inference_mode(False), torch.no_grad(), Launches() as launches:
                result = run()
            assert launches.seen == recorded.seen, "a CUDA graph would have done something else"
            return output.copy_(result)

        return replay

    def one_at_a_time(self) -> nullcontext[None]:
        return nullcontext()


def towers(name: str, budgets: tuple[int, ...] = BUDGETS, **keys: Any) -> tuple[Any, Any, Recorder]:
    """A tiny encoder as it is, and one with the same weights that is recorded."""
    config = {"schema": 1, "encoder": tiny.ALL[name], **keys}
    if name in tiny.PACKED:
        config["attn_backend"] = "by_lengths"
    plain, recorded, recorder = compose(config), compose(config), Recorder()
    recorded.load_state_dict(tiny.scramble(plain).state_dict())
    recorded.eval()
    padding = recorded.tower.family.padding(recorded.info)
    recorded.tower.run_batch = TokenBudgets(recorded.tower, padding, budgets, recorder)
    return plain, recorded, recorder


@pytest.mark.parametrize("layers", [None, pytest.param([-1, 0], marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", one_of_each_kind(FOLLOWING))
@torch.no_grad()
def test_features_are_those_of_the_tower_as_it_is(name: str, layers: list[int] | None) -> None:
    plain, recorded, recorder = towers(name, select_layers=layers)
    kept = []
    for seed, grids in enumerate(BATCHES):
        batch = batch_of(name, grids, seed=seed)
        kept.append((recorded(**batch), plain(**batch)))
    for got, want in kept:  # at the end: no batch may overwrite another's features
        assert_close(got, want)
    assert 1 <= recorder.count <= len(BUDGETS)


DENSE = [name for name, encoder in tiny.ALL.items() if isinstance(padding_of(encoder), ImagePadding)]


@pytest.mark.parametrize("name", one_of_each_kind(DENSE))
@torch.no_grad()
def test_images_of_one_size_are_padded_by_images(name: str) -> None:
    info = plan({"schema": 1, "encoder": tiny.ALL[name]}).info
    patches = info.patch_grid_length**2
    plain, recorded, recorder = towers(name, (patches, 4 * patches + 1))
    sample = plain.family.samples(info, plain.preprocessor)[0].inputs["pixel_values"]
    kept = []
    for seed, images in enumerate((3, 1, 4, 5)):
        torch.manual_seed(seed)
        pixels = torch.randn(images, *sample.shape[1:])
        kept.append((recorded(pixel_values=pixels), plain(pixel_values=pixels)))
    for got, want in kept:  # at the end: no batch may overwrite another's features
        assert_close(list(got), list(want))
    assert recorder.count == 2  # for one image, and for up to four; five run without
    if info.any_size:
        side = info.image_size
        for height, width in ((info.patch_size, 2 * info.patch_size), (side + 1, side)):
            others = torch.randn(2, info.num_channels, height, width)
            assert_close(list(recorded(pixel_values=others)), list(plain(pixel_values=others)))
        assert recorder.count == 2


@torch.no_grad()
def test_images_with_masks_run_without() -> None:
    plain, recorded, recorder = towers("phi4_multimodal_vision", (4096,))
    samples = plain.family.samples(plain.info, plain.preprocessor)
    for one in samples:
        assert_close(list(recorded(**one.inputs)), list(plain(**one.inputs)))
        one.inputs["patch_attention_mask"][:, 1:] = False
        assert_close(list(recorded(**one.inputs)), list(plain(**one.inputs)))
    assert recorder.count == 0
    pixels = samples[0].inputs["pixel_values"]
    assert_close(list(recorded(pixel_values=pixels)), list(plain(pixel_values=pixels)))
    assert recorder.count == 1


@pytest.mark.parametrize("batches", [60, pytest.param(1000, marks=pytest.mark.slow)])
@torch.inference_mode()
def test_many_batches_take_no_more_memory_than_some(batches: int) -> None:
    _, recorded, recorder = towers("qwen2_5_vl_vision", select_layers=[1])
    generator = torch.Generator().manual_seed(0)
    held = []
    for number in range(1, batches + 1):
        images = int(torch.randint(1, 5, (), generator=generator))
        sides = torch.randint(1, 5, (images, 2), generator=generator).tolist()
        recorded(**batch_of("qwen2_5_vl_vision", [(1, h, w) for h, w in sides]))
        if number in (batches // 2, batches):
            recorded.tower._layouts.clear()
            gc.collect()
            # Other tests may have left tensors without memory, which are of other classes.
            tensors = [thing for thing in gc.get_objects() if type(thing) in (Tensor, torch.nn.Parameter)]
            sizes = [tensor.nbytes for tensor in tensors if tensor.layout is torch.strided]
            held.append((len(sizes), sum(sizes)))
    assert recorder.count == len(BUDGETS)
    assert held[1] == held[0]


def test_what_no_recording_fits_runs_without() -> None:
    plain, recorded, recorder = towers("qwen2_vl_vision", (64,))
    small, large, many = (
        batch_of("qwen2_vl_vision", grids) for grids in ([(1, 4, 4)], [(1, 1, 17)], [(1, 1, 1)] * 8)
    )
    with torch.no_grad():
        for batch in (large, many):  # of too many tokens, and of too many images
            assert_close(recorded(**batch), plain(**batch))
    torch.cat(recorded(**small)).sum().backward()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        recorded(**small)
    with torch.no_grad():
        recorded.train()(**small)
        assert recorder.count == 0
        assert_close(recorded.eval()(**small), plain(**small))  # no token is missing
    assert recorder.count == 1


@torch.no_grad()
def test_other_weights_are_recorded_again() -> None:
    plain, recorded, recorder = towers("qwen2_vl_vision", (64,))
    batch = batch_of("qwen2_vl_vision", [(1, 2, 3)])
    recorded(**batch)
    for encoder in (plain, recorded):
        next(encoder.blocks[0].parameters()).mul_(2)
    assert_close(recorded(**batch), plain(**batch))
    assert recorder.count == 1
    for encoder in (plain, recorded):
        encoder.to(torch.bfloat16)
    assert_close(recorded(**batch), plain(**batch))
    assert recorder.count == 2
    for encoder in (plain, recorded):
        mlp = encoder.blocks[0].mlp
        mlp.fc2 = Scaled(mlp.fc2)
    assert_close(recorded(**batch), plain(**batch))
    assert recorder.count == 3


class Scaled(nn.Module):
    """Stands in the place of a layer, as an adapter does."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = self.layer(x) * self.scale
        return scaled.to(x.dtype)


def test_towers_that_cannot_be_recorded_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, message in (
        ("got_ocr2_vision", "more of a batch"),
        ("mllama_vision_model", "more of a batch"),
        ("muse_glimmer_vision", "more of a batch"),
        ("clip_vision_model", "has 3, but the smallest image of clip_vision_model has"),
        ("qwen2_vl_vision", "on the device"),
    ):
        encoder = compose({"schema": 1, "encoder": tiny.ALL[name]})
        with pytest.raises(BackendError, match=message):
            token_budgets(encoder.tower, (3, *BUDGETS))
    monkeypatch.setattr(VisionTower, "device", torch.device("cuda"))
    with pytest.raises(BackendError, match="on the device"):  # the last tower's attention is sdpa
        compile_tower(encoder.tower, CompileConfig(token_budgets=BUDGETS))
    with pytest.raises(ConfigError, match="leave scope out"):
        compose(
            {
                "schema": 1,
                "encoder": tiny.PACKED["qwen2_vl_vision"],
                "compile": {"token_budgets": [64], "scope": "tower"},
            }
        )
