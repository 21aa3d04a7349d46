"""The processes that share the work, and how they agree on what they run and that all went well."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from ..errors import DistributedError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")

_REPORT_BYTES = 2048
"""Size of a report on the wire: fixed, so that ranks that disagree on all else still exchange it."""
_MESSAGE_CHARACTERS = 400
_NOTES_CHARACTERS = 120
"""What a message keeps for its notes, which say where the error happened: its own text may be long."""


def resolve_group(group: ProcessGroup | DeviceMesh | None) -> ProcessGroup | None:
    """Return the process group to share work in; None where there is nobody to share with.

    Args:
        group: A process group, a device mesh of one dimension, or None for all processes.

    Raises:
        InputError: If the mesh has several dimensions, or this process is not in the group.
    """
    if not (dist.is_available() and dist.is_initialized()):
        if group is not None:
            raise InputError("a process group was given, but torch.distributed is not initialised")
        return None
    if isinstance(group, dist.device_mesh.DeviceMesh):
        if group.ndim != 1:
            names = f" ({', '.join(group.mesh_dim_names)})" if group.mesh_dim_names else ""
            raise InputError(f"the device mesh has {group.ndim} dimensions{names}; take one, as mesh['dp']")
        group = group.get_group()
    resolved = group if group is not None else dist.group.WORLD
    if resolved is None or dist.get_rank(resolved) < 0:
        raise InputError("this process is not in the process group that was given")
    return resolved if dist.get_world_size(resolved) > 1 else None


@dataclass(frozen=True)
class Report:
    """What a rank tells the others before data moves.

    Attributes:
        facts: What must be the same on every rank: name -> value or digest.
        error: Why this rank cannot go on; empty if it can.
        count: Images that the rank encoded.
        dtype: dtype of its features, as torch names it; empty without features.
        shape: Axes of its features behind the first.
        requires_grad: Whether gradients must flow back through its features.
        host: A digest of the machine's name.
    """

    facts: dict[str, str] = field(default_factory=dict)
    error: str = ""
    count: int = 0
    dtype: str = ""
    shape: tuple[int, ...] = ()
    requires_grad: bool = False
    host: str = ""

    def to_bytes(self) -> bytes:
        shown = "".join(c if c.isprintable() else " " for c in self.error[:_MESSAGE_CHARACTERS])
        text = json.dumps(asdict(self) | {"error": shown}, ensure_ascii=False)
        return text.encode(errors="replace").ljust(_REPORT_BYTES)

    @classmethod
    def from_bytes(cls, data: bytes) -> Report:
        fields = json.loads(data)
        return cls(**fields | {"shape": tuple(fields["shape"])})


def together(
    group: ProcessGroup, work: Callable[[], tuple[T, Report]], *, what: str
) -> tuple[T, list[Report]]:
    """Run ``work`` on every rank, and raise on all of them if it failed on one.

    Every rank must call this; it takes one collective of a fixed size, between the hosts.

    Args:
        group: The ranks.
        work: What to do here; returns its result, and what the others should know.
        what: What it is called in errors, such as ``encode images``.

    Returns:
        The result, and the reports by rank.

    Raises:
        DistributedError: If another rank failed or is gone, or the facts of two ranks differ.
        Exception: Whatever ``work`` raised here, once the others know.
    """
    failure: Exception | None = None
    try:
        result, report = work()
    except Exception as error:  # whatever it is, the others must not wait for this rank
        failure = error
        report = Report(error=_describe(error))
    try:
        reports = _exchange(group, report, what)
    except DistributedError:
        if failure is None:
            raise
    if failure is not None:
        raise failure
    _check_failures(reports, what)
    _check_facts(reports, what)
    return result, reports


@contextmanager
def lost_ranks_named(group: ProcessGroup, what: str) -> Iterator[None]:
    """Turn what a broken collective raises into one of our errors."""
    try:
        yield
    except torch.OutOfMemoryError:  # of this rank
        raise
    except RuntimeError as error:
        raise DistributedError(
            f"rank {dist.get_rank(group)} of {dist.get_world_size(group)} could not {what}: another rank is "
            f"gone or does not answer ({str(error).partition(chr(10))[0][:_MESSAGE_CHARACTERS]})"
        ) from error


def backend_of(group: ProcessGroup, device_type: str) -> str | None:
    """Return the name of the group's backend for tensors on a type of device; None if it has none."""
    pairs = (pair.split(":") for pair in dist.get_backend_config(group).split(","))
    return {pair[0]: pair[-1] for pair in pairs}.get(device_type)


