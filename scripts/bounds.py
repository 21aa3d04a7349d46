"""Print torch and transformers for pip, at the bounds of pyproject.toml: scripts/bounds.py oldest|newest.

The oldest are the lower bounds themselves. The newest are the ranges, of which pip takes the last release.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
BOUNDED = ("torch", "transformers")


def at_bounds(dependencies: list[str], end: str) -> list[str]:
    """Requirements of the bounded packages, in which ``oldest`` replaces a range by its lower bound."""
    found = []
    for requirement in map(Requirement, dependencies):
        if requirement.name in BOUNDED:
            (lower,) = (part.version for part in requirement.specifier if part.operator == ">=")
            specifier = f"=={lower}" if end == "oldest" else str(requirement.specifier)
            found.append(requirement.name + specifier)
    return found


def main() -> None:
    """Read the end from the command line, and print the requirements in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("end", choices=("oldest", "newest"))
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    print(*at_bounds(tomllib.loads(text)["project"]["dependencies"], parser.parse_args().end))


if __name__ == "__main__":
    main()
