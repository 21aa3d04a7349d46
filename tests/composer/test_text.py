"""Words of messages: what a mistyped word was meant to be, and texts that steer no terminal."""

from __future__ import annotations

import pytest

from vision_composer.text import did_you_mean, printable


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("QuickGELU", ["gelu", "quick_gelu"], "quick_gelu"),
        ("quick-gelu", ["GELU", "QUICK_GELU"], "QUICK_GELU"),
        ("CLIPVisionModel", ["mlcd_vision_model", "clip_vision_model"], "clip_vision_model"),
        ("CLIP_vision_model", ["mlcd_vision_model", "clip_vision_model"], "clip_vision_model"),
        ("clip", ["siglip_vision_model", "clip_vision_model"], "clip_vision_model"),
        ("hiden_size", ["hidden_size", "head_size"], "hidden_size"),
        ("vit", ["vit_and_many_others", "vit_of_images"], "vit_of_images"),
        ("x", ["xyz"], None),
        ("nothing like it", ["hidden_size"], None),
        ("", ["hidden_size"], None),
        (5, ["hidden_size"], None),
    ],
)
def test_did_you_mean(word: object, choices: list[str], meant: str | None) -> None:
    assert did_you_mean(word, choices) == (f" (did you mean '{meant}'?)" if meant else "")


SEPARATORS = ["\u061c", "\u200e", "\u200f", "\u2028", "\u2066"]


@pytest.mark.parametrize("character", [*map(chr, range(32)), *map(chr, range(127, 160)), *SEPARATORS])
def test_control_characters_become_visible(character: str) -> None:
    escaped = repr(character)[1:-1]
    if character in "\n\t":
        assert printable(f"a{character}b") == f"a{character}b"
        assert printable(f"a{character}b", line=True) == f"a\\x{ord(character):02x}b"
    else:
        escaped = f"\\x{ord(character):02x}" if ord(character) < 256 else escaped
        assert printable(f"a{character}b") == printable(f"a{character}b", line=True) == f"a{escaped}b"


def test_writing_of_all_the_world_stays_as_it_is() -> None:
    text = "Grüße, 猫, شکر\u200cقند, 👩\u200d👧, \u3000\\x1b"
    assert printable(text) == printable(text, line=True) == text
