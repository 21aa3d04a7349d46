"""The error hierarchy and how a problem is shown."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest

from vision_composer import errors
from vision_composer.errors import ConfigError, ImageError, Problem, Span, VisionComposerError
from vision_composer.fusion.grids import MisfitError

PROBLEMS = [Problem("VC101", "first", "encoder", Span("a.yaml", 2, 3), "a: 1"), Problem("VC102", "second")]
ARGUMENTS = {
    ConfigError: (PROBLEMS,),
    ImageError: ("a.png", "broken"),
    MisfitError: ("tower-a", "too wide"),
}
"""What makes an error that takes something else than one text."""


def test_one_hierarchy() -> None:
    classes = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
        if not issubclass(value, Warning)
    ]
    assert len(classes) > 5
    assert all(issubclass(value, VisionComposerError) for value in classes)


def test_a_problem_is_one_line_and_a_caret() -> None:
    problem = Problem("VC101", "unknown key", "encoder.hiden", Span("a.yaml", 2, 3), "\t\thiden: 1")
    assert str(problem) == "a.yaml:2:3: encoder.hiden: unknown key [VC101]"
    assert problem.render().splitlines()[1:] == ["  2 | \t\thiden: 1", "    | \t\t^"]
    assert Problem("VC101", "unknown key").render() == "unknown key [VC101]"


def test_a_config_error_holds_and_shows_every_problem() -> None:
    problems = [Problem("VC101", "first"), Problem("VC102", "second")]
    error = ConfigError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "first [VC101]\nsecond [VC102]"
    assert isinstance(error, ValueError)


def test_an_image_error_names_the_image() -> None:
    error = ImageError("a.png", "broken")
    assert (str(error), error.name, error.reason) == ("a.png: broken", "a.png", "broken")


def hierarchy(base: type[VisionComposerError] = VisionComposerError) -> list[type[VisionComposerError]]:
    """A class of errors, and those below it that this process has loaded."""
    own = [cls for cls in base.__subclasses__() if cls.__module__.startswith("vision_composer.")]
    return [base, *(cls for child in own for cls in hierarchy(child))]


@pytest.mark.parametrize(
    "remake",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_every_error_survives_pickle_and_copy(remake: Callable[[Exception], Exception]) -> None:
    classes = hierarchy()
    assert classes.count(MisfitError) == 1
    for cls in classes:
        error = cls(*ARGUMENTS.get(cls, ("it broke",)))
        error.add_note("beside it")
        other = remake(error)
        assert type(other) is cls
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
