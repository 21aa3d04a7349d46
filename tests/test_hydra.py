"""The project of ``docs/hydra.md`` under Hydra itself, where it is installed.

Hydra 1.3 needs an older OmegaConf than the other tests run with, so it has an environment of its own:
``make test-hydra``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vision_composer import load_config
from vision_composer.errors import ConfigError

hydra = pytest.importorskip("hydra", reason="hydra-core is not installed; `make test-hydra` brings it")

if TYPE_CHECKING:
    from omegaconf import DictConfig

GUIDE = (Path(__file__).resolve().parents[1] / "docs/hydra.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`([\w/]+\.\w+)`.*?:\n\n```\w+\n(.*?)^```", GUIDE, flags=re.DOTALL | re.MULTILINE)
CALLS = re.findall(r"^\$ python train\.py *(.*)\n(?!\$)(\w.*)$", GUIDE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def train(project: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "train.py", *overrides, "hydra.output_subdir=null", "hydra.run.dir=."]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_the_guide_has_the_files_and_calls() -> None:
    assert {name for name, _ in FILES} >= {"train.py", "conf/train.yaml", "conf/tower/digits.yaml"}
    assert len(CALLS) == 2


@pytest.mark.parametrize(("overrides", "printed"), CALLS)
def test_the_calls_of_the_guide(overrides: str, printed: str, project: Path) -> None:
    result = train(project, *overrides.replace("'", "").split())
    assert result.stdout == printed + "\n", result.stderr


def test_every_option_of_the_group_in_one_call(project: Path) -> None:
    result = train(project, "--multirun", "tower=digits,siglip", "hydra.sweep.dir=sweep")
    printed = [line for line in result.stdout.splitlines() if line.startswith("siglip_vision_model")]
    assert [line.split()[1] for line in printed] == ["64", "48"], result.stderr


def test_options_are_valid_configs(project: Path) -> None:
    command = [sys.executable, "-m", "vision_composer", "validate", "conf/tower"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def tower(project: Path, *overrides: str) -> DictConfig:
    """The block that a task of the project would hand over."""
    with hydra.initialize_config_dir(str(project / "conf"), version_base=None):
        block: DictConfig = hydra.compose("train", list(overrides)).tower
        return block


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+tower.head=1", "head: expected true or false"),
        ("+tower.encoder.hiden_size=1", r"encoder.hiden_size: unknown key \(did you mean 'hidden_size'\?\)"),
        ("tower.select_layers=[-9]", r"select_layers\[0\]: layer -9 does not exist"),
        ("tower.extends=../elsewhere.yaml", "leads out of the folder"),
        ("+tower.name=${oc.env:HOME}", "calls a resolver, which no config can"),
        ("+tower.name=${dtype}", r"\$\{dtype\} refers to nothing that is written here"),
    ],
)
def test_what_is_wrong_is_named(override: str, message: str, project: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(tower(project, "tower.weights.dtype=float16", override))


def test_keys_added_changed_and_removed(project: Path) -> None:
    changes = [
        "~tower.select_layers",
        "tower.weights.dtype=float16",
        "+tower.name=a",
        "+tower.summary=${.name}",
    ]
    config = load_config(tower(project, *changes))
    assert (config.select_layers, config.weights.dtype, config.summary) == (None, "float16", "a")
    assert config.encoder == load_config("tiny-digits").encoder


def test_overrides_of_ours_lie_over_those_of_hydra(project: Path) -> None:
    block = tower(project, "tower=siglip", "tower.weights.dtype=float16")
    assert load_config(block, overrides=["encoder.hidden_size=96"]).encoder.hidden_size == 96
