"""Build a vision encoder that runs from a config: the function ``compose``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from .building import planned, vision_of
from .encoder import ComposedVisionEncoder
from .errors import InputError
from .fused_encoder import FusedVisionEncoder
from .fusion.module import FusedTowers
from .fusion.naming import naming
from .images.preprocess import ImagePreprocessor
from .images.settings import ProcessorSettings
from .locks.holding import holding, lock_of
from .parallel import Startup, device_of_rank, join_group, tell_ranks
from .planning import FusedPlan, plan_any, processor_settings
from .presets import load_config
from .running.compilation import compile_as_asked
from .running.quantization import check_quantize
from .schemas import AnyConfig, ParallelConfig, one_tower
from .sources import config_of
from .vision_encoder import VisionEncoder
from .weights import local_folder

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


def compose(
    source: str | Path | Mapping[str, Any] | AnyConfig,
    *,
    overrides: Iterable[str] = (),
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    process_group: ProcessGroup | DeviceMesh | None = None,
) -> VisionEncoder:
    """Build the vision encoder that a config describes, with its weights.

    The config is checked first. Only the tensors that the selected layers need are then read from the
    checkpoint. With ``weights: {source: null}`` the weights are random.

    Args:
        source: The name of a preset, the path of a YAML file or of a saved tower's folder, a mapping (also
            OmegaConf's DictConfig), or a TowerConfig. Or a checkpoint of an encoder or of a vision-language
            model, of transformers, timm or open_clip: its folder, or its hub id, such as
            ``openai/clip-vit-base-patch32``. Its config is derived from its own, and is ``encoder.config``.
        overrides: Strings that change the config: ``key=value`` sets a value, as in
            ``select_layers=[-2,-9]``, and ``~key`` deletes a key.
        device: Where to put the tower. Default: torch's default device. With data parallelism, where the
            launcher numbers the processes of a machine (LOCAL_RANK, as torchrun does), the default, and a
            ``cuda`` without a number, are the accelerator of that number, which becomes the current one.
        dtype: The dtype of the parameters, in place of the config's ``weights.dtype``.
        process_group: The processes that share the images: a group, or a device mesh of one dimension. A
            config with ``parallel: none`` then runs as with ``parallel: {mode: data}``. Default: all
            processes, if the config asks for data parallelism. Every process must call ``compose``.

    Returns:
        The encoder, in evaluation mode: a :class:`ComposedVisionEncoder`, or of a config of several towers
        a :class:`FusedVisionEncoder`.

    Raises:
        ConfigError: If the config cannot be read or its values do not work together; the message says where.
        InputError: If the device cannot be used, the dtype is not float32, float16 or bfloat16, or the source
            is neither a preset, a path, nor a checkpoint on the hub.
        WeightsError: If the checkpoint is missing, is broken, or belongs to another encoder; the message
            names the file and the tensor.
        BackendError: If the attention or compile backend, or the ``quantize``, that the config names cannot
            work here.
        MissingDependencyError: If the config asks for ``quantize``, and torchao is not installed.
        DistributedError: If another process fails, is gone, or has another config.
        LockError: If ``vision-composer.lock`` lies beside the config's file, and the weights are not those
            that it names.
    """
    given = [overrides] if isinstance(overrides, str) else overrides
    config, parallel, where = _settled(source, given, dtype, device, process_group)
    # The CPU is for what is made without naming a device; it is moved where it belongs.
    with holding(lock_of(config)), torch.device("cpu"):
        return _composed(config, parallel, where, process_group)


def _composed(
    config: AnyConfig,
    parallel: ParallelConfig | Literal["none"],
    where: torch.device,
    process_group: ProcessGroup | DeviceMesh | None,
) -> VisionEncoder:
    group = None if parallel == "none" else join_group(process_group)
    spread = None
    if parallel == "none" or group is None:
        plan, attention, preprocessor = planned(config, _processors(config), where)
        vision = vision_of(plan, attention, where)
    else:
        ranks = Startup(group, config, parallel, where)
        processors = ranks.processors(lambda: _processors(config))
        plan, attention, preprocessor = ranks.together(lambda: planned(config, processors, where))
        vision = ranks.tower(lambda: vision_of(plan, attention, where, reads=ranks.reads_weights))
        spread = ranks.spread(vision, preprocessor, plan)
    compile_as_asked(vision, config)
    if isinstance(plan, FusedPlan):
        assert isinstance(vision, FusedTowers)
        return FusedVisionEncoder(plan, vision, preprocessor, attention, parallel=spread).eval()
    assert not isinstance(vision, FusedTowers)
    assert isinstance(preprocessor, ImagePreprocessor)
    return ComposedVisionEncoder(plan, vision, preprocessor, attention[""], parallel=spread).eval()


def compose_tower(
    source: str | Path | Mapping[str, Any] | AnyConfig, *, overrides: Iterable[str] = (), **options: Any
) -> ComposedVisionEncoder:
    """Compose an encoder of one tower, for what looks into it; see :func:`compose`.

    Raises:
        ConfigError: If the config has several towers, or as :func:`compose`.
    """
    composed = compose(one_tower(config_of(source, overrides=overrides)), **options)
    assert isinstance(composed, ComposedVisionEncoder)
    return composed


def _settled(
    source: str | Path | Mapping[str, Any] | AnyConfig,
    overrides: Iterable[str],
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    process_group: ProcessGroup | DeviceMesh | None,
) -> tuple[AnyConfig, ParallelConfig | Literal["none"], torch.device]:
    """Check all arguments before anything is read or downloaded, and tell other ranks of a failure."""
    spreads = process_group is not None
    try:
        config = config_of(source, overrides=overrides)
        run = config
        if spreads and config.parallel == "none":  # in this run, but not in what is saved
            run = load_config(config, overrides=["parallel={mode: data}"])
        spreads = run.parallel != "none"
        if dtype is not None:
            config = load_config(config, overrides=[_dtype_override(dtype)])
        plan_any(config)
        where = usable_device(device_of_rank(device) if spreads else device)
        check_quantize(config, where)
        return config, run.parallel, where
    except Exception as error:
        if spreads:
            tell_ranks(process_group, error)
        raise


def _processors(config: AnyConfig) -> list[ProcessorSettings]:
    """Resolve the image processors, with the checkpoints' own configs, which are fetched if on a hub."""
    found = []
    for name, tower in config.towers_by_name.items():
        weights = tower.weights
        with naming(name):
            folder = None if weights.source is None else local_folder(weights.source, weights.hub_revision)
            found.append(processor_settings(tower, folder))
    return found


def usable_device(device: torch.device | str | None) -> torch.device:
    """The device of that name; default: torch's default device.

    Raises:
        InputError: If this machine or this build of torch cannot compute on it.
    """
    name = "torch's default device" if device is None else f"device {str(device)!r}"
    try:
        where = torch.get_default_device() if device is None else torch.device(device)
        name = f"device {str(where)!r}"
        torch.zeros(1, device=where).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        # torch has no one class for this. A build without CUDA asserts; a device that an extension brings is
        # a module that is missing; anything else (no such name or number, meta) is a RuntimeError.
        raise InputError(f"{name} cannot be used here: {str(error)[:80]}") from error
    return where


def _dtype_override(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "float16", "bfloat16"):
        raise InputError(f"dtype must be torch.float32, torch.float16 or torch.bfloat16, not {dtype}")
    return f"weights.dtype={name}"
