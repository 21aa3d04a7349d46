"""Features in safetensors files: read by safetensors itself, and under the names that vLLM documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from support.compare import assert_close
from support.jobs import SMALL, draw, encoded

from vision_composer import compose
from vision_composer.errors import InputError
from vision_composer.jobs import encode_dataset, read_features
from vision_composer.jobs.tensor_files import MOST_IMAGES, SafetensorsFile, VllmFile


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 300])
def test_tensors(dtype: torch.dtype, count: int, tmp_path: Path) -> None:
    features = [torch.randn(i % 4, 5).to(dtype) for i in range(count)]
    file = SafetensorsFile(tmp_path / "f.parquet", {}, num_images=count)
    first = 10**9 - 5  # names of all lengths
    file.write([encoded(f"{i}", each, row=first + i) for i, each in enumerate(features)])
    file.finish()
    file.publish()
    file.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.parquet", "f.safetensors"]
    index = pq.read_table(tmp_path / "f.parquet").to_pylist()
    tensors = load_file(tmp_path / "f.safetensors")
    assert {row["file"] for row in index} == {"f.safetensors"}
    assert [row["key"] for row in index] == list(tensors)
    for row, expected in zip(index, features, strict=True):
        assert torch.equal(tensors[row["key"]], expected)
        assert tuple(row["shape"]) == expected.shape
    for (_, values), expected in zip(read_features(tmp_path / "f.parquet"), features, strict=True):
        np.testing.assert_array_equal(values, expected.float() if dtype == torch.bfloat16 else expected)


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    file = SafetensorsFile(tmp_path / "f.parquet", {}, num_images=1)
    file.write([encoded("a", torch.ones(2, 2))])
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_job_of_tensors_goes_on(tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", 20)
    encoder = compose(SMALL)
    for output in ("one", "two"):
        options = {"format": "safetensors", "part_size": 8, "workers": 0}
        encode_dataset(encoder, [tmp_path / "photos"], tmp_path / output, **options)
        if output == "two":
            (tmp_path / "two" / "features" / "part-00001.parquet").unlink()
            encode_dataset(encoder, [tmp_path / "photos"], tmp_path / output, **options)
    one, two = (dict(read_features(tmp_path / output)) for output in ("one", "two"))
    assert list(one) == list(map(str, photos))
    assert_close(list(one.values()), encoder.encode(photos))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_names_and_shapes_of_vllm(tmp_path: Path) -> None:
    """As vLLM documents them under embedding inputs: image_embeds, and image_grid_thw for Qwen."""
    for name, grids, shape in (("packed", True, (6, 5)), ("dense", False, (1, 6, 5))):
        features = torch.randn(6, 5).bfloat16()
        file = VllmFile(tmp_path / f"{name}.parquet", {}, num_images=1, grids=grids)
        file.write([encoded("a", features, row=3)])
        file.finish()
        file.publish()
        file.discard()
        with safe_open(tmp_path / f"{name}.safetensors", framework="pt") as tensors:
            (key,) = pq.read_table(tmp_path / f"{name}.parquet")["key"].to_pylist()
            embeds = tensors.get_tensor(f"{key}.image_embeds")
            assert embeds.shape == shape
            assert torch.equal(embeds.reshape(6, 5), features)
            if grids:
                assert tensors.get_tensor(f"{key}.image_grid_thw").tolist() == [[1, 2, 3]]
            assert len(list(tensors.keys())) == 1 + grids
        ((_, values),) = read_features(tmp_path / f"{name}.parquet")
        np.testing.assert_array_equal(values, features.float())


def test_vllm_takes_what_the_language_model_reads(tmp_path: Path) -> None:
    draw(tmp_path, 1)
    for options in ({}, {"pool": "mean"}):
        with pytest.raises(InputError, match="set output: embeds in the config, and pool nothing"):
            encode_dataset(compose(SMALL), [tmp_path], tmp_path / "out", format="vllm-embeds", **options)


@pytest.mark.slow  # 90 MB of a header
def test_the_largest_header_can_be_read(tmp_path: Path) -> None:
    file = VllmFile(tmp_path / "f.parquet", {}, num_images=MOST_IMAGES, grids=True)
    file.write([encoded("a", torch.ones(2, 2))])
    file.finish()
    file.publish()
    assert load_file(tmp_path / "f.safetensors").keys() == {
        "000000000.image_embeds",
        "000000000.image_grid_thw",
    }
