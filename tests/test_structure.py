"""The order of the house: who may ask what, one block loop, small files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for folder in ("composer", "schemas", "presets") for path in (ROOT / folder).rglob("*.py")]
SCRIPTS = list((ROOT / "scripts").rglob("*.py"))
TESTS = list((ROOT / "tests").rglob("*.py"))
OUTSIDE = [
    path for path in SOURCES if path.parent not in (ROOT / "composer/encoders", ROOT / "composer/images")
]


TOGETHER = {
    "composer/connectors": "composer/test_vlms.py",
    "composer/encoders": "composer/encoders/test_families.py",
    "composer/reduce": "composer/reduce/test_reductions.py",
    "schemas/connectors": "schemas/test_config.py",
    "schemas/encoders": "schemas/encoders/test_encoders.py",
    "schemas/tiling": "schemas/test_config.py",
}
"""Folders of one file a family, or a type -> the tests that walk them."""
ELSEWHERE = {
    # A constant, and blocks of data without a line of behaviour.
    "composer/_version.py": "test_packaging.py",
    "composer/jobs/inputs/row.py": "composer/jobs/inputs/test_files.py",
    "composer/jobs/ray_cluster.py": "composer/jobs/test_ray_engine.py",
    "composer/jobs/unit.py": "composer/jobs/test_pipeline.py",
    "composer/weights/header.py": "composer/weights/test_safetensors_file.py",
    # Parts of what is tested whole: by the config, the family or the pixels that come of them.
    "composer/foreign_json/fields.py": "composer/foreign_json/test_open_clip.py",
    "composer/images/phi4_multimodal.py": "composer/images/tiling/test_phi4_multimodal.py",
    "composer/scaffold/classes.py": "composer/cli/test_new_family.py",
    "composer/scaffold/observed.py": "composer/scaffold/test_family_code.py",
    "composer/scaffold/reading.py": "composer/scaffold/test_family_code.py",
    "composer/testing/molmo2.py": "composer/images/test_molmo2.py",
    # What the lock file is for: read and compared, as the command and compose do.
    "composer/locks/finding.py": "composer/cli/test_lock.py",
    "composer/locks/holding.py": "composer/cli/test_lock.py",
    # Parts of several towers that are one encoder.
    "composer/fusion/inputs.py": "composer/fusion/test_module.py",
    "composer/fusion/preprocess.py": "composer/fusion/test_module.py",
    "composer/planning/base.py": "composer/planning/test_fusion.py",
    "composer/vision_encoder.py": "composer/test_encoder.py",
    "schemas/fusion.py": "composer/test_fused_encoder.py",
    "schemas/root.py": "schemas/test_config.py",
}
"""Modules without a test file of their own name -> the tests of what they serve."""


def lines(paths: list[Path], pattern: str) -> list[str]:
    """Places whose line matches, as ``file:line: text``."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {text.strip()}"
        for path in paths
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, text)
    ]


def test_nobody_outside_asks_which_family_it_holds() -> None:
    assert lines(OUTSIDE, r"isinstance\(\s*[\w.]*\b(family|encoder), (?!str\))") == []


def test_nobody_outside_branches_on_packed_or_tiled() -> None:
    # attention/ is told whether images share a sequence; the schemas' rules are about what a config may say.
    asked = [
        path for path in OUTSIDE if path.parent != ROOT / "composer/attention" and "composer" in path.parts
    ]
    assert lines(asked, r"\b(if|elif|while|and|or|not)\b.*\.(packed|tiled)\b") == []


def test_there_is_one_loop_over_the_blocks() -> None:
    loops = lines(SOURCES, r"for .*\bin\b.*(\.blocks\b|block_list\()")
    running = [line for line in loops if "enumerate(self.block_list(model), start=1)" in line]
    assert [line.partition(":")[0] for line in running] == ["composer/encoders/base.py"]
    others = {line.partition(":")[0] for line in loops} - {"composer/encoders/base.py"}
    # Freezing, compiling and hooking touch blocks and run none.
    assert others <= {
        "composer/running/training.py",
        "composer/encoders/generic.py",
        "composer/scaffold/tracing.py",
        "composer/testing/subject.py",
    }


def test_families_type_with_any_only_what_transformers_leaves_untyped() -> None:
    families = [
        path for path in (ROOT / "composer/encoders").glob("*.py") if path.stem not in ("__init__", "aliases")
    ]
    # ndarray's two parameters, and the family of whatever block, batch and layout.
    allowed = r"ndarray\[Any, Any\]|EncoderFamily\[Any, Any, Any\]|^.*import .*Any"
    assert [
        line for line in lines(families, r"\bAny\b") if not re.search(allowed, line.partition(": ")[2])
    ] == []


def test_every_module_has_a_test_file_of_its_name() -> None:
    alone = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if not path.name.startswith("__")
        and not (ROOT / "tests" / path.relative_to(ROOT).with_name(f"test_{path.name}")).exists()
        and str(path.parent.relative_to(ROOT)) not in TOGETHER
    }
    assert alone == ELSEWHERE.keys()
    named = {*TOGETHER.values(), *ELSEWHERE.values()}
    assert [file for file in named if not (ROOT / "tests" / file).exists()] == []


def test_every_file_is_read_in_one_sitting() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (*SOURCES, *SCRIPTS, *TESTS)
    }
    assert {path: length for path, length in lengths.items() if length > 400} == {}
