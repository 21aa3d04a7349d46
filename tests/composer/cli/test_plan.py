"""``vision-composer plan``: the image processor, and where its values came from."""

import json

from typer.testing import CliRunner

from vision_composer import plan
from vision_composer.cli import app

CONFIG = """schema: 1
encoder: {model_type: clip_vision_model}
image_processor: {type: LlavaImageProcessor, pad: true}
"""


def test_the_image_processor_and_where_its_values_came_from(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(CONFIG)
    result = CliRunner().invoke(app, ["plan", str(file)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for text in (
        "LlavaImageProcessor, from the config",
        "from the encoder: {size: {shortest_edge: 224}, crop_size: {height: 224, width: 224}}",
        "from the config: {do_pad: true}",
        "from its class: ",
    ):
        assert text in result.output


def test_the_same_in_json(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(CONFIG)
    result = CliRunner().invoke(app, ["plan", "--json", str(file)])
    facts = json.loads(result.output)["image_processor"]
    processor = plan(file).processor
    assert (facts["type"], facts["values"], facts["origin"]) == (
        processor.type,
        processor.values,
        processor.origin,
    )
