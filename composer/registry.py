"""Registries of what plugins add: names, where each came from, and entry points read when they are needed.

What is built in stands in static tables elsewhere; a registry only knows the names, so as never to shadow
one. Entry points cost tens of milliseconds to list, so they are listed once, when a name is none of the built
in, and a plugin is imported when its name is used. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .errors import InputError, PluginError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where a registered name came from.

    Attributes:
        source: The distribution, or ``built in``, ``--plugin module``, ``Python call``.
        version: The distribution's version; None without one.
        entry_point: The entry point, as ``group: name = value``; None without one.
    """

    source: str
    version: str | None = None
    entry_point: str | None = None

    def __str__(self) -> str:
        version = f" {self.version}" if self.version else ""
        return f"{self.source}{version}" + (f" ({self.entry_point})" if self.entry_point else "")


BUILT_IN = Origin("built in")
_PYTHON = Origin("Python call")
_current = _PYTHON
_loaded: list[str] = []


class Registry(Generic[T]):
    """The names of one kind that plugins add.

    Args:
        kind: What one of them is called in messages, such as ``encoder``.
        group: The entry point group's last part, such as ``encoders``.
        built_in: The names that cannot be taken. Looked at anew each time, so a table may be passed.
        check: From a name and what a plugin gave for it to what the registry keeps; raises TypeError, with a
            message that says what would be right, for anything else.
    """

    def __init__(
        self, kind: str, group: str, built_in: Collection[str], check: Callable[[str, Any], T]
    ) -> None:
        self.kind = kind
        self.group = f"vision_composer.{group}"
        self.built_in = built_in
        self.check = check
        self._things: dict[str, T] = {}
        self._origins: dict[str, Origin] = {}

    def register(self, name: str, thing: Any) -> None:
        """Add ``thing`` under ``name``.

        Raises:
            InputError: If the name is taken, or ``thing`` is not of the registry's type.
        """
        if not isinstance(name, str) or not name:
            raise InputError(f"the name of {self._a_kind} must be a string that is not empty, not {name!r}")
        taken = BUILT_IN if name in self.built_in else self._origins.get(name)
        if taken is not None:
            raise InputError(f"{self.kind} {name!r} is already registered: {taken}")
        try:
            self._things[name] = self.check(name, thing)
        except TypeError as error:
            raise InputError(f"{self.kind} {name!r}: {error}") from None
        self._origins[name] = _current

    def __contains__(self, name: object) -> bool:
        """Whether a plugin offers ``name``; imports no plugin."""
        return name in self._things or name in self._entry_points()

    def names(self) -> list[str]:
        """What plugins offer, sorted; imports no plugin."""
        return sorted(self._things.keys() | self._entry_points().keys())

    def get(self, name: str) -> T | None:
        """What is registered under ``name``, its plugin imported if need be; None if nothing is.

        Raises:
            PluginError: If the plugin cannot be imported or gives the wrong thing, or two claim a name.
        """
        if name not in self._things and name in (offered := self._entry_points()):
            self._things[name] = self._load(offered[name])
        return self._things.get(name)

    def origin(self, name: str) -> Origin:
        """Where a registered or offered name came from."""
        return self._origins.get(name) or _origin(self._entry_points()[name])

    def unregister(self, name: str) -> None:
        """Remove a name that :meth:`register` added; for tests."""
        self._things.pop(name, None)
        self._origins.pop(name, None)

    @property
    def _a_kind(self) -> str:
        return f"{'an' if self.kind[0] in 'aeiou' else 'a'} {self.kind}"

    def _entry_points(self) -> dict[str, EntryPoint]:
        """The group's entry points by name; raises PluginError for a name that two claim."""
        offered: dict[str, EntryPoint] = {}
        for entry_point in _installed(self.group):
            name = entry_point.name
            claimed: Origin | None = BUILT_IN if name in self.built_in else self._origins.get(name)
            if claimed is None and name in offered:
                claimed = _origin(offered[name])
            if claimed is not None:
                raise PluginError(
                    f"{self.kind} {name!r} is claimed twice: {claimed}, and {_origin(entry_point)}; "
                    "uninstall one or rename it"
                )
            offered[name] = entry_point
        return offered

    def _load(self, entry_point: EntryPoint) -> T:
        origin = _origin(entry_point)
        with _loading(origin):
            thing = entry_point.load()
        try:
            return self.check(entry_point.name, thing)
        except TypeError as error:
            raise PluginError(f"{self.kind} {entry_point.name!r} of {origin}: {error}") from None


@cache
def _installed(group: str) -> tuple[EntryPoint, ...]:
    """A group's entry points of every installed distribution, ordered so that messages are stable."""
    from importlib.metadata import entry_points

    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name, str(_origin(point)))))


def _origin(entry_point: EntryPoint) -> Origin:
    described = f"{entry_point.group}: {entry_point.name} = {entry_point.value}"
    distribution = entry_point.dist
    if distribution is None:
        return Origin("an unnamed distribution", None, described)
    return Origin(distribution.name, distribution.version, described)


@contextmanager
def _loading(origin: Origin) -> Iterator[None]:
    """Whatever is registered inside comes from ``origin``; whatever is raised inside is its fault."""
    global _current
    before, _current = _current, origin
    try:
        yield
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's import can raise anything
        raise PluginError(f"{origin} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        _current = before


def load_plugin(module: str) -> None:
    """Import a module that calls ``register_encoder`` and its like, as ``--plugin`` does.

    Args:
        module: Its dotted name.

    Raises:
        PluginError: If it cannot be imported, or registers a name that is taken.
    """
    with _loading(Origin(f"--plugin {module}")):
        import_module(module)
    if module not in _loaded:
        _loaded.append(module)


def loaded_plugins() -> list[str]:
    """Return the modules that :func:`load_plugin` imported, in order, for a process that does the same."""
    return list(_loaded)
