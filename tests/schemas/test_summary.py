"""What print and notebooks show of a config, a plan and an encoder."""

from __future__ import annotations

from vision_composer import compose, load_config, plan


def test_print_tells_the_facts_in_a_few_lines() -> None:
    assert str(load_config("llava-1.5-7b")) == (
        "llava-1.5-7b\n"
        "  tower    clip_vision_model, hidden states [-2], float16\n"
        "  weights  llava-hf/llava-1.5-7b-hf"
    )
    planned = plan("llava-1.5-7b")
    lines = str(planned).splitlines()
    assert lines[3:] == [
        "  blocks      23",
        f"  parameters  {planned.num_parameters:,}",
        "  output      (images, tokens, width): 576 tokens of width 1024 for an image of 336x336",
    ]
    encoder = compose("tiny-digits")
    assert str(encoder).splitlines()[:-1] == str(encoder.plan).splitlines()
    assert str(encoder).splitlines()[-1] == "  device      cpu"
    assert "SiglipVisionModel" in repr(encoder)  # the modules, as torch shows them


def test_several_towers_have_their_lines() -> None:
    lines = str(plan("towers/shared")).splitlines()
    said = [line.split("  ")[1] for line in lines[1:5]]
    assert said == ["tower clip", "weights", "tower siglip", "weights"]


def test_notebooks_show_a_table_in_which_nothing_is_html() -> None:
    values = {"schema": 1, "encoder": {"model_type": "dinov2"}, "weights": {"source": "./<b>"}}
    config = load_config(values)
    for shown in (config._repr_html_(), plan(config)._repr_html_()):
        assert "&lt;b&gt;" in shown
        assert "<b>" not in shown
        assert "<td>dinov2, its own output, float32</td>" in shown
    assert "<th>device</th><td>cpu</td>" in compose("tiny-digits")._repr_html_()
    assert str(load_config({**values, "weights": {}})).splitlines() == [
        "config without a name",
        "  tower    dinov2, its own output, float32",
        "  weights  random",
    ]
