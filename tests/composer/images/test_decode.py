"""Opening images: against Pillow's own decoding, numpy arithmetic, and files that are not images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, features
from PIL.PngImagePlugin import PngInfo
from sklearn.datasets import load_sample_images

from vision_composer.errors import ImageError
from vision_composer.images.decode import open_image, size_of_image

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(load_sample_images().images[0]).resize((53, 37))
ORIENTATION = 0x0112

LOSSLESS = ["png", "bmp", "tif", "ppm", "tga", "qoi", "pcx", "sgi", "jp2", "webp", "gif"]
AVIF = ["avif"] if features.check("avif") else []  # Pillow's wheels bring it since 11.3
FORMATS = [*LOSSLESS, "jpg", "mpo", *AVIF, "dds"]
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "webp": {"lossless": True, "exact": True},
    "tif": {"compression": "tiff_lzw"},
}


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **{**SAVE_OPTIONS.get(path.suffix[1:], {}), **options})
    return path


def sample(suffix: str) -> Image.Image:
    """A small photograph in a mode and size that the format takes."""
    photo = PHOTO.resize((32, 32)) if suffix == "dds" else PHOTO
    return photo.quantize(64) if suffix == "gif" else photo


def array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


def on_white(color: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return color * (alpha / 255) + 255 * (1 - alpha / 255)


# --- sound images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_every_pixel_of_a_lossless_file(suffix: str, tmp_path: Path) -> None:
    opened = open_image(save(sample(suffix), tmp_path / f"p.{suffix}"))
    assert opened.mode == "RGB"
    np.testing.assert_array_equal(array(opened), array(sample(suffix).convert("RGB")))


@pytest.mark.parametrize("suffix", FORMATS)
def test_as_pillow_decodes_it(suffix: str, tmp_path: Path) -> None:
    path = save(sample(suffix), tmp_path / f"p.{suffix}")
    with Image.open(path) as image:
        np.testing.assert_array_equal(array(open_image(path)), array(image.convert("RGB")))


def test_progressive_jpeg(tmp_path: Path) -> None:
    path = save(PHOTO, tmp_path / "p.jpg", progressive=True, quality=95)
    assert np.abs(array(open_image(path)) - array(PHOTO)).mean() < 6


def test_path_types_and_names_agree(tmp_path: Path) -> None:
    path = save(PHOTO, tmp_path / "Grüße 猫.PNG")
    for spelling in (path, str(path), Image.open(path), array(PHOTO).astype(np.uint8)):
        np.testing.assert_array_equal(array(open_image(spelling)), array(PHOTO))


def test_the_content_decides_not_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    PHOTO.save(path, format="PNG")
    np.testing.assert_array_equal(array(open_image(path)), array(PHOTO))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", *AVIF])
def test_exif_orientation(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = save(PHOTO, tmp_path / f"p.{suffix}", exif=exif)
    with Image.open(path) as image:
        expected = array(ImageOps.exif_transpose(image).convert("RGB"))
    opened = open_image(path)
    np.testing.assert_array_equal(array(opened), expected)
    np.testing.assert_array_equal(array(open_image(opened)), expected, err_msg="turned twice")
    with Image.open(path) as image:
        np.testing.assert_array_equal(array(open_image(image)), expected)


def test_orientation_six_is_a_quarter_turn_clockwise(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = save(PHOTO, tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(array(open_image(path)), np.rot90(array(PHOTO), k=-1))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12", b"", b"\xff" * 40]
)
def test_broken_metadata_beside_sound_pixels(exif: bytes, tmp_path: Path) -> None:
    path = save(PHOTO, tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(array(open_image(path)), array(PHOTO))


def test_alpha_goes_on_white(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (23, 31, 4), dtype=np.uint8)
    expected = on_white(pixels[..., :3].astype(float), pixels[..., 3:].astype(float))
    for source in (pixels, save(Image.fromarray(pixels), tmp_path / "p.png"), Image.fromarray(pixels)):
        assert np.abs(array(open_image(source)) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "La", "RGBa", "PA"])
def test_other_alpha_modes(mode: str) -> None:
    pixels = RNG.integers(0, 256, (9, 11, 2), dtype=np.uint8)
    pixels[..., 1] = RNG.choice(
        [0, 255], (9, 11)
    )  # premultiplied modes keep no colour where there is no alpha
    grey_alpha = Image.fromarray(pixels, "LA")
    if mode == "PA":
        image = Image.new("PA", grey_alpha.size)
        image.putpalette(bytes(v for v in range(256) for _ in range(3)))
        image.putdata([(int(v), int(a)) for v, a in pixels.reshape(-1, 2)])
    else:
        image = grey_alpha.convert("RGBA").convert(mode) if mode == "RGBa" else grey_alpha.convert(mode)
    expected = on_white(pixels[..., :1].astype(float), pixels[..., 1:].astype(float)).repeat(3, axis=2)
    assert np.abs(array(open_image(image)) - expected).max() <= 1


@pytest.mark.parametrize("transparency", [3, bytes([255, 0, 128, 255])])
def test_palette_transparency(transparency: int | bytes, tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % 4, "P")
    colors = RNG.integers(0, 200, (4, 3))
    image.putpalette(colors.astype(np.uint8).tobytes())
    path = save(image, tmp_path / "p.png", transparency=transparency)
    alpha = (
        np.frombuffer(transparency, np.uint8)
        if isinstance(transparency, bytes)
        else np.array([255, 255, 255, 0])
    )
    expected = on_white(colors.astype(float), alpha[:, None].astype(float))[np.arange(16).reshape(4, 4) % 4]
    assert np.abs(array(open_image(path)) - expected).max() <= 1


@pytest.mark.parametrize(("mode", "key"), [("L", 7), ("RGB", (7, 7, 7)), ("1", 0), ("I;16", 7 * 257)])
def test_a_colour_that_stands_for_transparent(mode: str, key: Any, tmp_path: Path) -> None:
    grey = np.tile(np.array([0, 7, 200], dtype=np.uint8), (2, 1))
    image = (
        Image.fromarray(grey.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(grey).convert(mode)
    )
    opened = array(open_image(save(image, tmp_path / "p.png", transparency=key)))[0, :, 0]
    expected = {"1": [255, 255, 255]}.get(mode, [0, 255, 200])
    assert opened.tolist() == expected


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_by_its_full_range(suffix: str, tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    path = save(Image.fromarray(values), tmp_path / f"p.{suffix}", compression=None)
    expected = np.floor(values / 65535 * 255 + 0.5)[..., None].repeat(3, axis=2)
    assert np.abs(array(open_image(path)) - expected).max() <= (1 if suffix == "pgm" else 0)
    assert array(open_image(path)).max() == 255


def test_big_endian_and_32_bit_grey(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32768, 65535]])
    expected = [0, 1, 128, 255]
    big_endian = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    for image in (big_endian, Image.fromarray(values.astype(np.int32))):
        assert array(open_image(image))[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0.5, 1], [0, 128, 255]), ([0, 128.4, 255], [0, 128, 255]), ([0, 0, 0], [0, 0, 0])],
)
def test_floating_point_grey(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert array(open_image(image))[0, :, 1].tolist() == expected


@pytest.mark.parametrize("values", [[-1, 0], [0, 1000], [0, np.nan], [0, np.inf]])
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_grey_without_a_known_white(dtype: Any, values: list[float]) -> None:
    if dtype == np.int32:
        values = [v * 100 if np.isfinite(v) else -1 for v in values]
    with pytest.raises(ImageError, match=r"expected 0 to|not finite"):
        open_image(Image.fromarray(np.array([values], dtype=dtype)))


def test_one_bit() -> None:
    bits = RNG.integers(0, 2, (9, 13)).astype(bool)
    np.testing.assert_array_equal(
        array(open_image(Image.fromarray(bits))), bits[..., None].repeat(3, axis=2) * 255
    )


def test_cmyk_jpeg_with_adobe_inversion(tmp_path: Path) -> None:
    cmyk = PHOTO.convert("CMYK")
    path = save(cmyk, tmp_path / "p.jpg", quality=100, subsampling=0)
    assert b"Adobe" in path.read_bytes()
    assert np.abs(array(open_image(path)) - array(PHOTO)).mean() < 3


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "CMYK", "RGBX"])
def test_other_colour_spaces(mode: str) -> None:
    assert np.abs(array(open_image(PHOTO.convert(mode))) - array(PHOTO)).mean() < 4


def test_lab(tmp_path: Path) -> None:
    # White, black, and mid grey: lightness 255, 0, 137 with a and b zero.
    lab = Image.merge(
        "LAB",
        [Image.fromarray(np.array([values], np.uint8)) for values in ([255, 0, 137], [128] * 3, [128] * 3)],
    )
    for source in (lab, save(lab, tmp_path / "p.tif", compression=None)):
        assert np.abs(array(open_image(source))[0] - np.array([[255], [0], [128]])).max() <= 2


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", *AVIF])
def test_first_frame(suffix: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "lime", "blue")]
    path = save(frames[0], tmp_path / f"p.{suffix}", save_all=True, append_images=frames[1:], duration=40)
    assert np.abs(array(open_image(path)) - [255, 0, 0]).max() <= 3


def test_the_callers_image_stays_as_it_is(tmp_path: Path) -> None:
    image = Image.open(save(PHOTO.convert("RGBA"), tmp_path / "p.png"))
    before = image.tobytes()
    opened = open_image(image)
    opened.putpixel((0, 0), (1, 2, 3))
    assert (image.mode, image.tobytes()) == ("RGBA", before)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1), (1, 9), (9, 1, 3)])
def test_arrays(shape: tuple[int, ...]) -> None:
    pixels = RNG.integers(0, 256, shape, dtype=np.uint8)
    if shape[-1:] == (4,) and len(shape) == 3:
        pixels[..., 3] = 255
    channels = pixels.reshape(*shape[:2], -1)[..., :3]
    expected = np.broadcast_to(channels, (*shape[:2], 3))
    np.testing.assert_array_equal(array(open_image(pixels)), expected)
    strided = np.stack([pixels, pixels], axis=1)[:, 0][::-1, ::-1]
    np.testing.assert_array_equal(array(open_image(strided)), expected[::-1, ::-1])


def test_the_size_of_a_png_is_known_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.png", exif=exif)
    Image.new("RGB", (30, 20)).save(tmp_path / "plain.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    assert size_of_image(tmp_path / "turned.png") == (20, 30)
    assert size_of_image(tmp_path / "plain.png") == (30, 20)
    with Image.open(tmp_path / "plain.png") as opened:
        assert size_of_image(opened) == (30, 20)


def test_the_size_of_a_png_that_is_loaded_is_that_of_its_metadata(tmp_path: Path) -> None:
    """Pillow has then read what stands behind the pixels, as XMP mostly does."""
    described = PngInfo()
    described.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png", pnginfo=described)
    with Image.open(tmp_path / "a.png") as opened:
        assert size_of_image(opened) == (30, 20)
        assert open_image(opened).size == (20, 30)
        assert size_of_image(opened) == (20, 30)


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_the_size_is_known_without_decoding(orientation: int | None, suffix: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    image.save(path, exif=exif)
    assert size_of_image(path) == open_image(path).size
    with Image.open(path) as opened:
        assert size_of_image(opened) == open_image(path).size


def test_the_size_is_known_of_what_cannot_be_decoded(tmp_path: Path) -> None:
    path = save(PHOTO, tmp_path / "a.jpg")
    assert size_of_image(np.zeros((3, 5, 3), np.uint8)) == (5, 3)
    path.write_bytes(path.read_bytes()[:-8])  # its pixels are not read, only what stands before them
    assert size_of_image(str(path)) is not None
    path.write_bytes(b"no image")
    assert size_of_image(path) is None
    assert size_of_image(tmp_path / "missing.png") is None


def test_the_bytes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (5, 4), "teal").save(path)
    content = path.read_bytes()
    assert open_image(content).tobytes() == open_image(path).tobytes()
    assert size_of_image(content) == (5, 4)
    for broken, reason in (
        (b"", "the file is empty"),
        (b"x", "not an image"),
        (content[:40], "truncated|broken"),
    ):
        with pytest.raises(ImageError, match=rf"image: .*({reason})"):
            open_image(broken)


@pytest.mark.parametrize("shown", ["always", "error", "ignore"])
def test_pillows_warnings_are_not_shown(
    shown: Literal["always", "error", "ignore"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow warns of more, and of twice as many it fails
    Image.new("RGB", (6, 5)).save(tmp_path / "p.png")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(shown)
        before = list(warnings.filters)
        assert open_image(tmp_path / "p.png").size == (6, 5)
        assert warnings.filters == before
    assert caught == []
