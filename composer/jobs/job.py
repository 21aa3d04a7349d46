"""The offline job: images through an encoder into a folder of files, part by part, until all are there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import ValidationError

from ..errors import InputError, VisionComposerError
from .encoded import Encoded, Failed
from .inputs import InputOptions, check_options, find_inputs, list_rows
from .job_folder import JobFolder, PartTask, locked, make_folder
from .parts import Part, failures_file, remove_leftovers, write_failures
from .plan import PART_SIZE, Format, JobPlan, Output, StoreDtype, hash_of, settle_plan
from .pooling import pooler_of
from .progress import Progress, Reporter
from .ray_cluster import RayCluster
from .single import EncodeSummary, check_encoder
from .tensor_files import MOST_IMAGES

if TYPE_CHECKING:
    from ..schemas import AnyConfig
    from ..vision_encoder import VisionEncoder
    from .local import Running

OnProgress: TypeAlias = Callable[[Progress, Sequence[Encoded | Failed]], None]
EngineName: TypeAlias = Literal["local", "ray"]
Engine: TypeAlias = Callable[[Sequence[PartTask], int, OnProgress], Progress]
"""Does parts of a job, given how many images they have together and whom to report to."""


def encode_dataset(
    source: VisionEncoder | str | Path | Mapping[str, Any] | AnyConfig,
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overrides: Iterable[str] = (),
    device: str | None = None,
    column: str | None = None,
    fps: float | None = None,
    frames: int | None = None,
    clips: bool = False,
    format: Format = "parquet",
    store_dtype: StoreDtype | None = None,
    pool: str = "none",
    part_size: int = PART_SIZE,
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    batch_size: int | None = None,
    batch_tokens: int | None = None,
    retry_failures: bool = False,
    max_failures: int | None = None,
    overwrite: bool = False,
    engine: EngineName = "local",
    ray_address: str | None = None,
    num_gpus: int | None = None,
    on_progress: OnProgress | None = None,
) -> EncodeSummary:
    """Encode images into a folder of files, and go on where an earlier run ended.

    The images are cut into parts, and ``job.json`` in the folder says from which config and which inputs. A
    part appears in the folder when it is complete. Call it again after whatever ended it: parts that are
    there are kept, and the rest is done. An image that cannot be read or encoded is listed in
    ``failures.parquet``. Read the features with :func:`read_features`.

    Args:
        source: A composed encoder, or a config as ``compose`` takes it.
        inputs: Images, folders, patterns, lists (``.txt``, ``.csv``, ``-`` for standard input), Parquet
            files, tar archives, saved datasets of Hugging Face's ``datasets``, and videos.
        output: The folder.
        overrides: Values laid over the config.
        device: Where to run. Default: torch's; under torchrun with CUDA, the GPU of the local rank.
        column: The column of tables that holds the images. Default: the one with a usual name.
        fps: Frames of a video a second.
        frames: Frames of a video in all, spread over it. Without either, every frame.
        clips: Encode a video as one clip of these frames, in one row; for encoders that take clips.
        format: ``parquet`` (a column of bytes, with shape and dtype), ``parquet-list`` (lists of numbers),
            ``safetensors``, or ``vllm-embeds``.
        store_dtype: dtype of the stored numbers. Default: the encoder's.
        pool: ``none``, ``mean``, ``max``, ``cls``, or a registered pooler.
        part_size: Images of a part.
        shard: (i, n) to do the i-th of n equal shares, counted from 0. Default: everything; under torchrun,
            rank and world size.
        workers: Processes that prepare images; 0 for threads of this one. Default: as many as there are
            cores, or none for a few images.
        batch_size: Images per forward at most. Default: by the kind of device.
        batch_tokens: Patches per forward at most, for images of different sizes. Default: by the device.
        retry_failures: Try the images that failed in earlier runs again.
        max_failures: Give up when more images than this have failed in this run.
        overwrite: Remove the job that is in the folder first.
        engine: ``local`` for this process and its workers, or ``ray`` for actors of a Ray cluster, which
            compose the encoder anew from its config.
        ray_address: A running Ray cluster to join. Default: one on this machine for this job.
        num_gpus: GPUs of the cluster to use. Default: all; without any, the cores of every machine.
        on_progress: Called every few images, of a Ray cluster after every part, with the progress and the
            newest results.

    Raises:
        InputError: If an input cannot be used, no input is what ``column``, ``fps``, ``frames`` or ``clips``
            is for, the folder holds another job or something else, or an argument is out of its range.
        VisionComposerError: If the output cannot be written, a batch does not fit in memory, or too many
            images fail. What is complete is kept.
    """
    from .local import Running

    if engine not in ("local", "ray"):
        raise InputError(f"engine is {engine!r}; it must be local or ray")
    running = Running(workers, batch_size, batch_tokens)
    cluster = RayCluster(ray_address, num_gpus)
    given = find_inputs(inputs)
    options = InputOptions(column, fps, frames, clips)
    check_options(given, options)
    if part_size < 1:
        raise InputError(f"part_size is {part_size}; it must be at least 1")
    share = checked_shard(shard)
    if overwrite and share[1] > 1:
        raise InputError("a shard cannot overwrite a job that other shards work on: remove its folder first")
    root = Path(os.path.expanduser(output))
    composed = _composed(source, overrides, device)
    check_encoder(composed)
    kept = checked_output(composed, format, store_dtype, pool)
    if part_size > MOST_IMAGES and format in ("safetensors", "vllm-embeds"):
        raise InputError(f"part_size is {part_size}; of {format} it must be at most {MOST_IMAGES}")
    if clips:
        _check_clips(composed, kept)
    make_folder(root, overwrite=overwrite)
    rows = list_rows(given, options)
    plan = settle_plan(root, rows, _wanted(composed, given, kept, part_size))
    job = JobFolder(root, plan)
    parts, seconds = run_job(
        job,
        _engine(engine, job, composed, running, cluster),
        share,
        retry_failures=retry_failures,
        max_failures=max_failures,
        on_progress=on_progress,
    )
    return _summary(job, composed, parts, seconds)


def checked_output(
    encoder: VisionEncoder, format: Format, store_dtype: StoreDtype | None, pool: str
) -> Output:
    """Return what the features of an encoder are stored as.

    Raises:
        InputError: If the encoder's features cannot be stored so.
    """
    plan = encoder.plan
    pooler_of(pool, plan)
    embeds = format == "vllm-embeds"
    if embeds and (plan.config.output != "embeds" or pool != "none"):
        raise InputError(
            "vLLM takes what the language model reads: set output: embeds in the config, and pool nothing"
        )
    if embeds and plan.packs_images and plan.reduces:
        raise InputError("vLLM counts the rows of an image by its grid: leave reduce out")
    try:
        return Output(
            format=format,
            store_dtype=store_dtype or plan.dtype,  # type: ignore[arg-type]  # checked just here
            pool=pool,
            grids=embeds and plan.packs_images,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]} is {first['input']!r}: {first['msg']}") from error


def _check_clips(encoder: VisionEncoder, output: Output) -> None:
    if not encoder.preprocessor.takes_clips:
        raise InputError("this encoder takes no clips: leave out --clips (in Python clips=True)")
    if output.format == "vllm-embeds":
        raise InputError("vllm-embeds is for images: leave out --clips (in Python clips=True)")


def checked_shard(shard: tuple[int, int] | None) -> tuple[int, int]:
    """Return the share of this process: as asked for, or torchrun's, or everything.

    Raises:
        InputError: If there is no such share.
    """
    if shard is None:
        try:
            shard = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        except ValueError as error:
            raise InputError(f"RANK and WORLD_SIZE must be numbers: {error}") from error
    index, count = shard
    if count < 1:
        raise InputError(f"there is no shard of {count}: a job is cut into 1 or more")
    if not 0 <= index < count:
        raise InputError(f"there is no shard {index} of {count}: they are numbered from 0 to {count - 1}")
    return index, count


def _composed(
    source: VisionEncoder | str | Path | Mapping[str, Any] | AnyConfig,
    overrides: Iterable[str],
    device: str | None,
) -> VisionEncoder:
    import torch

    from ..composing import compose
    from ..vision_encoder import VisionEncoder

    if isinstance(source, VisionEncoder):
        return source
    local_rank = os.environ.get("LOCAL_RANK")
    if device is None and local_rank is not None and torch.cuda.is_available():
        device = f"cuda:{local_rank}"
    return compose(source, overrides=overrides, device=device)


def _wanted(encoder: VisionEncoder, inputs: Sequence[str], output: Output, part_size: int) -> JobPlan:
    from .encoded import storable
    from .weights_hash import weights_hash

    config = encoder.config.resolved()
    return JobPlan(
        config=config,
        config_hash=hash_of(config, output),
        weights_hash=weights_hash(encoder),
        output=output,
        inputs=[storable(name) for name in inputs[:100]],
        inputs_hash="",
        num_rows=1,
        part_size=part_size,
    )


def run_job(
    job: JobFolder,
    engine: Engine,
    shard: tuple[int, int],
    *,
    retry_failures: bool,
    max_failures: int | None,
    on_progress: OnProgress | None,
) -> tuple[list[Part], float]:
    """Do what is left of a shard of a planned job; return its finished parts, and the seconds it took."""
    index, count = shard
    name = f"shard-{index}-of-{count}"
    with locked(job.root, name):
        if count == 1:
            remove_leftovers(job.root)
        finished = job.finished()
        mine = range(index, job.plan.num_parts, count)
        tasks = [PartTask(part) for part in mine if part not in finished]
        num_rows = sum(job.plan.size_of(task.part) for task in tasks)
        if retry_failures:
            again = [finished[part] for part in mine if part in finished and finished[part].failed]
            tasks += [PartTask(part.number, part) for part in again]
            num_rows += sum(len(part.failed) for part in again)
        reporter = Reporter(job.root / f".{name}.progress")

        def report(progress: Progress, results: Sequence[Encoded | Failed]) -> None:
            reporter(progress)
            if on_progress is not None:
                on_progress(progress, results)
            if max_failures is not None and progress.num_failed > max_failures:
                raise VisionComposerError(
                    f"{progress.num_failed} images failed, more than the {max_failures} that are allowed; "
                    f"the last one: {_last_failure(results)}"
                )

        seconds = 0.0
        try:
            if tasks:
                seconds = engine(tasks, num_rows, report).seconds
        finally:
            reporter.close()
            finished = job.finished()
            write_failures(job.root, finished)
        if missing := [task.part for task in tasks if task.part not in finished]:
            raise VisionComposerError(
                f"{job.root}: parts are missing, from {missing[0]} on; run the job again"
            )
        if count == 1:
            remove_leftovers(job.root)  # of actors that died; another one has done their part
        return [finished[part] for part in mine if part in finished], seconds


def _engine(
    name: EngineName, job: JobFolder, encoder: VisionEncoder, running: Running, cluster: RayCluster
) -> Engine:
    """Return what does parts of a job: this process, or a Ray cluster."""
    if name == "ray":
        from .ray_engine import run_on_ray

        return partial(run_on_ray, job, encoder, running, cluster)

    def run_here(tasks: Sequence[PartTask], num_rows: int, report: OnProgress) -> Progress:
        with local_engine(encoder, job.plan.output, running, num_rows) as engine:
            return engine.run(map(job.unit_of, tasks), num_rows, report)

    from .local import local_engine

    return run_here


def _last_failure(results: Sequence[Encoded | Failed]) -> str:
    failed = [result for result in results if isinstance(result, Failed)]
    return f"{failed[-1].id}: {failed[-1].reason}" if failed else "unknown"


def _summary(job: JobFolder, encoder: VisionEncoder, parts: Sequence[Part], seconds: float) -> EncodeSummary:
    num_failed = sum(len(part.failed) for part in parts)
    return EncodeSummary(
        output=job.root,
        failures=failures_file(job.root) if num_failed else None,
        num_images=sum(part.num_images for part in parts),
        num_failed=num_failed,
        num_tokens=sum(part.num_tokens for part in parts),
        width=encoder.output_width,
        seconds=seconds,
    )
