"""Broken presets: whatever is done to one, it loads, or every error names file, line and column."""

import copy
import random
from itertools import pairwise

import pytest
import yaml

from vision_composer.errors import ConfigError
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import load_tree, load_yaml, validate_tree
from vision_composer.schemas.yaml.warnings import warnings_of

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
PRESETS = preset_names()[::10]
MUTATIONS = 5_000  # in all
ODD = [
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    "",
    "x",
    "${a}",
    "${oc.env:HOME}",
    "???",
    [],
    {},
    [[1]],
    {"a": {}},
    "~",
    "\\",
]


def load(text):
    """The problems of a text, as validate finds them."""
    try:
        tree = load_tree(load_yaml(text, "m.yaml"), find_preset=preset_path)
        return warnings_of(validate_tree(tree), tree)
    except ConfigError as error:
        return error.problems


def bytes_mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0 and i < len(data):
            data[i] = rng.randrange(256)
        elif kind == 1:
            del data[i : min(j, i + 20)]
        elif kind == 2:
            data[i:i] = rng.choice(
                [b"\t", b":", b"- ", b"&a ", b"*a", b"!!int ", b"{", b"]", b"\n", b"'", b"<<: ", b"|"]
            )
        elif kind == 3:
            data[i:i] = data[i:j]
        else:
            data[i:i] = bytes(rng.randrange(32, 127) for _ in range(rng.randrange(6)))
    return bytes(data)


def structure_mutated(values, rng):
    """The config with one value replaced, removed, moved, or put beside another of its block."""
    blocks = [values, *(value for value in values.values() if isinstance(value, dict))]
    for _ in range(rng.randint(1, 3)):
        block = rng.choice(blocks)
        if not block:
            continue
        key = rng.choice(sorted(block))
        kind = rng.randrange(4)
        if kind == 0:
            block[key] = rng.choice(ODD)
        elif kind == 1:
            del block[key]
        elif kind == 2:
            rng.choice(blocks)[key[::-1]] = rng.choice(ODD)
        else:
            block[key] = [block[key]] if rng.random() < 0.5 else {key: block[key]}
    return yaml.dump(values, Dumper=DUMPER, sort_keys=False)


@pytest.mark.parametrize("name", PRESETS)
def test_a_broken_preset_says_where(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(name)
    data = preset_path(name).read_bytes()
    values = yaml.safe_load(data)
    refused = 0
    for i in range(MUTATIONS // len(PRESETS)):
        text = bytes_mutated(data, rng) if i % 2 else structure_mutated(copy.deepcopy(values), rng)
        problems = load(text)
        refused += any(not problem.warning for problem in problems)
        for problem in problems:
            assert problem.span, (text, problem)
            assert problem.span.line >= 1 <= problem.span.column
            assert problem.message
            assert problem.render()
    assert refused > 50  # the mutations do break things


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{', '.join(['*' + b] * 10)}]\n" for b, c in pairwise("abcdefg")),
        "a: " + "x" * 10_000_000,
        "".join(f"k{i}: 0\n" for i in range(100_000)),
        "a: " + "[" * 100_000,
        "a: " + "{a: " * 1_000,
        "a: " + "- " * 500_000,
        "".join(" " * i + "a:\n" for i in range(1_000)),
        "a: x" + "${a}" * 100_000,
        "a: &a x\n" + "b: [" + "*a, " * 30_000 + "]",
        "- " * 500_000,
        "? " * 500_000,
        "!" * 900_000,
        "a: '" + "\\" * 900_000,
    ],
    ids=["laughs", "scalar", "keys", "brackets", "braces", "dashes", "indent", "references", "aliases",
         "roots", "questions", "tags", "backslashes"],
)  # fmt: skip
def test_a_hostile_text_is_refused_with_a_position(text):
    (problem,) = load(text)
    assert not problem.warning
    assert problem.span
