"""Files made to hurt: each is refused with a message and a position, in little time and memory."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from support import limited
from support.limited import Outcome

CLIP = "schema: 1\nencoder: {model_type: clip_vision_model}\n"
BLOCK = "schema: 1\nencoder:\n  model_type: clip_vision_model\n"
GENERIC = "schema: 1\nencoder:\n  model_type: x\n  prefix_tokens: 1\n"
DOLLARS = "k{}: " + "$" * 900 + "${{a}}\n"
LARGEST = 1_000_000  # a little less than MAX_BYTES


def counted(line: str, count: int) -> str:
    return "".join(line.format(i) for i in range(count))


TOO_LONG = "a string cannot be longer than 10000 characters"
TOO_MANY = "a config cannot have more than 20000 values"
TOO_DEEP = "a config cannot be nested deeper than 64 levels"
REFERENCES = "a config cannot have more than 8000 characters in values with references"
NESTED = "references stand inside one another; write out the path"
MORE = "more problems from here on; correct those above first [VC006]"

REFUSED: dict[str, tuple[str, str, str]] = {
    # name: (command, text of a.yaml, part of the output)
    "depth": ("plan", CLIP.replace("}", ", num_hidden_layers: 9000000000000000000}"), "must be at most 1024"),
    "depth/diff": ("diff", CLIP.replace("}", ", num_hidden_layers: 10000000}"), "must be at most 1024"),
    "width": ("plan", CLIP.replace("}", ", hidden_size: 9000000000000000000}"), "must be at most 131072"),
    "prefix": ("plan", "schema: 1\nencoder: {model_type: x, prefix_tokens: 9000000000}", "at most 1024"),
    "ratio": ("plan", "schema: 1\nencoder: {model_type: radio, mlp_ratio: 1e300}", "must be at most 1024"),
    "layers": ("validate", f"{CLIP}select_layers: [{'-1, ' * 19_000}]", "must have at most 1024 items"),
    "parts": ("validate", f"{CLIP}training: {{freeze: [{'bal, ' * 19_000}]}}", "name at most 16 parts"),
    "references": ("validate", "name: a\n" + counted("k{}: " + "${{name}}" * 140 + "\n", 499), REFERENCES),
    "references/one each": ("validate", "name: a\n" + counted("k{}: ${{name}}\n", 501), "500 values with"),
    "references/dollars": ("validate", "name: a\n" + counted(DOLLARS, 400), REFERENCES),
    "references/nested": ("validate", f"name: a\nk: {'${' * 300}a{'}' * 300}\n", NESTED),
    "references/open": ("validate", f"k: {'${' * 450}\n", NESTED),
    "references/resolvers": ("validate", f"k: '{'${a:' * 150}{'}' * 150}'\n", NESTED),
    "references/path": ("validate", f"k: ${{{'a.' * 400}a}}\n", "refers to nothing"),
    "references/circle": ("validate", "a: ${b}\nb: ${a}\n", "refers to itself"),
    "references/growth": ("validate", "k0: [x, x]\n" + counted("k{}: x\n", 0)
                          + "".join(f"k{i + 1}: ['${{k{i}}}', '${{k{i}}}']\n" for i in range(30)), "VC006"),
    "unknown keys": ("validate", CLIP + counted("k{}: 1\n", 19_900), f"19800 {MORE}"),
    "unknown keys/encoder": ("validate", BLOCK + counted("  k{}: 1\n", 19_900), f"19800 {MORE}"),
    "unknown keys/migrate": ("migrate", "extends: a\n" + counted("k{}: 1\n", 19_900), f"19800 {MORE}"),
    "unfilled": ("validate", CLIP + counted("k{}: ???\n", 19_900), f"19800 {MORE}"),
    "long string": ("validate", f"{CLIP}name: {'k' * LARGEST}\n", TOO_LONG),
    "long string/quoted": ("validate", f"{CLIP}name: '{'k' * LARGEST}'\n", TOO_LONG),
    "long key": ("validate", f"{CLIP}? {'k' * LARGEST}\n: 1\n", "a key cannot be longer than 200 characters"),
    "long number": ("validate", f"{CLIP}name: {'1' * LARGEST}\n", "cannot be larger than 64 bits"),
    "long path": ("validate", f"extends: ./{'k/' * 500_000}a.yaml\n", TOO_LONG),
    "long path/short enough": ("validate", f"extends: ./{'k/' * 4_990}a.yaml\n", "no such file"),
    "long name": ("validate", f"extends: {'k' * 9_990}\n", "there is no preset"),
    "laughs": ("validate", "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{c}: &{c} [{', '.join(['*' + b] * 10)}]\n" for b, c in pairwise("abcdefg")), TOO_MANY),
    "laughs/merge keys": ("validate", "a: &a {x: 1, y: 1}\n" + "".join(
        f"{c}: &{c} [{', '.join(['*' + b] * 10)}]\n" for b, c in pairwise("abcdefg")), TOO_MANY),
    "aliases": ("validate", f"a: &a x\nb: [{'*a, ' * 30_000}]\n", TOO_MANY),
    "keys": ("validate", counted("k{}: 0\n", 90_000), TOO_MANY),
    "anchors": ("validate", counted("k{0}: &k{0} 0\n", 50_000), TOO_MANY),
    "deep/brackets": ("validate", f"a: {'[' * 900_000}", "nest"),
    "deep/braces": ("validate", f"a: {'{a: ' * 200_000}", TOO_DEEP),
    "deep/indented": ("validate", "".join(" " * i + "a:\n" for i in range(1_300)), TOO_DEEP),
    "deep/dashes": ("validate", f"a:\n {'- ' * 450_000}", TOO_DEEP),
    "questions": ("validate", "? " * 450_000, "a key must be a plain string"),
    "tags": ("validate", f"a: {'!' * 900_000}", "VC00"),
    "documents": ("validate", CLIP + "---\na: 1\n" * 100_000, "a second document starts here"),
    "comment/migrate": ("migrate", f"encoder: {{model_type: clip_vision_model}}\n# {'x' * 900_000}\n",
                        "it is larger than 32 KiB"),
    "values/migrate": ("migrate", "encoder: {model_type: vit}\n" + f"select_layers: [{'1, ' * 1_500}]\n",
                       "more than 1000 values"),
    "large": ("validate", f"{CLIP}# {'x' * (1 << 20)}\n", "a config cannot be larger than 1 MiB"),
    "large/extended": ("validate", "extends: ./large.yaml\n", "a config cannot be larger than 1 MiB"),
    "endless": ("validate", "extends: ./endless.yaml\n", "cannot be read: a device, not a regular file"),
    "pipe": ("validate", "extends: ./pipe.yaml\n", "cannot be read: a named pipe, not a regular file"),
    "circle": ("validate", "extends: ./a.yaml\n", "leads in a circle"),
    "folder": ("validate", "extends: ./folder.yaml\n", "no such file"),
}  # fmt: skip

ACCEPTED: dict[str, tuple[str, str]] = {
    "comment": ("validate", f"# {'x' * 900_000}\n{CLIP}"),
    "lines": ("validate", CLIP + "\n" * 900_000),
    "generic": ("validate", GENERIC + counted("  k{}: 1\n", 19_900)),
    "blocks": ("plan", CLIP.replace("}", ", num_hidden_layers: 1024}")),
    "references": ("validate", f"{CLIP}name: a\nsummary: {'${name}' * 140}\n"),
    "migrate": ("migrate", "encoder: {model_type: clip_vision_model}\n" + f"# {'x' * 600}\n" * 50),
}  # fmt: skip


def outcomes(folder: Path, cases: dict[str, tuple[str, str]]) -> dict[str, Outcome]:
    """What each command comes to with its text in ``a.yaml`` of a folder of its own."""
    commands = []
    for i, (command, text) in enumerate(cases.values()):
        place = folder / str(i)
        place.mkdir()
        (place / "a.yaml").write_text(text)
        (place / "folder.yaml").mkdir()
        os.mkfifo(place / "pipe.yaml")
        (place / "endless.yaml").symlink_to("/dev/zero")
        with (place / "large.yaml").open("wb") as file:
            file.truncate(1 << 40)  # takes no space
        options = {"diff": ["clip-vit-large-patch14"], "validate": ["--root", "/"]}.get(command, [])
        commands.append([command, f"{i}/a.yaml", *options])
    return dict(zip(cases, limited.run(commands, folder), strict=True))


def check_limits(outcome: Outcome) -> None:
    assert "Traceback" not in outcome.output
    assert outcome.seconds < limited.SECONDS
    assert outcome.memory < limited.MEBIBYTES
    assert len(outcome.output) < 100_000


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    cases = {name: (command, text) for name, (command, text, _) in REFUSED.items()}
    return outcomes(tmp_path_factory.mktemp("refused"), cases)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return outcomes(tmp_path_factory.mktemp("accepted"), ACCEPTED)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, refused: dict[str, Outcome]) -> None:
    outcome = refused[name]
    check_limits(outcome)
    assert outcome.status == 1
    assert REFUSED[name][2] in outcome.output
    assert ".yaml:" in outcome.output.partition(" ")[0]  # where it stands


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, accepted: dict[str, Outcome]) -> None:
    check_limits(accepted[name])
    assert accepted[name].status == 0


@pytest.mark.parametrize("command", ["validate", "plan", "migrate"])
def test_a_named_pipe_is_not_waited_for(command: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (outcome,) = limited.run([[command, "pipe.yaml"]], tmp_path)
    check_limits(outcome)
    assert outcome.status == 1
    assert "pipe.yaml:1:1: cannot be read: a named pipe, not a regular file [VC001]" in outcome.output
