"""Try the test suite with plausible slips: does a test fail for every wrong line?

``tests/mutants/mutants.tsv`` holds one slip, or mutant, a line: a file, a text that occurs in it exactly
once, what to write in its place, and the tests that must notice; then the reason, if no test can. ``\\n``
in a text is a line break. Mutants go into copies of the package in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/mutants/mutants.tsv"
SECONDS = 300
"""How long the tests of a mutant may take: one that makes them hang is killed by that."""
PRELOADED = ("torch.distributed", "transformers.modeling_utils", "pyarrow.parquet", "pytest")
"""What takes long to import; a worker does it once for all the tests that it forks."""


@dataclass(frozen=True)
class Mutant:
    """One line of the list; ``survives`` is empty where a test must notice."""

    line: int
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]
    survives: str

    def mutated(self) -> str:
        """The file with the slip in it; ValueError if the text is not there once."""
        source = (ROOT / self.file).read_text(encoding="utf-8")
        if (times := source.count(self.text)) != 1:
            raise ValueError(f"{self.file} holds {times} times, not once: {self.text!r}")
        changed = source.replace(self.text, self.replacement)
        compile(changed, self.file, "exec", dont_inherit=True)
        return changed

    def fault(self) -> str | None:
        """What is wrong with this line of the list; None if nothing is."""
        try:
            self.mutated()
        except (OSError, ValueError, SyntaxError) as error:
            return str(error)
        for test in self.tests:
            file, _, name = test.partition("::")
            path = ROOT / "tests" / file
            source = path.read_text(encoding="utf-8") if path.is_file() else ""
            if not re.search(rf"^def {re.escape(name.partition('[')[0])}\b", source, re.MULTILINE):
                return f"no such test: tests/{test}"
        return None if self.tests else "it names no test"


def read_list() -> list[Mutant]:
    """All mutants; empty lines of the list and those that begin with # are none."""
    mutants = []
    for number, line in enumerate(LIST.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            file, text, replacement, tests, *reason = line.split("\t")
            text, slip = (part.replace("\\n", "\n") for part in (text, replacement))
            mutants.append(Mutant(number, file, text, slip, tuple(shlex.split(tests)), "".join(reason)))
    return mutants


def faults(mutants: Sequence[Mutant]) -> list[str]:
    """Lines of the list that no longer fit the code."""
    return [f"{LIST.name}:{mutant.line}: {fault}" for mutant in mutants if (fault := mutant.fault())]


class Copy:
    """A copy of the package, which tests import in place of the installed one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._package = folder / "vision_composer"
        for part, name in (("composer", "."), ("schemas", "schemas"), ("presets", "presets")):
            shutil.copytree(ROOT / part, self._package / name, ignore=shutil.ignore_patterns("__pycache__"))
        self._writes = 0

    def run(self, mutant: Mutant) -> str:
        """Run a mutant's tests on it: ``killed`` or ``survived``; RuntimeError if they cannot be run."""
        self._write(mutant.file, mutant.mutated())
        try:
            status, output = self.pytest(mutant.tests, SECONDS)
        finally:
            self._write(mutant.file, (ROOT / mutant.file).read_text(encoding="utf-8"))
        if status > 1:
            raise RuntimeError(f"{LIST.name}:{mutant.line}: pytest ended with {status}:\n{output[-2000:]}")
        return "survived" if status == 0 else "killed"

    def pytest(self, tests: Sequence[str], seconds: float | None = None) -> tuple[int, str]:
        """Run tests until one fails; the exit status, negative for a signal, and what pytest printed."""
        with tempfile.TemporaryFile() as printed:
            child = get_context("fork").Process(target=self._pytest, args=(tests, printed.fileno()))
            child.start()
            child.join(seconds)
            if child.pid is not None and child.exitcode is None:
                os.killpg(child.pid, signal.SIGKILL)  # with the processes that a test started
                child.join()
            printed.seek(0)
            return child.exitcode or 0, printed.read().decode(errors="replace")

    def _pytest(self, tests: Sequence[str], printed: int) -> None:
        os.setsid()
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.chdir(ROOT)
        sys.path.insert(0, str(self._folder))
        os.environ["PYTHONPATH"] = str(self._folder)  # for the processes that a test starts
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(self._folder / "examples")
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(self._folder / "bytecode")
        arguments = ["-q", "-x", "-p", "no:cacheprovider", *(f"tests/{test}" for test in tests)]
        status = int(import_module("pytest").main(arguments))
        sys.stdout.flush()
        os._exit(status)

    def _write(self, file: str, text: str) -> None:
        path = self._package / file.removeprefix("composer/")
        path.write_text(text, encoding="utf-8")
        # Python knows stale bytecode by whole seconds: each write gets a second of its own.
        self._writes += 1
        os.utime(path, (self._writes, self._writes))


class Worker:
    """A process with a copy of its own."""

    copy: Copy

    @classmethod
    def start(cls, folder: str) -> None:
        """Copy the package, and import what takes long, but never the package."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        for module in PRELOADED:
            import_module(module)
        cls.copy = Copy(Path(tempfile.mkdtemp(dir=folder)))

    @classmethod
    def call(cls, method: str, argument: Any) -> Any:
        """Call a method of the copy."""
        return getattr(cls.copy, method)(argument)


def main() -> None:
    """Check the list, run its mutants, and print the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", default="", help="only files whose path holds this")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="tests at once")
    parser.add_argument("--list-stale", action="store_true", help="only name lines that do not fit the code")
    options = parser.parse_args()
    mutants = [mutant for mutant in read_list() if options.part in mutant.file]
    if options.list_stale or faults(mutants):
        sys.exit("\n".join(faults(mutants)) or None)

    start = time.perf_counter()
    scores: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(options.workers, get_context("spawn"), Worker.start, (folder,)) as pool,
    ):
        # A test that fails anyway would kill every mutant.
        tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        shares = [tests[worker :: options.workers] for worker in range(options.workers)]
        for status, output in pool.map(partial(Worker.call, "pytest"), filter(None, shares)):
            if status != 0:
                sys.exit(f"the tests fail without any mutant:\n{output[-4000:]}")
        for mutant, result in zip(mutants, pool.map(partial(Worker.call, "run"), mutants), strict=True):
            result = "explained" if result == "survived" and mutant.survives else result
            scores[result] += 1
            print(f"{result:9} {mutant.file}: {mutant.text!r} -> {mutant.replacement!r}", flush=True)
    counts = ", ".join(f"{number} {result}" for result, number in scores.items())
    share = scores["killed"] / max(1, len(mutants))
    print(f"{len(mutants)} mutants: {counts}; {share:.1%} killed in {time.perf_counter() - start:.0f} s")
    sys.exit(scores["survived"] > 0 or share < 0.95)


if __name__ == "__main__":
    main()