def check_backend(group: ProcessGroup, device_type: str) -> None:
    """Check that the group can send tensors from one type of device to the same on other ranks.

    Raises:
        InputError: If it has no backend for it.
    """
    if backend_of(group, device_type) is None:
        raise InputError(
            f"the process group has no backend for tensors on {device_type}, only "
            f"{dist.get_backend_config(group)}; compose on another device, or initialise torch.distributed "
            f"with a backend for {device_type} too"
        )


_control_groups: WeakKeyDictionary[ProcessGroup, ProcessGroup] = WeakKeyDictionary()
"""Groups without a backend for CPUs, and the one beside each that has it."""


def control_group(group: ProcessGroup) -> ProcessGroup:
    """Return the ranks as a group whose messages go between the hosts, so that none waits for its device.

    That is the group itself if it has a backend for CPUs. Otherwise it is a gloo group of the same ranks,
    which is made at the first call; every rank must make that call.
    """
    if backend_of(group, "cpu") is not None:
        return group
    if group not in _control_groups:
        if group is dist.group.WORLD:
            beside = dist.new_group(backend="gloo")
        else:  # the ranks outside of the group know nothing of it
            ranks = dist.get_process_group_ranks(group)
            # torch 2.11 knows sorted ranks only.
            order: dict[str, Any] = {} if ranks == sorted(ranks) else {"sort_ranks": False}
            beside = dist.new_group(ranks, backend="gloo", use_local_synchronization=True, **order)
        _control_groups[group] = beside
    return _control_groups[group]


def broadcast_text(text: str, group: ProcessGroup, *, what: str) -> str:
    """Return rank 0's text on every rank.

    Args:
        text: On rank 0, what to send; elsewhere not looked at.
        group: The ranks.
        what: What it is called in errors.

    Raises:
        DistributedError: If another rank is gone.
    """
    content, control = text.encode() if dist.get_rank(group) == 0 else b"", control_group(group)
    with lost_ranks_named(group, what):
        length = torch.tensor([len(content)], device="cpu")
        dist.broadcast(length, group=control, group_src=0)
        sent = torch.tensor(list(content) or [0] * int(length), dtype=torch.uint8, device="cpu")
        dist.broadcast(sent, group=control, group_src=0)
    return bytes(sent.tolist()).decode()


def _exchange(group: ProcessGroup, report: Report, what: str) -> list[Report]:
    mine = torch.frombuffer(bytearray(report.to_bytes()), dtype=torch.uint8)
    everyone = [torch.zeros_like(mine) for _ in range(dist.get_world_size(group))]
    with lost_ranks_named(group, what):
        dist.all_gather(everyone, mine, group=control_group(group))
        rows: list[list[int]] = torch.stack(everyone).tolist()
    return [Report.from_bytes(bytes(row)) for row in rows]


def _describe(error: Exception) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))[:_NOTES_CHARACTERS]
    text = f"{type(error).__name__}: {error}"
    return text[: _MESSAGE_CHARACTERS - len(notes)] + notes


def _check_failures(reports: Sequence[Report], what: str) -> None:
    failed = [f"rank {rank}: {report.error}" for rank, report in enumerate(reports) if report.error]
    if failed:
        raise DistributedError(f"could not {what}: {'; '.join(failed)}")


def _check_facts(reports: Sequence[Report], what: str) -> None:
    for rank, report in enumerate(reports):
        for name in {**reports[0].facts, **report.facts}:
            here, there = reports[0].facts.get(name), report.facts.get(name)
            if here != there:
                raise DistributedError(
                    f"could not {what}: rank {rank} has another {name} than rank 0 ({there} and {here}); "
                    "all ranks must be given the same"
                )
