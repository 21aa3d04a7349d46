"""Every error this package raises on purpose, in one hierarchy. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class VisionComposerError(Exception):
    """Base class: ``except VisionComposerError`` catches all that this package raises on purpose."""


@dataclass(frozen=True)
class Span:
    """A place in a source text. ``line`` and ``column`` count from 1, in characters."""

    source: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config.

    Attributes:
        code: Stable identifier (``VC101``); listed in ``docs/errors.md``.
        message: What is wrong and what would be right, without the path or the position.
        path: Dotted path of the key (``encoder.hidden_size``); empty for the whole document.
        span: Where it stands; None when the config did not come from text.
        line: The source line at ``span``, for the caret; None when there is none to show.
        promoted: Whether a team's settings make an error of what is a warning by itself.
    """

    code: str
    message: str
    path: str = ""
    span: Span | None = None
    line: str | None = None
    promoted: bool = False

    @property
    def warning(self) -> bool:
        """Whether the config is valid all the same, and nobody says that it shall fail."""
        return self.code.startswith("VC3") and not self.promoted

    def __str__(self) -> str:
        where = (f"{self.span}: " if self.span else "") + ("warning: " if self.warning else "")
        path = f"{self.path}: " if self.path else ""
        return f"{where}{path}{self.message} [{self.code}]"

    def render(self) -> str:
        """The one-line form, and beneath it the source line with a caret where there is one."""
        if self.span is None or self.line is None:
            return str(self)
        number = str(self.span.line)
        # Tabs are kept in front of the caret, so that it stands under its character at any tab width.
        indent = "".join("\t" if c == "\t" else " " for c in self.line[: self.span.column - 1])
        return f"{self}\n  {number} | {self.line}\n  {' ' * len(number)} | {indent}^"


class ConfigError(VisionComposerError, ValueError):
    """A config that cannot be read or cannot work. Holds every problem that was found, not just the first.

    Attributes:
        problems: What was wrong, in the order of the sources.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(self.problems)  # the argument again: pickle and copy call the class with it

    def __str__(self) -> str:
        return "\n".join(problem.render() for problem in self.problems)


class SettingsError(VisionComposerError, ValueError):
    """A team's settings, or options of the same names, that cannot be used; names file, line and key."""


class LockError(VisionComposerError):
    """A lock file that cannot be read or written, or weights that are not those it names."""


class WeightsError(VisionComposerError):
    """A checkpoint that is missing, broken, or not the one the config describes; names file and tensor."""


class LeftOutWarning(UserWarning):
    """A config made of a checkpoint's files does not say all that they say; names what is left out."""


class InputError(VisionComposerError, ValueError):
    """A batch that the tower cannot take, or an argument outside its range."""


class ImageError(VisionComposerError, ValueError):
    """An image that cannot be read or encoded; names it.

    Attributes:
        name: The path, or ``image 3`` for the fourth image of a call if it has no path.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)  # the arguments again: pickle and copy call the class with them

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class ExportError(VisionComposerError):
    """An encoder that cannot be exported, or an exported file that cannot be used; says why."""


class DistributedError(VisionComposerError, RuntimeError):
    """A rank that failed, is gone, or runs something else; names it, and its image if known."""


class BackendError(VisionComposerError, ValueError):
    """An attention or compile backend that cannot work here; says why, and which ones would."""


class CompiledDifferenceError(BackendError):
    """Compiled code that computes other features than the uncompiled tower; says by how much."""


class MissingDependencyError(VisionComposerError, ImportError):
    """An optional package is needed and not installed; says which and how to get it."""


class PluginError(VisionComposerError):
    """A plugin that cannot be imported, gives the wrong thing, or claims a name that is taken; names it."""


class ConformanceError(VisionComposerError, AssertionError):
    """An encoder family that does not keep what ``vision_composer.testing`` checks; names the property."""
