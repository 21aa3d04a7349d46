"""Which products are timed, and which are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import tiny
from support.products import Products
from torch.nn.functional import linear
from typer.testing import CliRunner

from vision_composer import compose
from vision_composer.bench import products
from vision_composer.bench.products import choose_library, choose_products, products_of, time_product
from vision_composer.cli import app
from vision_composer.errors import BackendError, InputError
from vision_composer.running.products import MKL, ONEDNN, Product, keep, machine, products_file, recall
from vision_composer.schemas.yaml.dump import to_yaml
from vision_composer.tower.module import run_block

SIGLIP = tiny.ENCODERS["siglip_vision_model"]
MKLS = (10.0, 10.2, 10.1, 9.9, 30.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("onednn", "chosen"),
    [
        ((8.0, 8.1, 8.0, 8.2, 8.0), ONEDNN),
        ((9.8, 10.0, 9.9, 9.8, 9.7), MKL),  # by less than the machine's noise
        ((9.0, 9.0, 9.0, 12.0, 31.0), MKL),  # in three of five rounds
        ((9.0, 9.0, 9.0, 12.0, 29.0), ONEDNN),
        ((12.0, 12.0, 12.0, 12.0, 8.0), MKL),
    ],
)
def test_onednn_is_taken_only_if_it_is_clearly_faster(onednn: tuple[float, ...], chosen: str) -> None:
    assert choose_library({MKL: MKLS, ONEDNN: onednn}) == chosen


@pytest.mark.parametrize("name", ["siglip_vision_model", "clip_vision_model", "vit"])
def test_products_are_those_that_a_forward_multiplies(name: str) -> None:
    encoder = compose(tiny.config(name))
    with Products() as run, torch.no_grad():
        encoder(pixel_values=tiny.pixels(tiny.ENCODERS[name])[:1])
    assert set(run.shapes) == {tuple(product) for product in products_of(encoder)} != set()


def test_layers_of_awkward_widths_are_timed_as_wide_as_they_are_padded() -> None:
    encoder = compose({"schema": 1, "encoder": SIGLIP | {"intermediate_size": 1030}})
    hidden = encoder.info.hidden_size
    widths = {(product.inputs, product.outputs) for product in products_of(encoder)}
    assert widths == {(hidden, hidden), (hidden, 1040), (1040, hidden)}
    keep(dict.fromkeys(products_of(encoder), ONEDNN))
    assert (recall(encoder.tower) or {}).keys() == set(products_of(encoder))


def test_each_product_is_timed_in_every_round() -> None:
    seconds = time_product(Product(5, 8, 24), rounds=3)
    assert [(name, len(times)) for name, times in seconds.items()] == [(MKL, 3), (ONEDNN, 3)]
    assert all(time > 0 for times in seconds.values() for time in times)


def test_what_is_faster_is_kept_for_batches_of_one_to_eight_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(product: Product, *, rounds: int) -> dict[str, tuple[float, ...]]:
        ahead = product.outputs > product.inputs and product.rows > 20
        return {MKL: (2.0,) * rounds, ONEDNN: (1.0 if ahead else 3.0,) * rounds}

    monkeypatch.setattr(products, "time_product", timed)
    encoder = compose({"schema": 1, "encoder": SIGLIP | {"hidden_size": 32, "intermediate_size": 64}})
    result = choose_products(encoder, rounds=3)
    assert result.measured == recall(encoder.tower)
    assert result.measured == {
        Product(16 * images, inputs, outputs): ONEDNN if images > 1 and outputs == 64 else MKL
        for images in (1, 2, 4, 8)
        for inputs, outputs in ((32, 32), (32, 64), (64, 32))
    }
    assert result.seconds.keys() == result.measured.keys()


def test_wrong_products_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "linear", lambda *inputs: linear(*inputs) * 1.01)
    with pytest.raises(BackendError, match="mkl's product"):
        choose_products(compose(tiny.config("clip_vision_model")), rounds=1)
    assert not products_file().exists()


@pytest.mark.parametrize(
    ("name", "dtype", "reason"),
    [
        ("pixtral", torch.float32, "pixtral on cpu: products are chosen"),
        ("clip_vision_model", torch.bfloat16, r"no choice of products of torch\.bfloat16"),
    ],
)
def test_encoders_whose_products_cannot_be_chosen_are_refused(
    name: str, dtype: torch.dtype, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        choose_products(compose(tiny.config(name), dtype=dtype), rounds=1)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"products\.json: cannot be written"):
        choose_products(compose(tiny.config("clip_vision_model")), rounds=1)


def test_the_command_says_what_it_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(product: Product, *, rounds: int) -> dict[str, tuple[float, ...]]:
        assert rounds == 4
        flops = 2 * product.rows * product.inputs * product.outputs
        return {MKL: (flops / 1e9,) * rounds, ONEDNN: (flops / 25e9,) * rounds}

    monkeypatch.setattr(products, "time_product", timed)
    file = tmp_path / "tower.yaml"
    file.write_text(to_yaml(tiny.config("clip_vision_model", compile={"mode": "max-performance"})))
    result = CliRunner().invoke(app, ["bench", str(file), "--calibrate-products", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    heading, *rows, kept = result.stdout.splitlines()
    assert heading.split() == ["product", "mkl", "onednn", "GFLOP/s,", "medians"]
    assert {tuple(row.split()[1:]) for row in rows} == {("1", "25", "onednn")}
    assert {Product.parse(row.split()[0]) for row in rows} == (recall(compose(str(file)).tower) or {}).keys()
    assert kept == f"kept in {products_file()} for {machine()}"


def test_a_comparison_says_whose_products_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import vision_composer.running.compilation as compilation

    monkeypatch.setattr(compilation, "FrozenBlocks", lambda settings: run_block)
    file = tmp_path / "tower.yaml"
    file.write_text(to_yaml(tiny.config("clip_vision_model", compile={"mode": "max-performance"})))

    def last_line(*options: str) -> str:
        result = CliRunner().invoke(app, ["bench", str(file), "--rounds", "1", *options])
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()[-1]

    assert last_line() == (
        "matrix products of compiled blocks: MKL's; --calibrate-products may find faster ones"
    )
    keep(dict.fromkeys(products_of(compose(str(file))), MKL))
    assert last_line() == "matrix products of compiled blocks: as measured on this machine"
    assert not last_line("--set", "weights.dtype=bfloat16").startswith("matrix products")
