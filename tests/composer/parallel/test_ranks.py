"""Data-parallel towers and modules on several ranks: the features, gradients and errors of one process."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support import (
    rank_failures,
    rank_fused,
    rank_groups,
    rank_modules,
    rank_outputs,
    rank_towers,
    rank_training,
)
from support.ranks import Ranks, end_ranks, on_ranks

WORLDS = [2, 3, 4]
on_two_or_more = pytest.mark.parametrize("world", WORLDS)


@pytest.fixture(scope="module", autouse=True)
def _no_rank_outlives_the_module() -> Iterator[None]:
    yield
    end_ranks()


# --- plain modules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", rank_modules.BEHAVIOURS)
@on_two_or_more
def test_plain_modules(world: int, behaviour: str) -> None:
    on_ranks(world, rank_modules.run, behaviour)


# --- what comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rank_towers.NAMES)
def test_every_family_on_two_ranks(name: str) -> None:
    on_ranks(2, rank_outputs.family, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in rank_towers.NAMES if "/" not in name])
def test_every_family_on_three_ranks(name: str) -> None:
    on_ranks(3, rank_outputs.family, name)


@pytest.mark.parametrize("name", rank_outputs.SELECTIONS)
def test_selections(name: str) -> None:
    on_ranks(2, rank_outputs.selection, name)


@pytest.mark.parametrize("output", ["tiles", "embeds"])
@pytest.mark.parametrize("world", [2, 3])
def test_vision_halves(world: int, output: str) -> None:
    on_ranks(world, rank_outputs.vision_half, output)


@pytest.mark.parametrize("world", [2, 3])
def test_connectors_of_steps(world: int) -> None:
    on_ranks(world, rank_outputs.vision_half, "embeds", rank_outputs.STEPS)


@pytest.mark.parametrize("name", rank_fused.CASES)
def test_several_towers(name: str) -> None:
    on_ranks(2, rank_fused.features, name)


@pytest.mark.parametrize("name", ["channel", "native", "embeds"])
def test_several_towers_with_images_of_each_rank(name: str) -> None:
    on_ranks(2, rank_fused.own_images, name)


@pytest.mark.parametrize("name", ["channel", "projected"])
def test_gradients_of_several_towers(name: str) -> None:
    on_ranks(2, rank_fused.gradients, name)


def test_an_image_costs_the_sum_of_the_towers() -> None:
    on_ranks(2, rank_fused.cost)


@pytest.mark.parametrize("how", ["cost", "patches", "none"])
@pytest.mark.parametrize("world", [2, 3])
def test_balance_and_gather(world: int, how: str) -> None:
    on_ranks(world, rank_outputs.balance, how)


@pytest.mark.parametrize(
    "behaviour",
    [rank_outputs.another_size, rank_outputs.autocast, rank_outputs.dense_without_gather],
    ids=lambda behaviour: behaviour.__name__,
)
@pytest.mark.parametrize("world", [2, 3])
def test_outputs(world: int, behaviour: Any) -> None:
    on_ranks(world, behaviour)


@pytest.mark.parametrize(
    "behaviour",
    [rank_outputs.sharded_packed, rank_outputs.sharded_dense],
    ids=lambda behaviour: behaviour.__name__,
)
@on_two_or_more
def test_sharded_inputs(world: int, behaviour: Any) -> None:
    on_ranks(world, behaviour)


# --- images and weights -------------------------------------------------------------------------------

each_encoder = pytest.mark.parametrize(
    "encoder", [rank_towers.QWEN, rank_towers.CLIP], ids=lambda encoder: encoder["model_type"]
)


@each_encoder
@on_two_or_more
def test_every_rank_brings_a_list_of_its_own(world: int, encoder: dict[str, Any]) -> None:
    on_ranks(world, rank_outputs.sharded_images, encoder)


@pytest.mark.parametrize("how", ["node", "broadcast"])
@each_encoder
@on_two_or_more
def test_weights_are_read_in_turn_or_sent(
    world: int, encoder: dict[str, Any], how: str, tmp_path: Path
) -> None:
    on_ranks(world, rank_outputs.weights, encoder, how, str(tmp_path))


@each_encoder
@on_two_or_more
def test_an_image_is_opened_by_the_rank_that_encodes_it(
    world: int, encoder: dict[str, Any], tmp_path: Path
) -> None:
    opened = on_ranks(world, rank_outputs.opened_once, encoder, str(tmp_path))
    assert sum(opened) == 5
    assert max(opened) < 5


@each_encoder
@on_two_or_more
def test_saving(world: int, encoder: dict[str, Any], tmp_path: Path) -> None:
    on_ranks(world, rank_outputs.saving, encoder, str(tmp_path))


@pytest.mark.skipif(
    find_spec("torchao") is None, reason="torchao is not installed; make test-torchao runs these"
)
def test_quantised_weights_are_read_by_every_rank(tmp_path: Path) -> None:
    on_ranks(2, rank_outputs.quantised, str(tmp_path))


def test_a_group_that_is_given_is_not_saved(tmp_path: Path) -> None:
    on_ranks(2, rank_outputs.given_group, str(tmp_path))


# --- groups that the caller brings ---------------------------------------------------------------------


def test_a_group_that_is_only_for_devices() -> None:
    on_ranks(2, rank_groups.only_for_devices)


@pytest.mark.parametrize(("world", "first"), [(2, 0), (3, 1)])
def test_features_go_over_the_group_and_messages_beside_it(world: int, first: int) -> None:
    on_ranks(world, rank_groups.features_beside_messages, first)


# --- training -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", rank_training.WAYS)
@pytest.mark.parametrize("name", rank_training.TOWERS)
def test_gradients_on_two_ranks(name: str, how: str) -> None:
    on_ranks(2, rank_training.training, name, how)


@pytest.mark.parametrize("how", rank_training.WAYS)
def test_gradients_on_more_ranks_than_some_batches_have_images(how: str) -> None:
    on_ranks(4, rank_training.training, "packed", how)


# --- failure ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", rank_failures.FAILURES)
@on_two_or_more
def test_a_failure_on_one_rank_is_an_error_on_all(world: int, name: str) -> None:
    on_ranks(world, rank_failures.FAILURES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", rank_failures.FAILURES_ON_DISK)
@on_two_or_more
def test_a_failure_on_disk_is_an_error_on_all(world: int, name: str, tmp_path: Path) -> None:
    on_ranks(world, rank_failures.FAILURES_ON_DISK[name], str(tmp_path))


@pytest.mark.parametrize("name", rank_failures.OTHER_SOURCES)
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_of_other_weights_find_out_first(world: int, name: str, tmp_path: Path) -> None:
    """No rank aborts, and all say the same."""
    seconds = on_ranks(world, rank_failures.another_source, str(tmp_path), *rank_failures.OTHER_SOURCES[name])
    assert max(seconds) < 30


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "left early"])
@on_two_or_more
def test_a_rank_that_is_gone_is_an_error_on_the_others(world: int, how: str) -> None:
    with Ranks(world, once=True) as ranks:
        *survivors, last = ranks.run(rank_failures.gone, how)
    assert last == (False, "died")
    for good, told in survivors:
        assert good, told
        assert told < 30, "seconds until a rank that died was an error on the others"


def test_ranks_of_which_one_died_are_replaced() -> None:
    with pytest.raises(AssertionError, match="rank 1:\ndied"):
        on_ranks(2, rank_failures.die, 1)
    assert on_ranks(2, rank_failures.rank_number) == [0, 1]
