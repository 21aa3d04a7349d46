"""Build the package as a release does, install the wheel elsewhere and use it: scripts/try_wheel.py [FOLDER].

The source distribution is made of what git tracks, and the wheel of that alone. FOLDER keeps the two files.
Needs the environment of ``make``, whose packages the wheel runs beside: .venv/bin/python scripts/try_wheel.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "composer": "vision_composer",
    "schemas": "vision_composer/schemas",
    "presets": "vision_composer/presets",
}
SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
WHERE = "import vision_composer; print(vision_composer.__file__, vision_composer.__version__)"
SHAPES = (
    "from vision_composer import read_features; print([row.shape for _, row in read_features('features')])"
)
# What would let the commands see the checkout, or a hub.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | {
    "HF_HUB_OFFLINE": "1"
}


def run(*command: str | Path, folder: Path, status: int = 0) -> str:
    """Standard output and error of a command, which has to end with ``status``."""
    result = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode != status:
        words = " ".join(map(str, command))
        sys.exit(f"{words}\nended with {result.returncode}, not {status}:\n{result.stdout}")
    return result.stdout


def tracked() -> list[str]:
    """Files that git tracks and the working tree has, so that no leftover of a build gets in."""
    names = run("git", "ls-files", "-z", folder=ROOT).split("\0")
    return [name for name in names if (ROOT / name).is_file()]


def build(names: list[str], folder: Path) -> Path:
    """Write the source distribution and the wheel made from it into ``folder``/dist, and return the wheel."""
    tree, dist = folder / "tree", folder / "dist"
    for name in names:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    run(sys.executable, "-c", SDIST, dist, folder=tree)
    (sdist,) = dist.iterdir()
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir", dist, sdist, folder=folder)
    (wheel,) = dist.glob("*.whl")
    return wheel


def packaged(names: list[str]) -> dict[str, bytes]:
    """Every file of the package's folders, by its path in a wheel."""
    parts = (name.partition("/") for name in names)
    return {
        f"{FOLDERS[top]}/{rest}": (ROOT / top / rest).read_bytes() for top, _, rest in parts if top in FOLDERS
    }


def contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel but its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        return {name: archive.read(name) for name in names}


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Names of the files that only one side has, or that differ."""
    return sorted(name for name in expected | found if expected.get(name) != found.get(name))


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into a new environment that finds its requirements in this one; return its bin."""
    venv.create(folder, symlinks=True)
    scripts = folder / "bin"
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", wheel, folder=folder)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    # A folder that a .pth file names is searched last, and its own .pth files are not read: one of them would
    # bring an editable install.
    (site / "requirements.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    where, version = run(scripts / "python", "-c", WHERE, folder=folder).split()
    if not Path(where).is_relative_to(site) or wheel.name.split("-")[1] != version:
        sys.exit(f"the environment of the wheel imports version {version} from {where}")
    run(scripts / "python", "-m", "pip", "check", folder=folder)
    return scripts


def expect(pattern: str, output: str) -> None:
    """Stop unless the pattern is in the output."""
    if not re.search(pattern, output, re.MULTILINE):
        sys.exit(f"{pattern!r} is not in:\n{output}")


def use(scripts: Path, presets: int, folder: Path) -> None:
    """List presets, check the README's config, encode an image; look at what is printed and written."""
    command = scripts / "vision-composer"
    listed = run(command, "presets", "list", folder=folder)
    expect("^tiny-digits ", listed)
    if (count := len(listed.splitlines())) != presets:
        sys.exit(f"presets list names {count} presets, and presets/ has {presets}")

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (config,) = re.findall(r"^```yaml\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    path = folder / "tower.yaml"
    path.write_text(config, encoding="utf-8")
    expect("^1 file, 0 problems", run(command, "validate", path, folder=folder))
    path.write_text(config.replace("-9]", "-29]"), encoding="utf-8")
    expect(r"layer -29 does not exist.*\[VC201\]", run(command, "validate", path, folder=folder, status=1))

    image = ROOT / "docs/images/demo.png"
    encoded = run(command, "encode", "tiny-digits", image, "-o", "features", folder=folder)
    expect("^encoded 1 image, 0 failed, 16 tokens x 64", encoded)
    expect(r"^\[\(16, 64\)\]$", run(scripts / "python", "-c", SHAPES, folder=folder))


def main(arguments: list[str]) -> None:
    """Do all of it in a temporary folder."""
    names = tracked()
    files = packaged(names)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        wheel = build(names, folder)
        if wrong := differences(files, contents(wheel)):
            sys.exit("the wheel and the tree differ in " + ", ".join(wrong))
        scripts = install(wheel, folder / "environment")
        use(scripts, sum(name.endswith(".yaml") and "/presets/" in name for name in files), folder)
        for name in arguments:
            shutil.copytree(folder / "dist", name, dirs_exist_ok=True)
        print(f"{wheel.name}: {len(files)} files; presets list, validate and encode do what they should")


if __name__ == "__main__":
    main(sys.argv[1:])
