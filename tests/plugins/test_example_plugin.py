"""The example plugin, installed by pip into a folder of its own, as the command line sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
import transformers
import yaml
from PIL import Image
from support.compare import assert_close

from vision_composer.jobs import read_features
from vision_composer.schemas import json_schema

HERE = Path(__file__).parent
GUIDE = (HERE.parents[1] / "docs/plugins.md").read_text(encoding="utf-8")
CONFIG = """\
schema: 1
encoder:
  model_type: chinese_clip_vision_model
  hidden_size: 32
  intermediate_size: 48
  num_hidden_layers: 3
  num_attention_heads: 4
  image_size: 32
  patch_size: 8
select_layers: [-2]
feature_select_strategy: example.every_other
attn_backend: example.plain
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plugin is installed in."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(HERE / "example_plugin", folder / "source")  # a build writes beside the source
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target"]
    command = [sys.executable, "-m", "pip", "install", *options, str(folder / "site"), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tower.yaml"
    path.write_text(CONFIG)
    return path


def run(
    site: Path | None, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    paths = [str(site)] if site else []
    if "PYTHONPATH" in os.environ:
        paths.append(os.environ["PYTHONPATH"])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def cli(site: Path | None, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(site, "-m", "vision_composer", *arguments)


def test_without_the_plugin_the_config_is_refused(config: Path) -> None:
    result = cli(None, "validate", config)
    assert result.returncode == 1
    assert "unknown model_type 'chinese_clip_vision_model'" in result.stdout
    assert "prefix_tokens" in result.stdout


def test_validate_accepts_it_and_checks_its_keys(site: Path, config: Path) -> None:
    assert cli(site, "validate", config).returncode == 0
    config.write_text(CONFIG.replace("intermediate_size", "intermediate_sise"))
    result = cli(site, "validate", config)
    assert result.returncode == 1
    assert "did you mean 'intermediate_size'?" in result.stdout
    config.write_text(CONFIG.replace("example.every_other", "example.every_otter"))
    assert "did you mean 'example.every_other'?" in cli(site, "validate", config).stdout


def test_validate_loads_no_torch(site: Path, config: Path) -> None:
    code = (
        "import sys; from vision_composer import load_config; load_config(sys.argv[1]);"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was loaded';"
        "assert 'example_plugin.selectors' not in sys.modules"
    )
    result = run(site, "-c", code, config)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow  # a process each
def test_plan(site: Path, config: Path) -> None:
    result = cli(site, "plan", config, "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["adapter"] == "family"
    assert facts["num_blocks"] == 2
    assert facts["images"][0]["num_tokens"] == (1 + 16 + 1) // 2


@pytest.mark.slow  # a process that imports everything
def test_encode_equals_transformers(site: Path, config: Path, tmp_path: Path) -> None:
    fields = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    theirs = transformers.ChineseCLIPVisionModel(
        transformers.ChineseCLIPVisionConfig(**fields, image_size=32, patch_size=8)
    ).eval()
    theirs.save_pretrained(tmp_path / "checkpoint")
    Image.new("RGB", (32, 32), (255, 0, 80)).save(tmp_path / "a.png")
    out = tmp_path / "out.parquet"
    source = ["--set", f"weights.source={tmp_path / 'checkpoint'}"]
    result = cli(site, "encode", config, tmp_path / "a.png", "-o", out, *source)
    assert result.returncode == 0, result.stderr
    ((_, features),) = read_features(out)
    got = torch.as_tensor(features)

    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    pixels = processor(Image.open(tmp_path / "a.png"), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        want = theirs(pixel_values=pixels, output_hidden_states=True).hidden_states[2][0, ::2]
    assert_close(got, want)


@pytest.mark.slow  # a process each
def test_plugins_lists_it(site: Path) -> None:
    result = cli(site, "plugins", "--json")
    assert result.returncode == 0, result.stderr
    found = {entry["name"]: entry for entry in json.loads(result.stdout)}
    for name, module, kind in (
        ("chinese_clip_vision_model", "encoder", "encoder"),
        ("example.every_other", "selectors", "feature selector"),
        ("example.plain", "attention", "attention backend"),
    ):
        assert found[name] == {
            "kind": kind,
            "name": name,
            "source": "example-plugin",
            "version": "0.1.0",
            "file": str(site / f"example_plugin/{module}.py"),
        }
    assert found["clip_vision_model"]["source"] == found["full"]["source"] == "built in"
    line = next(line for line in cli(site, "plugins").stdout.splitlines() if "example.plain" in line)
    assert re.split(r" {2,}", line)[:3] == ["attention backend", "example.plain", "example-plugin 0.1.0"]


@pytest.mark.slow  # a process each
def test_prefix_tokens_still_asks_for_the_generic_adapter(site: Path, config: Path) -> None:
    keys = ["encoder.prefix_tokens=1", "feature_select_strategy=full"]
    result = cli(site, "plan", config, "--json", *(part for key in keys for part in ("--set", key)))
    assert json.loads(result.stdout)["adapter"] == "generic", result.stderr


def test_the_schema_has_it(site: Path, config: Path) -> None:
    result = cli(site, "schema")
    assert result.returncode == 0, result.stderr
    schema = jsonschema.Draft202012Validator(json.loads(result.stdout))
    schema.check_schema(schema.schema)
    values = yaml.safe_load(CONFIG)
    encoder = values["encoder"]

    def complaint(**changed: object) -> str | None:
        error = jsonschema.exceptions.best_match(schema.iter_errors({**values, **changed}))
        return error and error.message

    assert complaint() is None
    assert "'hiden_size' was unexpected" in complaint(encoder={**encoder, "hiden_size": 1})
    assert "'example.plane' is not one of" in complaint(attn_backend="example.plane")
    assert "is not of type 'integer'" in complaint(encoder={**encoder, "hidden_size": "x"})
    # prefix_tokens asks for the generic adapter, which takes any key.
    assert complaint(encoder={**encoder, "prefix_tokens": 1, "hiden_size": 1}) is None
    strategies = schema.schema["properties"]["feature_select_strategy"]["anyOf"][0]["enum"]
    assert strategies == ["class", "default", "full", "example.every_other"]
    assert json.loads(cli(site, "schema", "--built-in").stdout) == json_schema()


@pytest.mark.slow  # a process each
def test_the_schema_of_a_plugin_that_cannot_be_used(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site/example_plugin/encoder.py").write_text("raise RuntimeError('half installed')\n")
    result = cli(tmp_path / "site", "schema")
    assert (result.returncode, result.stdout) == (1, "")
    assert "half installed" in result.stderr
    assert "Traceback" not in result.stderr
    assert cli(tmp_path / "site", "schema", "--built-in").returncode == 0


MODULE = """\
from typing import Literal

from vision_composer import register_attention_backend, register_encoder, register_feature_selector
from vision_composer.encoders import DenseFamily
from vision_composer.schemas import DenseEncoderConfig


class Tiles(DenseEncoderConfig):
    model_type: Literal["tiles"]
    tile_size: int = 7


class TilesFamily(DenseFamily):
    model_type = "tiles"

    def stem_shapes(self, encoder):
        return {"tile": (encoder.hidden_size, encoder.tile_size)}

    def block_shapes(self, encoder):
        return {"block": (encoder.hidden_size,)}

    def stem(self, model, pixel_values):
        return model.embeddings(pixel_values), {}


register_encoder(Tiles, TilesFamily)
register_feature_selector("mine.first", lambda features: features[:, :1])
register_attention_backend("mine.plain", lambda *arguments, **keywords: None)
"""
TILES = """\
schema: 1
encoder: {model_type: tiles, tile_size: 9}
feature_select_strategy: mine.first
attn_backend: mine.plain
"""


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["validate", "a.yaml"], "VC301"),
        (["plan", "a.yaml"], "tiles"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)  # every command is a process
            for case in (
                (["show", "a.yaml", "--resolved"], "tile_size: 9"),
                (["explain", "a.yaml", "encoder.tile_size"], "set at a.yaml:2:41: encoder"),
                (["diff", "a.yaml", "b.yaml"], "encoder.tile_size: 9 -> 7"),
                (["init", "tiles"], "tile_size: 7"),
                (["schema"], '"tile_size"'),
                (["plugins"], "mine.plain"),
            )
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_module_of_the_working_directory(arguments: list[str], printed: str, tmp_path: Path) -> None:
    (tmp_path / "tiles.py").write_text(MODULE)
    (tmp_path / "a.yaml").write_text(TILES)
    (tmp_path / "b.yaml").write_text("extends: ./a.yaml\nencoder: {tile_size: 7}\n")
    command = ["-m", "vision_composer", *arguments]
    result = run(None, *command, "--plugin", "tiles", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert printed in result.stdout


@pytest.mark.slow  # a process each
def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    result = run(None, "-m", "vision_composer", "show", "tiny-digits", "--plugin", "tilez", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "tilez" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "example_plugin/encoder.py",
        "example_plugin/selectors.py",
        "example_plugin/attention.py",
    ],
)
def test_the_guide_shows_the_files_as_they_are(path: str) -> None:
    language = "toml" if path.endswith("toml") else "python"
    code = (HERE / "example_plugin" / path).read_text(encoding="utf-8")
    assert f"```{language}\n{code}```" in GUIDE


@pytest.mark.slow
def test_the_python_of_the_guide_runs(site: Path, tmp_path: Path) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    registers = next(code for code in examples if "register_feature_selector(" in code)
    (tmp_path / "my_project.py").write_text(registers)
    (tmp_path / "a.yaml").write_text(CONFIG.replace("example.every_other", "my_project.first_row"))
    arguments = ["-m", "vision_composer", "validate", "a.yaml", "--plugin", "my_project"]
    result = run(site, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr

    checks = next(code for code in examples if "check_encoder" in code)
    (tmp_path / "test_it.py").write_text(checks)
    result = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", cwd=tmp_path)
    assert result.returncode == 0, result.stdout


def test_the_yaml_of_the_guide_is_valid(site: Path, tmp_path: Path) -> None:
    (config,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "a.yaml").write_text(config)
    result = cli(site, "validate", tmp_path / "a.yaml")
    assert result.returncode == 0, result.stdout
