"""Comparisons of tiny encoders. Nothing here depends on how long anything takes."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

from vision_composer import compose, plan
from vision_composer.bench import calibrate, compare, peers
from vision_composer.bench.comparison import noise
from vision_composer.bench.measure import interleaved, peak_bytes
from vision_composer.bench.peers import TransformersTower
from vision_composer.errors import BackendError, InputError, MissingDependencyError
from vision_composer.parallel import CostModel

DENSE = ["clip_vision_model", "siglip_vision_model", "dinov2", "internvl_vision"]
PACKED = ["pixtral", "qwen2_vl_vision", "qwen2_5_vl_vision", "qwen3_vl_vision"]
CPU = torch.device("cpu")


def config(name: str, **keys: Any) -> dict[str, Any]:
    encoder = (tiny.ENCODERS | tiny.PACKED)[name]
    return {"schema": 1, "encoder": encoder, "weights": {"source": None}, **keys}


@pytest.mark.parametrize("layers", [None, [-2], [1, 3]], ids=str)
@pytest.mark.parametrize("name", DENSE)
def test_dense_encoders_beside_transformers(name: str, layers: list[int] | None) -> None:
    result = compare(config(name, select_layers=layers), against=["transformers"], batch=3, rounds=2)
    ours, theirs = result.rows
    assert (ours.name, theirs.name) == ("vision-composer", "transformers")
    assert result.num_blocks == plan(config(name, select_layers=layers)).num_blocks
    assert len(result.images) == 3
    assert theirs.difference < 1e-5
    assert [len(row.seconds) for row in result.rows] == [2, 2]
    assert all(row.peak_bytes and row.peak_bytes > 0 for row in result.rows)
    assert all(row.graphs == row.recompiles == 0 for row in result.rows)


@pytest.mark.parametrize("name", PACKED)
def test_packed_encoders_beside_transformers(name: str) -> None:
    result = compare(
        config(name), against=["transformers"], images=[(64, 96), (96, 64), (64, 64)], batch=2, rounds=1
    )
    assert len(result.images) == 6
    assert result.num_patches == 2 * sum(
        plan(config(name)).info.num_patches(*size) for size in result.images[:3]
    )
    assert result.rows[1].difference < 1e-5


def test_images_that_transformers_pads() -> None:
    encoder = {"schema": 1, "encoder": tiny.PADDED["siglip2_vision_model"]}
    result = compare(encoder, against=["transformers"], images=[(64, 96), (40, 64)], rounds=1)
    assert result.rows[1].difference < 1e-5


def test_a_head_and_a_norm() -> None:
    for keys in ({"head": True}, {"select_layers": [-1, 2], "post_norm": "each"}):
        result = compare(config("siglip_vision_model", **keys), against=["transformers"], rounds=1)
        assert result.rows[1].difference < 1e-5


def test_the_compiled_tower_is_a_row_of_its_own() -> None:
    source = config("clip_vision_model", compile={"backend": "aot_eager"})
    names = [row.name for row in compare(source, against=["transformers"], rounds=1).rows]
    assert names == ["vision-composer", "vision-composer, compiled", "transformers"]
    ours, compiled = compare(source, rounds=2).rows
    assert ours.graphs == 0
    assert compiled.graphs >= 1
    assert compiled.recompiles == 0


def test_weights_are_the_same_memory() -> None:
    tower = compose(config("clip_vision_model", select_layers=[-2]))
    module = TransformersTower(tower)
    theirs = module.model.state_dict()
    ours = tower.model.state_dict()
    assert {name: value.data_ptr() for name, value in ours.items()} == {
        name: theirs[name].data_ptr() for name in ours
    }
    assert len(theirs) > len(ours)


def test_other_features_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(tower: Any, inputs: Any) -> Any:
        return lambda: lambda: tower(**inputs) * 1.1

    def fewer(tower: Any, inputs: Any) -> Any:
        return lambda: lambda: tower(**inputs)[:, 1:]

    monkeypatch.setitem(peers.PEERS, "other", other)
    monkeypatch.setitem(peers.PEERS, "fewer", fewer)
    with pytest.raises(BackendError, match=r"other and the tower compute different features: by 0\.1"):
        compare(config("clip_vision_model"), against=["other"], rounds=1)
    with pytest.raises(BackendError, match="fewer returns features of shapes"):
        compare(config("clip_vision_model"), against=["fewer"], rounds=1)


def test_an_unknown_peer_names_the_known_ones() -> None:
    message = (
        r"cannot compare with 'transformer' \(did you mean 'transformers'\?\); known: transformers, onnx"
    )
    with pytest.raises(InputError, match=message):
        compare(config("clip_vision_model"), against=["transformer"])


def test_a_peer_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(peers, "import_module", missing)
    with pytest.raises(
        MissingDependencyError, match=r"needs onnxruntime.*pip install 'vision-composer\[bench"
    ):
        compare(config("clip_vision_model"), against=["onnxruntime"])
    with pytest.raises(MissingDependencyError, match=r"needs timm, which is not installed: pip install timm"):
        compare(config("clip_vision_model"), against=["timm"])


def test_a_peer_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(peers, "import_module", broken)
    with pytest.raises(MissingDependencyError, match="timm, which cannot be imported: operator torchvision"):
        compare(config("clip_vision_model"), against=["timm"])


@pytest.mark.parametrize("images", [[(0, 4)], [(4,)]], ids=str)
def test_sizes_that_are_none(images: Any) -> None:
    with pytest.raises(InputError, match="no widths and heights"):
        compare(config("clip_vision_model"), images=images)


def test_every_run_has_its_turn_in_every_round() -> None:
    calls: list[str] = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    seconds = interleaved(runs, 3, CPU)
    assert "".join(calls) == "abcbcacab"
    assert [len(times) for times in seconds] == [3, 3, 3]
    with pytest.raises(InputError, match="0 rounds"):
        interleaved(runs, 0, CPU)


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def run() -> torch.Tensor:
        first = torch.ones(1000, dtype=torch.float32)
        second = first + 1
        del first
        return second * 2

    assert 8000 <= peak_bytes(run, CPU) < 8100  # two of three, and numbers


def test_noise_is_the_same_every_time() -> None:
    tower = compose(config("pixtral"))
    sizes = [(40, 24), (16, 32)]
    one, other = noise(tower, sizes), noise(tower, sizes)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_calibration_is_a_cost_table(tmp_path: Any) -> None:
    tower = compose(config("pixtral"))
    costs = calibrate(tower, [(16, 16), (64, 32), (96, 96)], rounds=2)
    costs.save(tmp_path / "costs.json")
    read = CostModel.load(tmp_path / "costs.json", tower.plan)
    assert read == costs
    assert [m.grid for m in read.measurements] == [
        tower.image_grids(noise(tower, [size]))[0] for size in [(16, 16), (64, 32), (96, 96)]
    ]


def test_an_encoder_of_one_size_has_no_calibration() -> None:
    with pytest.raises(InputError, match="at least two sizes"):
        calibrate(compose(config("clip_vision_model")), [(32, 32), (64, 64)], rounds=1)
