"""What only reads configs loads no torch, and nothing else that is slow to load."""

import json
import subprocess
import sys

import pytest

SLOW = ["torch", "transformers", "numpy", "pyarrow", "PIL", "huggingface_hub", "safetensors", "jsonschema"]
RUN = """
import sys
from vision_composer.cli import main
sys.argv[1:] = {arguments}
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
"""


def loaded(code):
    """The modules that a fresh process has loaded after running ``code``."""
    script = f"{code}\nimport json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import vision_composer",
        "import vision_composer.schemas",
        "import vision_composer.presets",
        "import vision_composer.planning",
        "from vision_composer import load_config as load; load('tiny-digits', overrides=['name=${license}'])",
    ],
)
def test_import(code):
    assert loaded(code).isdisjoint(SLOW)


@pytest.mark.parametrize("module", ["vision_composer.images.preprocess", "vision_composer.jobs"])
def test_import_of_what_reads_images(module):
    assert loaded(f"import {module}").isdisjoint({"torch", "transformers"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["presets", "list"],
        ["presets", "show", "llava-1.5-7b"],
        ["schema"],
        ["show", "llava-1.5-7b", "--resolved"],
        ["explain", "llava-1.5-7b", "encoder"],
        ["diff", "llava-1.5-7b", "tiny-digits"],
        ["init", "siglip_vision_model"],
        ["plugins"],
        ["plan", "--help"],
    ],
    ids=" ".join,
)
def test_command(arguments):
    assert loaded(RUN.format(arguments=arguments)).isdisjoint(SLOW)


def test_validate(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: llava-1.5-7b\nsummary: ${name}\n")
    assert loaded(RUN.format(arguments=["validate", str(tmp_path)])).isdisjoint(SLOW)


def test_migrate(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: llava-1.5-7b\n")
    (tmp_path / "b.yaml").write_text("encoder: {model_type: dinov2}\n")
    assert loaded(RUN.format(arguments=["migrate", str(tmp_path)])).isdisjoint([*SLOW, "omegaconf"])


def test_lock(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    text = "schema: 1\nencoder: {model_type: dinov2}\nweights: {source: ./model.safetensors}\n"
    (tmp_path / "a.yaml").write_text(text)
    assert loaded(RUN.format(arguments=["lock", str(tmp_path)])).isdisjoint(SLOW)


def test_init_from_a_config_json(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llava", "vision_config": {"image_size": 64}}')
    arguments = ["init", "--from", str(tmp_path)]
    assert loaded(RUN.format(arguments=arguments)).isdisjoint(SLOW)


def test_plan():
    assert loaded(RUN.format(arguments=["plan", "llava-1.5-7b"])).isdisjoint({"torch", "transformers"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate", "--help"],
        ["encode", "--help"],
        ["demo", "--help"],
        ["init", "--help"],
        ["diff", "--help"],
    ],
)
def test_help_loads_only_the_command_line(arguments):
    modules = loaded(RUN.format(arguments=arguments))
    assert modules.isdisjoint([*SLOW, "yaml", "omegaconf", "rich", "vision_composer.schemas"])
