"""The error hierarchy and how a problem is shown."""

from __future__ import annotations

import inspect

from vision_composer import errors
from vision_composer.errors import ConfigError, ImageError, Problem, Span, VisionComposerError


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
