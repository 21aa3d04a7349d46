from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from PIL import Image
from sklearn.datasets import load_sample_images
from support.compare import assert_close
from typer.testing import CliRunner, Result

from vision_composer import compose
from vision_composer.cli.encode import encode
from vision_composer.errors import VisionComposerError
from vision_composer.jobs import read_features
from vision_composer.jobs.progress import Progress, Reporter
from vision_composer.jobs.single import SingleFile


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(encode)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    encoder = {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    encoder |= {"intermediate_size": 16, "image_size": 32, "patch_size": 8}
    path = tmp_path / "tower.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "encoder": encoder, "select_layers": [-1]}))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, photo in zip(("china.jpg", "flower.jpg"), load_sample_images().images, strict=True):
        Image.fromarray(photo[::4, ::4]).save(folder / name)
    return folder


def test_root_and_overrides(config: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    above = tmp_path / "deep" / "a.yaml"
    above.write_text("extends: ../tower.yaml\n")
    refused = run(above, photos, "-o", tmp_path / "out")
    assert refused.exit_code == 2
    assert "leads out of the folder" in refused.stderr
    result = run(above, photos, "-o", tmp_path / "out", "--root", tmp_path, "-s", "weights.dtype=float16")
    assert result.exit_code == 0, result.output
    assert {features.dtype for _, features in read_features(tmp_path / "out")} == {np.dtype("float16")}


def test_all_encoded(config: Path, photos: Path, tmp_path: Path) -> None:
    result = run(config, photos, "-o", tmp_path / "out", "--batch-size", 1)
    assert result.exit_code == 0, result.output
    output = tmp_path / "out"
    last = result.stdout.splitlines()[-1]
    assert last.startswith("encoded 2 images, 0 failed, 34 tokens x 16, ")
    assert last.endswith(str(output))
    assert result.stderr == ""  # no terminal, no bar
    assert [Path(name).name for name, _ in read_features(output)] == ["china.jpg", "flower.jpg"]
    assert sorted(path.name for path in (output / "features").iterdir()) == ["part-00000.parquet"]


def test_clips_for_an_encoder_of_images(config: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    result = run(config, tmp_path / "v.mp4", "-o", tmp_path / "out", "--clips")
    assert result.exit_code == 2
    assert "this encoder takes no clips" in result.stderr
    result = run(config, photos, "-o", tmp_path / "out.parquet", "--clips")
    assert "a single file has no choice of clips" in result.stderr


def test_an_option_that_no_input_has_a_use_for(config: Path, photos: Path, tmp_path: Path) -> None:
    result = run(config, photos, "-o", tmp_path / "out", "--fps", 2)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no input is a video: leave out --fps (in Python fps), or name")
    assert not (tmp_path / "out").exists()


def test_values_laid_over_the_config(photos: Path, tmp_path: Path) -> None:
    result = run(
        "tiny/digits",
        photos,
        "-o",
        tmp_path / "f.parquet",
        "--set",
        "select_layers=[-2,1]",
        "--set",
        "post_norm=none",
    )
    assert result.exit_code == 0, result.output
    back = dict(read_features(tmp_path / "f.parquet"))
    encoder = compose("tiny/digits", overrides=["select_layers=[-2,1]", "post_norm=none"])
    assert_close(list(back.values()), encoder.encode(list(back)))
    assert {values.shape for values in back.values()} == {(16, 128)}


def test_some_failed(config: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken[red].png").write_bytes(b"broken")
    (photos / "empty.jpg").touch()
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    result = run(config, photos, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "encoded 2 images, 3 failed (listed in " in result.stdout.splitlines()[-1]
    assert f"failed: {photos}/broken[red].png: not a" in result.stderr
    assert f"failed: {photos}/empty.jpg: the file is empty" in result.stderr
    failed = pq.read_table(tmp_path / "out" / "failures.parquet")["id"].to_pylist()
    assert [Path(name).name for name in failed] == [
        "broken[red].png",
        "empty.jpg",
        "gone.jpg",
    ]


def test_all_failed(config: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    result = run(config, tmp_path / "broken.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert list(read_features(tmp_path / "out")) == []


def test_a_job_that_stops_on_its_way(
    config: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 2 would say that nothing was run."""

    def taken(*_: object) -> None:
        raise VisionComposerError("was made by someone else")

    monkeypatch.setattr(SingleFile, "_claim_names", taken)
    result = run(config, photos, "-o", tmp_path / "f.parquet")
    assert (result.exit_code, result.stderr) == (1, "error: was made by someone else\n")
    (tmp_path / "file").touch()
    assert run(config, photos, "-o", tmp_path / "file" / "f.parquet").exit_code == 2


def test_an_output_that_exists(config: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "f.parquet"
    output.write_text("kept")
    result = run(config, photos, "-o", output)
    assert (result.exit_code, output.read_text()) == (2, "kept")
    assert f"error: {output}: exists" in result.stderr
    assert run(config, photos, "-o", output, "--overwrite").exit_code == 0
    assert len(list(read_features(output))) == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{config}", "{photos}"], "--output"),
        (["{config}", "-o", "{out}"], "INPUTS"),
        (["{config}", "{photos}", "-o", "{out}", "--batch-size", "0"], "batch-size"),
        (["{config}", "{photos}", "-o", "{out}", "--shard", "2"], "--shard is I/N"),
        (["{config}", "{photos}", "-o", "{out}", "--shard", "2/2"], "there is no shard 2 of 2"),
        (["{config}", "{photos}", "-o", "{out}", "--as", "json"], "--as is binary or list"),
        (["{config}", "{photos}", "-o", "{out}", "--sink", "x"], "--sink is vllm-embeds"),
        (
            ["{config}", "{photos}", "-o", "{out}", "--as", "list", "--format", "safetensors"],
            "exclude each other",
        ),
        (["{config}", "{photos}", "-o", "{out}", "--sink", "vllm-embeds"], "set output: embeds"),
        (["{config}", "{photos}", "-o", "{out}", "--store-dtype", "int8"], "--store-dtype is float32"),
        (
            ["{config}", "{photos}", "-o", "{out}", "--pool", "cls", "-s", "feature_select_strategy=default"],
            "class",
        ),
        (
            ["{config}", "{photos}", "-o", "{out}.parquet", "--pool", "mean"],
            "a single file has no choice of pool",
        ),
        (["{config}", "{photos}/no.png", "-o", "{out}"], "no such file or folder"),
        (["{config}", "{photos}", "-o", "{out}", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["{config}", "{photos}", "-o", "{out}", "--device", "meta"], "device 'meta' cannot be used here"),
        (["{config}", "{photos}", "-o", "{out}", "--set", "encoder.hiden_size=3"], "hiden_size"),
        (
            ["{config}", "{photos}", "-o", "{out}", "--set", "weights.source=./no.safetensors"],
            "no.safetensors",
        ),
        (["no-such-preset", "{photos}", "-o", "{out}"], "no-such-preset"),
    ],
)
def test_nothing_could_be_run(
    arguments: list[str], reason: str, config: Path, photos: Path, tmp_path: Path
) -> None:
    places = {"config": config, "photos": photos, "out": tmp_path / "out"}
    result = run(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not (tmp_path / "out").exists()
    assert "Traceback" not in result.output


def test_importing_the_command_loads_no_torch() -> None:
    code = "import sys, vision_composer.cli.encode; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_going_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C says what is kept; the same command does the rest."""
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ("tiny/digits", photos, "-o", "~/out", "--part-size", 1, "--batch-size", 1)
    report = Reporter.__call__

    def interrupt(reporter: Reporter, progress: Progress) -> None:
        report(reporter, progress)
        if progress.num_done == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Reporter, "__call__", interrupt)
        stopped = run(*command)
    assert stopped.exit_code == 130
    assert "of 2 parts are complete and kept; run the same command again to go on" in stopped.stderr
    assert run(*command).exit_code == 0
    assert len(list(read_features(tmp_path / "out"))) == 2
    other = run(*command, "--store-dtype", "float16")
    assert (other.exit_code, "another output" in other.stderr) == (2, True)
    assert run(*command, "--store-dtype", "float16", "--overwrite").exit_code == 0


def test_ctrl_c_while_a_single_file_is_written(
    config: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vision_composer.cli.encode._Shown.image", interrupt)
    result = run(config, photos, "-o", tmp_path / "f.parquet")
    assert (result.exit_code, "nothing is kept" in result.stderr) == (130, True)
    assert not list(tmp_path.glob("*f.parquet*"))


def test_many_failures_are_not_all_printed(config: Path, tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(b"broken")
    result = run(config, tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 21
    assert result.stderr.splitlines()[-1] == "failed: more images, which the list of failures will name"
