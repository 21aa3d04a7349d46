"""The engine ``ray``: actors of a Ray cluster do the parts of a planned job; Ray itself keeps no state of it.

A part is done when its file is there, as with the engine ``local``, so a job can be begun with one and
finished with the other. An actor that dies gives its part back; nothing is retried by Ray.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError, VisionComposerError
from ..registry import load_plugin, loaded_plugins
from .encoded import Encoded, Failed
from .job_folder import JobFolder, PartTask
from .plan import read_plan
from .progress import Progress
from .ray_cluster import RayCluster

if TYPE_CHECKING:
    from ..vision_encoder import VisionEncoder
    from .local import Running

_MOST_ATTEMPTS = 3
"""Actors that one part may cost."""


@dataclass(frozen=True)
class _Setup:
    """What an actor needs to begin."""

    root: Path
    config: dict[str, Any]
    device: str
    running: Running
    threads: int
    paths: Sequence[str]
    plugins: Sequence[str]


class _Actor:
    """An encoder with its workers, that does one part after the other."""

    def __init__(self, setup: _Setup) -> None:
        sys.path += [path for path in setup.paths if path not in sys.path]
        for plugin in setup.plugins:
            load_plugin(plugin)
        import torch

        from ..composing import compose
        from .local import local_engine
        from .weights_hash import weights_hash

        torch.set_num_threads(setup.threads)
        self._job = JobFolder(setup.root, read_plan(setup.root))
        plan = self._job.plan
        encoder = compose(setup.config, device=setup.device)
        if weights_hash(encoder) != plan.weights_hash:
            raise VisionComposerError(
                "an actor's encoder has other weights than the job: name weights that every machine can read"
            )
        self._stack = ExitStack()
        engine = local_engine(encoder, plan.output, setup.running, plan.num_rows)
        self._engine = self._stack.enter_context(engine)

    def run(self, task: PartTask) -> tuple[Progress, list[Failed]]:
        """Do a part, and return its progress and failures."""
        failed: list[Failed] = []

        def note(_: Progress, results: Sequence[Encoded | Failed]) -> None:
            failed.extend(result for result in results if isinstance(result, Failed))

        unit = self._job.unit_of(task)
        return self._engine.run([unit], len(unit.images), note), failed


def run_on_ray(
    job: JobFolder,
    encoder: VisionEncoder,
    running: Running,
    cluster: RayCluster,
    tasks: Sequence[PartTask],
    num_rows: int,
    report: Callable[[Progress, Sequence[Encoded | Failed]], None],
) -> Progress:
    """Do parts of a job on a Ray cluster that sees the inputs and the output under the same names.

    Args:
        job: The job.
        encoder: Its encoder, which every actor composes anew from its config.
        running: How each actor runs.
        cluster: The cluster.
        tasks: The parts.
        num_rows: Images of all parts together.
        report: Called after every part with the progress and the failures.

    Raises:
        MissingDependencyError: If Ray is not installed.
        VisionComposerError: If an actor cannot go on, or several die of one part.
    """
    import torch

    ray = _ray()
    with ExitStack() as stack:
        if not ray.is_initialized():
            ray.init(
                address=cluster.address or "local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=40,
            )
            stack.callback(ray.shutdown)
        number, resources = _actors(ray, cluster)
        setup = _Setup(
            root=job.root.absolute(),
            config=encoder.config.resolved(),
            device="cuda:0" if resources.get("num_gpus") else "cpu",
            running=running,
            threads=torch.get_num_threads(),
            paths=sys.path,
            plugins=loaded_plugins(),
        )
        actor = ray.remote(max_restarts=0, max_task_retries=0, **resources)(_Actor)
        return _Driver(ray, lambda: actor.remote(setup), min(number, len(tasks))).run(tasks, num_rows, report)


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingDependencyError(
            "the engine ray needs Ray: pip install 'vision-composer[ray]'"
        ) from error
    return ray


def _actors(ray: Any, cluster: RayCluster) -> tuple[int, dict[str, Any]]:
    """Return how many actors there are, and what each takes of the cluster."""
    there = ray.cluster_resources()
    num_gpus = int(there.get("GPU", 0)) if cluster.num_gpus is None else cluster.num_gpus
    if num_gpus > there.get("GPU", 0):
        raise VisionComposerError(f"the cluster has {there.get('GPU', 0):g} GPUs, fewer than {num_gpus}")
    if num_gpus:
        return num_gpus, {"num_gpus": 1, "num_cpus": 1}
    cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cores = [number for number in cores if number]
    return len(cores), {"num_cpus": min(cores), "scheduling_strategy": "SPREAD"}


class _Driver:
    """Gives parts to actors, and replaces actors that die.

    Args:
        ray: The module.
        make: Makes an actor.
        number: How many there are.
    """

    def __init__(self, ray: Any, make: Callable[[], Any], number: int) -> None:
        self._ray = ray
        self._make = make
        self._number = number
        self._idle = [make() for _ in range(number)]
        self._busy: dict[Any, tuple[Any, PartTask]] = {}
        self._attempts: Counter[int] = Counter()

    def run(
        self,
        tasks: Sequence[PartTask],
        num_rows: int,
        report: Callable[[Progress, Sequence[Encoded | Failed]], None],
    ) -> Progress:
        """Do all tasks; as :func:`run_on_ray`."""
        waiting, start = deque(tasks), time.perf_counter()
        progress = Progress(time=time.time(), num_rows=num_rows)
        try:
            while waiting or self._busy:
                while waiting and self._idle:
                    actor, task = self._idle.pop(), waiting.popleft()
                    self._busy[actor.run.remote(task)] = actor, task
                ready, _ = self._ray.wait(list(self._busy), timeout=1.0)
                for reference in ready:
                    actor, task = self._busy.pop(reference)
                    try:
                        done, failed = self._ray.get(reference)
                    except self._ray.exceptions.RayActorError as error:
                        self._replace(task, error)
                        waiting.appendleft(task)
                    else:
                        self._idle.append(actor)
                        progress = self._added(progress, done, time.perf_counter() - start)
                        report(progress, failed)
            return progress
        finally:
            for actor in (*self._idle, *(actor for actor, _ in self._busy.values())):
                self._ray.kill(actor)

    def _replace(self, task: PartTask, error: Exception) -> None:
        self._attempts[task.part] += 1
        if self._attempts[task.part] == _MOST_ATTEMPTS:
            raise VisionComposerError(
                f"{_MOST_ATTEMPTS} actors died while they did part {task.part}; the last one: {error}"
            ) from error
        self._idle.append(self._make())

    def _added(self, progress: Progress, done: Progress, seconds: float) -> Progress:
        return Progress(
            time=time.time(),
            num_done=progress.num_done + done.num_done,
            num_rows=progress.num_rows,
            num_failed=progress.num_failed + done.num_failed,
            num_tokens=progress.num_tokens + done.num_tokens,
            seconds=seconds,
            waits_for_images=progress.waits_for_images + done.waits_for_images / self._number,
            waits_for_writing=progress.waits_for_writing + done.waits_for_writing / self._number,
        )
