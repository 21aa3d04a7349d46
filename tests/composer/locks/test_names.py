from vision_composer.locks.names import may_be_read


def test_weights_of_the_format_and_small_files_of_the_folder_itself() -> None:
    for name in ("model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        assert may_be_read(name, "safetensors")
        assert not may_be_read(name, "pickle")
    assert may_be_read("pytorch_model.bin", "pickle")
    assert may_be_read("config.json", "pickle")
    assert not may_be_read("pytorch_model.bin", "safetensors")
    assert not may_be_read("onnx/model.safetensors", "safetensors")
    assert not may_be_read("README.md", "safetensors")
