"""The workflows: they parse, run pinned actions only, and what they check of a release is right."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import bounds
import pytest
import try_wheel
import yaml

from vision_composer import __version__

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
UNPINNED: dict[str, str] = {}
"""Actions that no commit pins -> why not."""


def _steps(workflow: str) -> list[dict]:
    jobs = yaml.safe_load((ROOT / ".github/workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_a_commit_with_the_version_beside_it(path: Path) -> None:
    used = [step["uses"] for step in _steps(path.name) if "uses" in step]
    written = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used == [action for action, _ in written]
    for action, comment in written:
        if action not in UNPINNED:
            assert re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_one_action_has_one_version() -> None:
    used = {step["uses"] for path in WORKFLOWS for step in _steps(path.name) if "uses" in step}
    assert len(used) == len({action.partition("@")[0] for action in used})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_and_no_more_unless_a_job_says_so(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        # What may publish runs nothing that was built or checked out here.
        assert "permissions" not in job or all("run" not in step for step in job["steps"])
        assert job["timeout-minutes"] <= 45


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_targets_and_scripts_of_the_workflows_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"\bmake ([\w./-]+)", text)
    assert targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    for script in re.findall(r"\bscripts/[\w.]+", text):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize(
    ("tag", "status"), [(f"v{__version__}", 0), (__version__, 1), (f"v{__version__}rc1", 1)]
)
def test_a_release_starts_from_the_tag_of_its_version(tag: str, status: int) -> None:
    (script,) = (
        step["run"] for step in _steps("release.yml") if step.get("name") == "the tag is the version"
    )
    result = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=ROOT,
        env=os.environ | {"GITHUB_REF_NAME": tag},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, bool(result.stdout)) == (status, status == 1)


def test_the_package_names_the_pythons_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {line.split()[-1] for line in project["classifiers"] if "Python ::" in line}
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    runs = workflow["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert named == {run["python"] for run in runs if run["run"] == "make test-all"}
    assert project["requires-python"] == f">={min(named, key=lambda version: int(version[2:]))}"


def test_coverage_has_a_floor_that_a_job_holds() -> None:
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert coverage["report"]["fail_under"] > 80
    # Not counted without it: commands that tests start, ranks, and what decodes images for a job.
    assert set(coverage["run"]["patch"]) == {"_exit", "fork", "subprocess"}
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    runs = workflow["jobs"]["check"]["strategy"]["matrix"]["include"]
    assert "make coverage" in [run["run"] for run in runs]


def test_bounds_of_torch_and_transformers() -> None:
    dependencies = ["torch>=2.3", "transformers>=5.1,<6", "numpy>=1.26"]
    assert bounds.at_bounds(dependencies, "oldest") == ["torch==2.3", "transformers==5.1"]
    assert bounds.at_bounds(dependencies, "newest") == ["torch>=2.3", "transformers<6,>=5.1"]


def test_a_wheel_that_is_not_the_tree_is_named() -> None:
    tree = {"vision_composer/a.py": b"1", "vision_composer/b.py": b"2", "vision_composer/c.py": b"3"}
    wheel = {"vision_composer/a.py": b"1", "vision_composer/b.py": b"", "vision_composer/d.py": b""}
    wrong = ["vision_composer/b.py", "vision_composer/c.py", "vision_composer/d.py"]
    assert try_wheel.differences(tree, wheel) == wrong
    assert try_wheel.differences(tree, tree) == []
