"""Check and measure vision-composer on one GPU, in under eight minutes, and write down what came out.

    python scripts/gpu_check.py -o results

``results/gpu_check.json`` and ``results/gpu_check.md`` are written anew after every measurement, so that what
was measured is there however the run ends. Send both back. Nothing is downloaded: all weights are random.

The measurements run in a process of their own, which this one watches: a crash, a hang or a broken CUDA
context costs one measurement, and a new process goes on behind it. In a checkout without an installation the
package is taken from the checkout.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import importlib.metadata
import importlib.util
import json
import logging
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARES = {
    "environment": 10,
    "parity": 80,
    "suspicions": 75,
    "speed": 110,
    "attention": 50,
    "compile": 50,
    "synchronisations": 20,
    "encode": 25,
}
"""Sections in the order in which they run, and their shares of the time."""
THIS = (sys.executable, str(Path(__file__).resolve()))
PATIENCE = 25
"""Seconds beyond its time after which a measurement is ended."""
STDERR = "gpu_check.stderr.txt"
BROKEN = 75
"""Exit status of a process whose CUDA context can no longer be used."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("."), help="folder for the results")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script itself")
    parser.add_argument("--budget", type=float, default=420, help="seconds for everything (default: 420)")
    parser.add_argument("--quick", action="store_true", help="half the time")
    parser.add_argument(
        "--only", nargs="+", choices=SHARES, default=list(SHARES), help="these sections alone"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        PROBES[arguments.probe](arguments.device)
        sys.stdout.flush()
        os._exit(0)  # groups of ranks may wait for each other on the way out
    if arguments.worker:
        return work(arguments.worker, arguments.device)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / STDERR).unlink(missing_ok=True)
    return watch(arguments)


# --- the process that watches -----------------------------------------------------------------------------


def watch(arguments: argparse.Namespace) -> int:
    """Run the worker, again where it died, until all sections are done or the time is up."""
    budget = arguments.budget / (2 if arguments.quick else 1)
    log, started = arguments.output / "gpu_check.log.jsonl", time.time()
    head = {"event": "run", "time": started, "end": started + budget, "budget": budget}
    head |= {"device": arguments.device, "shares": {name: SHARES[name] for name in arguments.only}}
    log.write_text(json.dumps(head) + "\n", encoding="utf-8")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    try:
        reason, size = "died", 0
        # One that has left nothing behind could not even start, and the next could not either.
        while reason == "died" and time.time() < started + budget and size != log.stat().st_size:
            size = log.stat().st_size
            reason = one_worker(log, arguments, started + budget)
    except KeyboardInterrupt:
        reason = "interrupted"
    finally:
        signal.signal(signal.SIGTERM, before)
    write_reports(log, arguments.output)
    print(f"{arguments.output / 'gpu_check.md'} and gpu_check.json: {time.time() - started:.0f} s")
    return 130 if reason == "interrupted" else 0


def one_worker(log: Path, arguments: argparse.Namespace, end: float) -> str:
    """Run one worker to its end. Returns whether it has finished or ``died``, or was ``interrupted``."""
    errors = arguments.output / STDERR
    command = [*THIS, "--worker", str(log), "--device", arguments.device]
    with errors.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment(), start_new_session=True
        )
    try:
        reason = supervise(process, log, arguments.output, end)
    except KeyboardInterrupt:
        reason = "interrupted"
    kill(process)
    if (running := unfinished(log)) is not None:
        section, item, begun = running
        tail = errors.read_text(encoding="utf-8", errors="replace")[-1500:]
        died = {"ok": False, "error": reason, "tail": tail, "seconds": time.time() - begun}
        append(log, event="end", section=section, item=item, **died)
    return reason if reason in ("finished", "interrupted") else "died"


def supervise(process: subprocess.Popen[bytes], log: Path, output: Path, end: float) -> str:
    """Write the results down as they come; kill a process that is far behind its time. Says how it ended."""
    size = 0
    while True:
        try:
            code = process.wait(timeout=0.5)
            return "finished" if code == 0 else f"the process died with exit status {code}"
        except subprocess.TimeoutExpired:
            pass
        if (now := log.stat().st_size) != size:
            size = now
            write_reports(log, output)
        if (open_item := unfinished(log)) is not None:
            section, _, begun = open_item
            limit = min(max(begun, deadline_of(log, section)), end) + PATIENCE
            if time.time() > limit:
                return f"stopped after {time.time() - begun:.0f} s"
        if time.time() > end + PATIENCE + 5:
            return "the time was up"


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and those that it started, such as inductor's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment() -> dict[str, str]:
    """That of the worker: offline, and with the package of this checkout if none is installed."""
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    path = os.environ.get("PYTHONPATH", "")
    if importlib.util.find_spec("vision_composer") is None:
        path = os.pathsep.join(filter(None, (str(linked_checkout()), path)))
    return {**os.environ, **quiet, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@cache
def linked_checkout() -> Path:
    """A folder with ``vision_composer`` in it, made of links into the checkout."""
    folder = Path(tempfile.mkdtemp(prefix="vision-composer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    package = folder / "vision_composer"
    package.mkdir()
    parts = [part for part in (ROOT / "composer").iterdir() if part.name != "__pycache__"]
    for part in (*parts, ROOT / "schemas", ROOT / "presets"):
        (package / part.name).symlink_to(part)
    return folder


# --- the log: the only thing that the two processes share -------------------------------------------------


def append(log: Path, **entry: Any) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry | {"time": time.time()}, default=str) + "\n")


def entries(log: Path) -> list[dict[str, Any]]:
    whole, _, _ = log.read_text(encoding="utf-8").rpartition("\n")  # the last line may still be written
    return [json.loads(line) for line in whole.splitlines()]


def unfinished(log: Path) -> tuple[str, str, float] | None:
    """Section, name and start of the measurement that is running."""
    last = entries(log)[-1]
    return (last["section"], last["item"], last["time"]) if last["event"] == "begin" else None


def deadline_of(log: Path, section: str) -> float:
    found = [e["deadline"] for e in entries(log) if e["event"] == "section" and e["section"] == section]
    return float(found[-1]) if found else math.inf


# --- the process that measures ----------------------------------------------------------------------------


class Recorder:
    """Runs the measurements of one section while there is time, and writes each of them to the log.

    Args:
        log: The log.
        section: Its name.
        device: Where to measure.
        deadline: When the section should be done.
        known: Measurements that an earlier process made, or died of.
    """

    def __init__(self, log: Path, section: str, device: str, deadline: float, known: set[str]) -> None:
        import torch

        self.log, self.section, self.deadline, self.known = log, section, deadline, known
        self.device = torch.device(device)
        self.on_gpu = self.device.type == "cuda"
        self._any = bool(known)

    @property
    def seconds_left(self) -> float:
        return self.deadline - time.time()

    def __call__(self, name: str, measure: Callable[[], Any]) -> None:
        """Run ``measure``, unless there is no time left; the first of a section always runs."""
        if name in self.known:
            return
        if self._any and self.seconds_left <= 0:
            append(self.log, event="end", section=self.section, item=name, ok=False, error="no time left")
            return
        self._any = True
        append(self.log, event="begin", section=self.section, item=name)
        start = time.perf_counter()
        entry: dict[str, Any] = {"ok": True}
        try:
            entry["result"] = measure()
        except Exception as error:  # whatever goes wrong is a finding
            message = f"{type(error).__name__}: {error}"
            entry = {"ok": False, "error": message[:2000], "traceback": traceback.format_exc()[-6000:]}
        entry["seconds"] = time.perf_counter() - start
        append(self.log, event="end", section=self.section, item=name, **entry)
        if self.on_gpu:
            self._leave_if_broken()

    def _leave_if_broken(self) -> None:
        import torch

        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except Exception:  # the context is lost: only another process can go on
            sys.exit(BROKEN)


def work(log: Path, device: str) -> int:
    """Run what the log does not yet have."""
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device on this machine; --device cpu tries the script itself")
    exact_float32()
    head, *past = entries(log)
    over = {e["section"] for e in past if e["event"] == "over"}
    for section in head["shares"]:
        if section in over:
            continue
        shares = [share for name, share in head["shares"].items() if name not in over]
        left = max(0.0, head["end"] - time.time())
        deadline = time.time() + left * head["shares"][section] / sum(shares)
        append(log, event="section", section=section, deadline=deadline)
        known = {e["item"] for e in past if e["event"] in ("begin", "end") and e["section"] == section}
        record = Recorder(log, section, device, deadline, known)
        try:
            globals()[f"check_{section}"](record)
        except Exception:  # a section that cannot even begin
            broken = {
                "error": traceback.format_exc(limit=1)[-500:],
                "traceback": traceback.format_exc()[-6000:],
            }
            append(log, event="end", section=section, item="the section", ok=False, seconds=0, **broken)
        append(log, event="over", section=section)
        over.add(section)
        torch._dynamo.reset()
        if record.on_gpu:
            torch.cuda.empty_cache()
    return 0


def exact_float32() -> None:
    """Turn TF32 off, as a convolution has it by default."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


# --- 1. environment ---------------------------------------------------------------------------------------


def check_environment(record: Recorder) -> None:
    record("machine", partial(machine, record))
    record("packages", packages)
    record("attention backends", partial(attention_backends, record))


def machine(record: Recorder) -> list[dict[str, Any]]:
    import torch

    facts: dict[str, Any] = {"python": platform.python_version(), "processors": os.cpu_count()}
    facts |= {"processor capability": torch.backends.cpu.get_cpu_capability()}
    if record.on_gpu:
        properties = torch.cuda.get_device_properties(record.device)
        facts |= {
            "card": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "GiB": properties.total_memory / 2**30,
            "multiprocessors": properties.multi_processor_count,
            "cards": torch.cuda.device_count(),
            "architectures": " ".join(torch.cuda.get_arch_list()),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
            "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        }
    facts |= {"float32 products": torch.get_float32_matmul_precision()}
    return [{"fact": name, "value": value} for name, value in facts.items()]


def output_of(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)


PACKAGES = (
    *("vision-composer", "torch", "transformers", "triton", "torchvision", "numpy", "pillow", "torchao"),
    *("timm", "onnxruntime", "onnxruntime-gpu", "flash-attn", "flash-attn-3", "flash-attn-4"),
)


def packages() -> list[dict[str, str]]:
    return [{"fact": name, "value": installed(name)} for name in PACKAGES]


def installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


SITUATIONS = (
    *(("float32", 64, False), ("float16", 64, False), ("bfloat16", 64, False), ("bfloat16", 64, True)),
    *(("bfloat16", 72, False), ("bfloat16", 80, False), ("bfloat16", 20, False)),
)
"""dtype, head size, and whether gradients are needed."""


def attention_backends(record: Recorder) -> list[dict[str, Any]]:
    """What is chosen, what works, and why the others do not."""
    import torch

    from vision_composer.attention import select_attn_backend

    rows = []
    for packed in (False, True):
        for name, head_size, training in SITUATIONS:
            choice = select_attn_backend(
                head_size, getattr(torch, name), record.device, packed=packed, training=training
            )
            row = {"packed": packed, "dtype": name, "head size": head_size, "training": training}
            row |= {"chosen": choice.implementation, "works": " ".join(b.value for b in choice.working)}
            rows.append(row | {backend.value: reason for backend, reason in choice.passed_over.items()})
    return rows


# --- 2. parity --------------------------------------------------------------------------------------------


def check_parity(record: Recorder) -> None:
    for model_type in families():
        record(model_type, partial(parity, record, model_type))


def families() -> list[str]:
    """A model_type of every family: variants of one have the same tower."""
    from vision_composer.encoders import FAMILIES

    return list({family: model_type for model_type, family in reversed(FAMILIES.items())}.values())[::-1]


def parity(record: Recorder, model_type: str) -> list[dict[str, Any]]:
    """Features and gradients on the device beside those of the CPU in float64.

    Errors are relative to the largest value; those of the gradients, to the largest gradient of all.
    """
    import torch

    from vision_composer import plan
    from vision_composer.running.attention import plan_attention

    reference = tiny(model_type)
    weights = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    inputs = sample_inputs(reference)
    want, want_gradients = features_and_gradients(reference.double(), inputs)
    rows = []
    places = [(torch.device("cpu"), "float32", "ieee"), (torch.device("cpu"), "bfloat16", "ieee")]
    if record.on_gpu:
        places += [
            (record.device, *kind)
            for kind in (("float32", "ieee"), ("float32", "tf32"), ("bfloat16", "ieee"))
        ]
    for device, dtype, precision in places:
        planned = plan(reference.config, overrides=[f"weights.dtype={dtype}"])
        working = [backend.value for backend in plan_attention(planned, device, training=True).working]
        for backend in working[:1] if device.type == "cpu" or precision == "tf32" else working:
            row: dict[str, Any] = {
                "device": device.type,
                "dtype": dtype,
                "float32": precision,
                "backend": backend,
            }
            try:
                torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
                tower = tiny(model_type, f"weights.dtype={dtype}", f"attn_backend={backend}", device=device)
                tower.load_state_dict(weights)
                moved = {name: tensor.to(device) for name, tensor in inputs.items()}
                got, gradients = features_and_gradients(tower, moved)
                row |= {"features": largest_error(got, want)}
                row |= {"gradients": gradient_error(gradients, want_gradients)}
                row |= {"finite": all(bool(t.isfinite().all()) for t in (*got, *gradients.values()))}
            except Exception as error:
                row |= {"error": f"{type(error).__name__}: {str(error)[:300]}"}
            finally:
                exact_float32()
            rows.append(row)
    return rows


def tiny(model_type: str, *overrides: str, device: Any = "cpu", **keys: Any) -> Any:
    """A small encoder with random weights, no two of them alike."""
    import torch

    from vision_composer import compose
    from vision_composer.testing import tiny_encoder

    torch.manual_seed(0)
    source = {"schema": 1, "encoder": tiny_encoder(model_type), **keys}
    encoder = compose(source, overrides=overrides, device=device)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return encoder


def sample_inputs(encoder: Any) -> dict[str, Any]:
    import torch

    torch.manual_seed(0)
    samples = encoder.family.samples(encoder.info, encoder.preprocessor)
    return dict(encoder.preprocessor.collate([sample.inputs for sample in samples]))


def features_and_gradients(encoder: Any, inputs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    encoder.zero_grad()
    features = list(encoder(**inputs))
    loss = sum(part.double().square().mean() for part in features)
    loss.backward()
    gradients = {name: p.grad.cpu().double() for name, p in encoder.named_parameters() if p.grad is not None}
    return [part.detach().cpu().double() for part in features], gradients


def largest_error(got: Sequence[Any], want: Sequence[Any]) -> float:
    """Relative to the largest value that is wanted."""
    pairs = [(one.double(), other.double()) for one, other in zip(got, want, strict=True) if other.numel()]
    scale = max(float(other.abs().max()) for _, other in pairs)
    return max(float((one - other).abs().max()) for one, other in pairs) / scale


def gradient_error(got: Mapping[str, Any], want: Mapping[str, Any]) -> float:
    if missing := want.keys() - got.keys():
        raise RuntimeError(f"no gradient for {', '.join(sorted(missing)[:5])}")
    return largest_error([got[name] for name in want], list(want.values()))


# --- 3. attention -----------------------------------------------------------------------------------------

HEAD_SIZES = (64, 72, 80, 88, 96, 104, 112, 128)


def check_attention(record: Recorder) -> None:
    sizes = HEAD_SIZES if record.on_gpu else (64, 72)
    for head_size in sizes:
        record(f"head size {head_size}", partial(attention, record, head_size, compiled=False))
    for head_size in (64, 72, 128) if record.on_gpu else ():  # each is compiled, which takes its time
        record(f"head size {head_size}, flex", partial(attention, record, head_size, compiled=True))


def attention(record: Recorder, head_size: int, *, compiled: bool) -> list[dict[str, Any]]:
    """Every kernel, dense and packed, beside attention in float64; times of forward and of both ways."""
    import torch

    heads = 16 if record.on_gpu else 2
    lengths = [1024, 1024, 700, 333, *[256] * 4, *[64] * 16] if record.on_gpu else [24, 16, 16]
    dense = (8, 577) if record.on_gpu else (2, 17)
    rows = []
    for dtype in (torch.bfloat16,) if compiled else (torch.float16, torch.bfloat16):
        for shape, kernels in (
            ("dense", {} if compiled else dense_kernels(record.device, dtype, head_size)),
            ("packed", packed_kernels(record.device, dtype, head_size, lengths, compiled=compiled)),
        ):
            tokens = dense if shape == "dense" else (1, sum(lengths))
            pieces = [dense[1]] * dense[0] if shape == "dense" else lengths
            torch.manual_seed(0)
            query, key, value, grad = (
                torch.randn(*tokens, heads, head_size, device=record.device).to(dtype) for _ in range(4)
            )
            inputs = (query, key, value)
            want = both_ways(partial(exact_attention, lengths=pieces), [t.double() for t in inputs], grad)
            for name, kernel in kernels.items():
                row = {"shape": shape, "dtype": str(dtype).removeprefix("torch."), "kernel": name}
                rows.append(row | timed_attention(record, kernel, inputs, grad, want))
    return rows


def timed_attention(
    record: Recorder, kernel: Callable[..., Any], inputs: Sequence[Any], grad: Any, want: Sequence[Any]
) -> dict[str, Any]:
    import torch

    try:
        with torch.no_grad():
            got = kernel(*inputs)
        row: dict[str, Any] = {"forward error": largest_error([got], want[:1])}
        with torch.no_grad():
            row["forward us"] = microseconds(lambda: kernel(*inputs), record.device)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    try:
        row["backward error"] = largest_error(both_ways(kernel, inputs, grad)[1:], want[1:])
        row["both us"] = microseconds(lambda: both_ways(kernel, inputs, grad), record.device)
    except Exception as error:
        row["error"] = f"backward: {type(error).__name__}: {str(error)[:200]}"
    return row


FLASH_MODULES = {
    "flash-attn": "flash_attn",
    "flash-attn-3": "flash_attn_interface",
    "flash-attn-4": "flash_attn.cute",
}


def dense_kernels(device: Any, dtype: Any, head_size: int) -> dict[str, Callable[..., Any]]:
    """Kernels for (images, tokens, heads, head size): torch's, one by one, and those of packages."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    def sdpa(query: Any, key: Any, value: Any) -> Any:
        q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return scaled_dot_product_attention(q, k, v).transpose(1, 2)

    def only(backend: SDPBackend, *tensors: Any) -> Any:
        with sdpa_kernel(backend):
            return sdpa(*tensors)

    def eager(query: Any, key: Any, value: Any) -> Any:
        q, k, v = (tensor.transpose(1, 2) for tensor in (query, key, value))
        weights = (q @ k.transpose(-1, -2) * head_size**-0.5).float().softmax(dim=-1).to(q.dtype)
        return (weights @ v).transpose(1, 2)

    kernels: dict[str, Callable[..., Any]] = {"sdpa": sdpa, "eager": eager}
    if device.type == "cuda":
        for name in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION"):
            kernels[f"sdpa {name.lower()}"] = partial(only, getattr(SDPBackend, name))
    for name, module in FLASH_MODULES.items():
        if installed(name) != "not installed":
            kernels[name] = partial(flash_package, module)
    return kernels


def flash_package(module: str, query: Any, key: Any, value: Any) -> Any:
    output = importlib.import_module(module).flash_attn_func(query, key, value)
    return output[0] if isinstance(output, tuple) else output


def packed_kernels(
    device: Any, dtype: Any, head_size: int, lengths: Sequence[int], *, compiled: bool
) -> dict[str, Callable[..., Any]]:
    """The package's kernels for one sequence of several images, by their backends."""
    from vision_composer.attention import select_attn_backend
    from vision_composer.attention.packed_kernels import packed_kernel
    from vision_composer.attention.segments import Segments

    segments = Segments(lengths, device)

    def run(kernel: Callable[..., Any], query: Any, key: Any, value: Any) -> Any:
        return kernel(query[0], key[0], value[0], segments, scale=head_size**-0.5)[None]

    working = select_attn_backend(head_size, dtype, device, packed=True).working
    wanted = [backend for backend in working if (backend.value == "flex_attention") == compiled]
    return {backend.value: partial(run, packed_kernel(backend)) for backend in wanted}


def exact_attention(query: Any, key: Any, value: Any, *, lengths: Sequence[int]) -> Any:
    """Attention inside each piece of the sequence, image after image, in the inputs' dtype."""
    import torch

    flat = [tensor.flatten(0, 1).split(list(lengths)) for tensor in (query, key, value)]
    outputs = []
    for q, k, v in zip(*flat, strict=True):
        q, k, v = (tensor.transpose(0, 1) for tensor in (q, k, v))
        outputs.append(((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1) @ v).transpose(0, 1))
    return torch.cat(outputs).view(query.shape)


def both_ways(function: Callable[..., Any], inputs: Sequence[Any], grad: Any) -> list[Any]:
    """The output, and the gradients of the inputs."""
    import torch

    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    output = function(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, grad.to(output.dtype))]


def microseconds(run: Callable[[], Any], device: Any, rounds: int = 12) -> float:
    """Median time of one run: on the GPU between two events in its stream."""
    import torch

    times = []
    for _ in range(3 if device.type == "cuda" else 1):
        run()
    for _ in range(rounds if device.type == "cuda" else 2):
        if device.type == "cuda":
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            stop.record()
            stop.synchronize()
            times.append(start.elapsed_time(stop) * 1e3)
        else:
            begun = time.perf_counter()
            run()
            times.append((time.perf_counter() - begun) * 1e6)
    return float(median(times))


# --- 4. compile -------------------------------------------------------------------------------------------


def check_compile(record: Recorder) -> None:
    modes = ("default", "reduce-overhead", "max-autotune") if record.on_gpu else ("default",)
    towers = list(product(modes, ("clip_vision_model", "dinov2", "qwen2_5_vl_vision")))
    for number, (mode, family) in enumerate(towers):
        until = time.time() + max(8.0, 2 * record.seconds_left / (len(towers) - number))
        record(f"{mode}, {family}", partial(compiled_tower, record, family, mode, until))


def compiled_tower(record: Recorder, model_type: str, mode: str, until: float) -> dict[str, Any]:
    """A compiled tower beside the same uncompiled, over ten different batches as far as time allows."""
    import torch
    from torch._dynamo.utils import counters

    from vision_composer.bench.measure import compiled_graphs

    plain = tiny(model_type, device=record.device)
    tower = tiny(model_type, compile=compile_keys(record, mode), device=record.device)
    tower.load_state_dict(plain.state_dict())
    batches = [different_inputs(tower, number) for number in range(10 if record.on_gpu else 3)]
    before, earlier = compiled_graphs(), Counter(counters["inductor"])
    row: dict[str, Any] = {"batches": 0, "graphs at first": None}
    errors, seconds = [], []
    with torch.inference_mode(), quiet() as heard:
        for number, inputs in enumerate(batches):
            if number > 1 and time.time() > until:
                break
            begun = time.perf_counter()
            got = list(tower(**inputs))
            synchronize(record.device)
            seconds.append(time.perf_counter() - begun)
            errors.append(largest_error(got, [part.double() for part in plain(**inputs)]))
            if number == 0:
                row["graphs at first"] = compiled_graphs() - before
        row["batches"], row["graphs in the end"] = len(errors), compiled_graphs() - before
        row["first s"], row["median s"] = seconds[0], median(seconds)
        row["largest error"], row["an output stays"] = max(errors), output_stays(tower, batches[1])
        row["us"] = microseconds(lambda: tower(**batches[1]), record.device)
        row["us uncompiled"] = microseconds(lambda: plain(**batches[1]), record.device)
        if tower.info.ragged:
            row["MiB held, every ten batches"] = memory_growth(record, tower, max(until, time.time() + 8))
    found = Counter(counters["inductor"]) - earlier
    row["counters"] = {name: n for name, n in found.items() if "cudagraph" in str(name)}
    row["heard"] = " | ".join(text[:200] for text in dict.fromkeys(heard))[:600]
    return row


def output_stays(run: Callable[..., Any], inputs: Mapping[str, Any]) -> bool:
    """Whether an output is the same after another run on inputs of the same sizes."""
    for _ in range(3):  # the first runs of a CUDA graph record it
        run(**inputs)
    kept = list(run(**inputs))
    held = [part.clone() for part in kept]
    run(**{**inputs, "pixel_values": inputs["pixel_values"] + 1})
    return same(kept, held)


def same(got: Sequence[Any], want: Sequence[Any]) -> bool:
    """Whether they are the same to the bit."""
    import torch

    return all(torch.equal(one, other) for one, other in zip(got, want, strict=True))


def compile_keys(record: Recorder, mode: str) -> dict[str, Any]:
    """``compile`` of a config; on the CPU without code, which takes long to make."""
    return {"mode": mode} if record.on_gpu else {"backend": "eager"}


def different_inputs(encoder: Any, number: int) -> dict[str, Any]:
    """A batch that is unlike those of other numbers in its images, and in their sizes where it can be."""
    from vision_composer.bench.comparison import noise

    if encoder.info.ragged:
        images = range(number, number + 1 + number % 6)
        return noise(encoder, [(28 + 28 * (i % 7), 56 + 28 * (3 * i % 5)) for i in images])
    return noise(encoder, [(encoder.info.image_size,) * 2] * (1 + number))


def memory_growth(record: Recorder, tower: Any, until: float) -> list[int]:
    """MiB that torch holds after every ten of fifty batches: flat, if nothing is kept of each."""
    import torch

    held = []
    for number in range(50 if record.on_gpu else 2):
        if time.time() > until:
            break
        tower(**different_inputs(tower, number))
        if record.on_gpu and number % 10 == 9:
            torch.cuda.synchronize()
            held.append(torch.cuda.memory_reserved() // 2**20)
    return held


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Collect what is warned or logged inside."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            heard.append(entry.getMessage())

    listener = Listener(logging.WARNING)
    loggers = [logging.getLogger("torch"), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    # torch's parts hand nothing on to their parents once torch has set up their handlers.
    heeded = [
        one for one in loggers if one.name == "torch" or (one.name.startswith("torch") and not one.propagate)
    ]
    for logger in heeded:
        logger.addHandler(listener)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield heard
    finally:
        for logger in heeded:
            logger.removeHandler(listener)
        heard.extend(str(warning.message) for warning in caught)


def synchronize(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- 5. speed ---------------------------------------------------------------------------------------------

MIXED = [(448, 448), (640, 480), (224, 224), (896, 672), (336, 336), (480, 640), (1024, 768), (280, 420)] * 2
TOWERS: dict[str, tuple[str, dict[str, list[tuple[int, int]]]]] = {
    "CLIP-L/14-336": ("llava-1.5-7b", {str(n): [(336, 336)] * n for n in (8, 32, 1)}),
    "Qwen2.5-VL-7B": (
        "qwen2.5-vl-7b",
        {"16 mixed": MIXED, **{str(n): [(448, 448)] * n for n in (8, 32, 1)}},
    ),
    "SigLIP-so400m-384": ("siglip-so400m-patch14-384", {str(n): [(384, 384)] * n for n in (8, 32, 1)}),
    "Pixtral": ("pixtral-12b", {"16 mixed": MIXED, **{str(n): [(512, 512)] * n for n in (8, 32, 1)}}),
}
"""Name -> preset, and batches of images by their names."""


def check_speed(record: Recorder) -> None:
    record("matrix product", partial(peak, record))
    built: dict[str, dict[str, Any]] = {}  # the towers stay, for their other batches
    for number in range(max(len(batches) for _, batches in TOWERS.values())):
        for name, (preset, batches) in TOWERS.items():
            if number < len(batches):
                batch, sizes = list(batches.items())[number]
                record(f"{name}, {batch}", partial(speed, record, built, preset, sizes))


def peak(record: Recorder) -> dict[str, Any]:
    """What one large product of bfloat16 matrices reaches: 100% of what follows."""
    import torch

    from vision_composer.bench.measure import matmul

    run, operations = matmul(record.device, torch.bfloat16)
    seconds = microseconds(run, record.device, rounds=20) / 1e6
    return {"ms": seconds * 1e3, "TFLOP/s": operations / seconds / 1e12}


def speed(record: Recorder, built: dict[str, Any], preset: str, sizes: list[Any]) -> list[dict[str, Any]]:
    """The tower as it is, compiled, and transformers' own class, interleaved, on the same weights."""
    import torch

    from vision_composer.bench.comparison import noise
    from vision_composer.bench.measure import interleaved

    begun = time.perf_counter()
    if preset not in built:
        built[preset] = runners(record, preset)
    tower = built[preset]["ours"]
    seconds_to_build = time.perf_counter() - begun
    sizes = sizes if record.on_gpu else [(32, 32)] * 2
    inputs = noise(tower, sizes)
    operations = sum(tower.plan.flops(*size) or 0 for size in sizes)
    rows: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    features: dict[str, list[Any]] = {}
    with torch.inference_mode():
        for runner, module in built[preset].items():
            row = rows[runner] = {"runner": runner, "images": len(sizes), "build s": seconds_to_build}
            try:
                begun = time.perf_counter()
                features[runner] = [part.float() for part in module(**inputs)]
                synchronize(record.device)
                row["first s"] = time.perf_counter() - begun
                row["difference"] = largest_error(features[runner], features["ours"])
                module(**inputs)
                runs[runner] = partial(module, **inputs)
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {str(error)[:300]}"
                if record.on_gpu:
                    torch.cuda.empty_cache()
        del features
        possible = peak(record)["TFLOP/s"] * 1e12
        rounds = interleaved(list(runs.values()), 8 if record.on_gpu else 1, record.device)
    for runner, seconds in zip(runs, rounds, strict=True):
        rate = operations / median(seconds)
        rows[runner] |= {"ms": median(seconds) * 1e3, "ms min": min(seconds) * 1e3}
        rows[runner] |= {"images/s": len(sizes) / median(seconds)}
        rows[runner] |= {"TFLOP/s": rate / 1e12, "of peak": rate / possible}
    return list(rows.values())


def runners(record: Recorder, preset: str) -> dict[str, Any]:
    """A preset's tower, the same compiled, and what transformers has; all on the same weights."""
    from vision_composer.bench.peers import TransformersTower
    from vision_composer.running.compilation import compile_tower
    from vision_composer.schemas import CompileConfig

    tower = quickly_built(record, partial(encoder_of, record, preset)).requires_grad_(False)
    peers = quickly_built(record, partial(transformers_peers, TransformersTower, tower))
    twin = copy.deepcopy(tower, {id(t): t for t in (*tower.parameters(), *tower.buffers())})
    compile_tower(twin.tower, CompileConfig.model_validate(compile_keys(record, "default")))
    return {"ours": tower, "ours, compiled": twin, **peers}


def quickly_built(record: Recorder, build: Callable[[], Any]) -> Any:
    """What ``build`` makes, with random numbers drawn on the device if that works: the CPU takes seconds."""
    import torch

    try:
        with record.device:
            return build()
    except Exception:  # some models make tensors on the CPU for others on the device
        torch.cuda.empty_cache()
        return build()


def transformers_peers(peer: Callable[..., Any], tower: Any) -> dict[str, Any]:
    """transformers' class with sdpa, and with flash-attn where it is installed."""
    peers = {"transformers sdpa": peer(tower)}
    if installed("flash-attn") != "not installed":
        peers["transformers fa2"] = peer(tower)
        peers["transformers fa2"].model.set_attn_implementation("flash_attention_2")
    return peers


def encoder_of(record: Recorder, preset: str) -> Any:
    """A preset's encoder with random weights in bfloat16; on the CPU a small one of the same family."""
    from vision_composer import compose, plan

    if not record.on_gpu:
        return tiny(plan(preset).info.model_type, "weights.dtype=bfloat16")
    overrides = ["weights={source: null, dtype: bfloat16}"]
    return compose(preset, overrides=overrides, device=record.device)


# --- 6. encode --------------------------------------------------------------------------------------------


def check_encode(record: Recorder) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        record("CLIP-L/14-336, bfloat16", partial(encode_job, record, Path(folder)))


def encode_job(record: Recorder, folder: Path) -> list[dict[str, Any]]:
    """Images per second of preprocessing, of the whole job, and of the forward alone."""
    from vision_composer.bench.comparison import noise
    from vision_composer.jobs import encode_images

    many, batch = (256, 32) if record.on_gpu else (6, 2)
    images = photographs(folder / "images", many, distinct=min(many, 32))
    rows = []
    for name, preset, part in (("CLIP", "llava-1.5-7b", 1), ("Qwen2.5-VL", "qwen2.5-vl-7b", 4)):
        if rows and record.seconds_left <= 0:
            break
        encoder = quickly_built(record, partial(encoder_of, record, preset))
        sample = images[: 24 if record.on_gpu else 2]
        start = time.perf_counter()
        for image in sample:
            encoder.preprocessor([image])
        preprocess = len(sample) / (time.perf_counter() - start)
        with encoder.evaluating():
            size = (1280, 960) if record.on_gpu else (64, 48)
            count = max(1, batch // part)
            run = partial(encoder, **noise(encoder, [size] * count))
            forward = count / microseconds(run, record.device, rounds=5) * 1e6
        output = folder / f"{name}.parquet"
        summary = encode_images(encoder, images[: max(1, many // part**2)], output, batch_size=count)
        rows.append(
            {
                "encoder": name,
                "images": summary.num_images,
                "failed": summary.num_failed,
                "preprocess images/s, one thread": preprocess,
                "job images/s": summary.num_images / summary.seconds,
                "forward images/s": forward,
                "batch": count,
                "output MiB": summary.output.stat().st_size / 2**20,
            }
        )
    return rows


def photographs(folder: Path, count: int, *, distinct: int) -> list[str]:
    """JPEGs of 1280 x 960 with something of everything in them: colours that change slowly, and noise."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        if number >= distinct:
            shutil.copy(paths[number % distinct], path)
            continue
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((1280, 960), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = smooth + generator.integers(-12, 13, smooth.shape, dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return [str(path) for path in paths]


# --- 7. suspicions ----------------------------------------------------------------------------------------


def check_suspicions(record: Recorder) -> None:
    """What was suspected of GPUs where none was at hand, each tried once."""
    record("C5: a checkpoint under set_default_device", partial(default_device, record))
    record("C1, C3, C7: ranks", partial(ranks, record))
    record("C2: CUDA graphs of a packed tower", partial(packed_graphs, record))
    record("C9: check_encoder on the device", partial(conformance, record))
    record("C8: costs that bench --calibrate finds", partial(calibration, record))
    record("C10: flex_attention beyond the limit on recompilations", partial(flex_limit, record))
    record("C6: flash kernels of other packages", partial(flash_packages, record))
    record("C4: bench against programs that may be missing", partial(missing_peers, record))


def default_device(record: Recorder) -> dict[str, Any]:
    """A saved tower composed while tensors are made on the device by default."""
    import torch

    from vision_composer import compose

    row: dict[str, Any] = {}
    for model_type in ("clip_vision_model", "qwen2_5_vl_vision", "idefics3_vision", "siglip2_vision_model"):
        with tempfile.TemporaryDirectory() as folder:
            encoder = tiny(model_type)
            encoder.save(folder)
            inputs = sample_inputs(encoder)
            with torch.no_grad():
                want = list(encoder(**inputs))
            torch.set_default_device(record.device)
            try:
                again = compose(folder)
                with torch.no_grad():
                    got = again(**{name: tensor.to(record.device) for name, tensor in inputs.items()})
                row[model_type] = largest_error([part.cpu() for part in got], want)
            except Exception as error:
                row[model_type] = f"{type(error).__name__}: {str(error)[:300]}"
            finally:
                torch.set_default_device(None)
    return row


def packed_graphs(record: Recorder) -> list[dict[str, Any]]:
    """Whether CUDA graphs of the packed operation, which reads a tensor on the CPU, give what they should."""
    import torch
    from torch._dynamo.utils import counters

    from vision_composer.attention.packed_op import packed_attention_op
    from vision_composer.bench.comparison import noise

    operator = packed_attention_op._opoverload
    rows: list[dict[str, Any]] = [{"tags": " ".join(map(str, operator.tags))}]
    for backend, dtype in (("auto", "bfloat16"), ("sdpa", "float32")):
        keys = {"compile": compile_keys(record, "reduce-overhead"), "attn_backend": backend}
        overrides = [f"weights.dtype={dtype}"]
        tower = tiny("qwen2_5_vl_vision", *overrides, device=record.device, **keys)
        plain = tiny("qwen2_5_vl_vision", *overrides, device=record.device, attn_backend=backend)
        plain.load_state_dict(tower.state_dict())
        before = Counter(counters["inductor"])
        row: dict[str, Any] = {"backend": tower.attention.implementation, "dtype": dtype}
        # As many tokens and images, in other orders: lengths inside of a graph differ, and nothing else.
        sizes = [(56, 84), (28, 56), (112, 112), (84, 140)]
        orders = ((0, 1, 2, 3), (0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0), (0, 1, 2, 3))
        batches = [noise(plain, [sizes[i] for i in order]) for order in orders]
        with torch.inference_mode(), quiet() as heard:
            errors = [
                largest_error(list(tower(**batch)), [part.double() for part in plain(**batch)])
                for batch in batches
            ]
        found = Counter(counters["inductor"]) - before
        row["errors"] = " ".join(f"{error:.1e}" for error in errors)
        row |= {name: n for name, n in found.items() if "cudagraph" in str(name)}
        row["heard"] = " | ".join(text[:200] for text in dict.fromkeys(heard))[:600]
        rows.append(row)
    return rows


def ranks(record: Recorder) -> list[dict[str, Any]]:
    """The probes of several processes, all at once, since each of them takes long to start."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(partial(in_a_process, record), PROBES)
        return [
            {"probe": probe, "fact": fact, "value": value}
            for probe, facts in zip(PROBES, found, strict=True)
            for fact, value in facts.items()
        ]


def in_a_process(record: Recorder, probe: str) -> dict[str, Any]:
    """A probe in processes of its own, as torchrun would start them: its answer, or what it died of."""
    size = 2 if probe == "two ranks" else 1
    command = [*THIS, "--probe", probe, "--device", str(record.device)]
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        port = free_port()
        for rank in range(size):
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "check"}
            surroundings = environment() | {name: str(value) for name, value in variables.items()}
            out = (Path(folder) / f"{rank}.out").open("wb")
            err = (Path(folder) / f"{rank}.err").open("wb")
            with out, err:
                processes.append(subprocess.Popen(command, env=surroundings, stdout=out, stderr=err))
        begun = time.time()
        end = begun + max(20.0, min(60.0, record.seconds_left))
        try:
            for process in processes:
                try:
                    process.wait(timeout=max(0.1, end - time.time()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        finally:
            for process in processes:
                process.kill()
        row: dict[str, Any] = {}
        for rank, process in enumerate(processes):
            key = f"rank {rank}: " if size > 1 else ""
            lines = (Path(folder) / f"{rank}.out").read_text().splitlines()
            answer = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
            row |= {key + name: value for name, value in answer.items()}
            if process.returncode:
                tail = (Path(folder) / f"{rank}.err").read_text(errors="replace")[-1500:]
                took = f" after {time.time() - begun:.0f} s" if process.returncode == -signal.SIGKILL else ""
                row |= {f"{key}exit status": f"{process.returncode}{took}", f"{key}stderr": tail}
        return row


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def attempt(row: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
    """What ``work`` returns, with a line about it in ``row``."""
    try:
        result = work()
    except Exception as error:
        row[name] = f"{type(error).__name__}: {str(error)[:400]}"
        return None
    row[name] = result if isinstance(result, (str, int, float, bool)) else "ok"
    return result


class Answer(dict[str, Any]):
    """What a probe has found: printed as it grows, so that a probe that hangs has said how far it came."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        print(json.dumps(self), flush=True)


def one_rank(device: str) -> None:
    """init_process_group() as ``compose`` calls it under torchrun, and what the ranks do after it."""
    import torch
    import torch.distributed as dist

    row = Answer()
    exact_float32()
    attempt(row, "compose with parallel", lambda: tiny("pixtral", "parallel={mode: data}", device=device))
    if not dist.is_initialized():
        attempt(row, "init_process_group()", dist.init_process_group)
    attempt(row, "backends", lambda: str(dist.get_backend_config(dist.group.WORLD)))
    attempt(row, "current device", lambda: torch.cuda.current_device() if device != "cpu" else "cpu")
    attempt(row, "all_gather_object", lambda: dist.all_gather_object([None], "word"))
    attempt(row, "broadcast_object_list", lambda: dist.broadcast_object_list(["word"]))
    spread = attempt(row, "spread", lambda: spread_tower(device, "pixtral"))
    if spread is not None:
        attempt(row, "forward", lambda: spread_error(spread))
    mode = {"mode": "reduce-overhead"} if device != "cpu" else {"backend": "eager"}
    spread = attempt(row, "spread with CUDA graphs", lambda: spread_tower(device, "pixtral", compile=mode))
    if spread is not None:
        attempt(row, "an output stays", lambda: spread_output_stays(spread))


def two_ranks(device: str) -> None:
    """Two ranks, each on its GPU where there are two, otherwise both on one, which NCCL refuses."""
    import torch
    import torch.distributed as dist

    from vision_composer import compose
    from vision_composer.testing import tiny_encoder

    row = Answer()
    exact_float32()
    rank, where = int(os.environ["RANK"]), device
    if device != "cpu":
        where = f"cuda:{rank % torch.cuda.device_count()}"
        if torch.cuda.device_count() < 2:
            attempt(row, "gloo for both", lambda: dist.init_process_group("cpu:gloo,cuda:gloo"))
    source = {"schema": 1, "encoder": tiny_encoder("pixtral")}
    encoder = attempt(
        row, "compose", lambda: compose(source, overrides=["parallel={mode: data}"], device=where)
    )
    attempt(row, "backends", lambda: str(dist.get_backend_config(dist.group.WORLD)))
    if encoder is not None:
        inputs = {name: tensor.to(where) for name, tensor in sample_inputs(encoder).items()}
        attempt(row, "forward", lambda: str([tuple(part.shape) for part in encoder(**inputs)]))


def out_of_memory(device: str) -> None:
    """A forward that does not fit, in a tower that is spread: which error comes out."""
    import torch
    import torch.distributed as dist

    row = Answer()
    dist.init_process_group("cpu:gloo,cuda:nccl" if device != "cpu" else "gloo")
    spread = attempt(row, "spread", lambda: spread_tower(device, "pixtral"))
    if spread is not None and device != "cpu":
        inputs = large_inputs(spread[1], device)
        attempt(row, "forward before", lambda: spread_error(spread))
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**22) / total)
        attempt(row, "forward that does not fit", lambda: list(spread[0].start(**inputs).wait()))
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
        attempt(row, "forward afterwards", lambda: spread_error(spread))


def large_inputs(encoder: Any, device: str) -> dict[str, Any]:
    import torch

    side = encoder.info.image_size
    pixels = torch.zeros(4096, encoder.info.num_channels, side, side, device=device)
    return {"pixel_values": pixels, "image_sizes": torch.tensor([[side, side]] * len(pixels))}


def spread_tower(device: str, model_type: str, **keys: Any) -> tuple[Any, Any]:
    """A tower on the ranks of the default group, even if that is one rank, which compose takes for none."""
    import torch.distributed as dist

    from vision_composer.parallel.startup import Startup
    from vision_composer.schemas import ParallelConfig

    encoder = tiny(model_type, device=device, **keys)
    ranks = Startup(dist.group.WORLD, encoder.config, ParallelConfig(mode="data"))
    ranks.processor(lambda: encoder.plan.processor)
    ranks.tower(lambda: encoder.tower)
    return ranks.spread(encoder.tower, encoder.preprocessor, encoder.plan), encoder


def spread_error(spread: tuple[Any, Any]) -> float:
    import torch

    parallel, encoder = spread
    inputs = {name: tensor.to(encoder.device) for name, tensor in sample_inputs(encoder).items()}
    with torch.no_grad():
        want = [part.double().cpu() for part in encoder(**inputs)]
        return largest_error([part.cpu() for part in parallel.start(**inputs).wait()], want)


def spread_output_stays(spread: tuple[Any, Any]) -> bool:
    import torch

    parallel, encoder = spread
    inputs = {name: tensor.to(encoder.device) for name, tensor in sample_inputs(encoder).items()}
    with torch.no_grad():
        return output_stays(lambda **batch: parallel.start(**batch).wait(), inputs)


PROBES: dict[str, Callable[[str], None]] = {
    "one rank": one_rank,
    "two ranks": two_ranks,
    "out of memory": out_of_memory,
}


FAMILY_OF_EACH_KIND = (
    "clip_vision_model",
    "qwen2_5_vl_vision",
    "siglip2_vision_model",
    "mllama_vision_model",
)


def conformance(record: Recorder) -> dict[str, Any]:
    """vision_composer.testing's check on the device, for a family of each kind."""
    from vision_composer.testing import check_encoder

    row: dict[str, Any] = {}
    for model_type in FAMILY_OF_EACH_KIND:
        if row and not record.on_gpu:
            break
        begun = time.perf_counter()
        attempt(row, model_type, lambda m=model_type: check_encoder(m, device=record.device))
        row[f"{model_type} s"] = time.perf_counter() - begun
    return row


def calibration(record: Recorder) -> dict[str, Any]:
    """What an image costs by the calibration, beside what one more image costs in a batch."""
    import torch

    from vision_composer.bench import calibrate
    from vision_composer.bench.comparison import noise

    tower = tiny("pixtral", device=record.device)
    rounds = 5 if record.on_gpu else 1
    costs = calibrate(tower, [(side, side) for side in (16, 32, 48, 64)], rounds=rounds)
    with torch.inference_mode():
        times = {}
        for count in (1, 32):
            inputs = noise(tower, [(64, 64)] * count)
            times[count] = microseconds(lambda i=inputs: tower(**i), record.device)
    return {
        "calibrated us per image": costs.seconds_per_image * 1e6,
        "us of one image": times[1],
        "us of one more in a batch": (times[32] - times[1]) / 31,
    }


def flex_limit(record: Recorder) -> list[dict[str, Any]]:
    """Compiled flex_attention with more kinds of inputs than torch may compile for: errors, time, memory."""
    import torch

    from vision_composer.attention import AttentionBackend
    from vision_composer.attention.packed_kernels import packed_kernel
    from vision_composer.attention.segments import Segments

    if not record.on_gpu:
        return [{"flex_attention": "is compiled on a GPU only"}]
    kernel = packed_kernel(AttentionBackend.FLEX_ATTENTION)
    segments = Segments([1024, 1024, 512, 512], record.device)
    rows = []
    with torch._dynamo.config.patch(recompile_limit=2):
        for head_size in (16, 32, 64, 128):
            torch.manual_seed(0)
            shape = (3072, 4, head_size)
            inputs = [torch.randn(shape, device=record.device, dtype=torch.bfloat16) for _ in range(3)]
            want = exact_attention(*(t.double()[None] for t in inputs), lengths=[1024, 1024, 512, 512])[0]
            torch.cuda.reset_peak_memory_stats()
            with torch.no_grad(), quiet() as heard:
                got = kernel(*inputs, segments, scale=head_size**-0.5)
            row = {"head size": head_size, "error": largest_error([got], [want])}
            row["peak MiB"] = torch.cuda.max_memory_allocated() / 2**20
            with torch.no_grad():
                row["us"] = microseconds(
                    partial(kernel, *inputs, segments, scale=head_size**-0.5), record.device
                )
            row["heard"] = " | ".join(text[:200] for text in dict.fromkeys(heard))[:500]
            rows.append(row)
    return rows


def flash_packages(record: Recorder) -> dict[str, Any]:
    """Which are installed, which torch can switch to, and whether they trace whole."""
    import torch
    from torch.nn import attention as torch_attention

    row: dict[str, Any] = {name: installed(name) for name in ("flash-attn", "flash-attn-3", "flash-attn-4")}
    attempt(row, "torch can switch to", lambda: str(torch_attention.list_flash_attention_impls()))
    attempt(row, "torch runs", lambda: str(torch_attention.current_flash_attention_impl()))
    for distribution, backend in (
        ("flash-attn", "flash_attention_2"),
        ("flash-attn-3", "flash_attention_3"),
        ("flash-attn-4", "flash_attention_4"),
    ):
        if row[distribution] == "not installed" or not record.on_gpu:
            continue

        def compiled(backend: str = backend) -> str:
            overrides = ("weights.dtype=bfloat16", f"attn_backend={backend}")
            tower = tiny("qwen2_5_vl_vision", *overrides, device=record.device, compile=True)
            with torch.inference_mode():
                return str([tuple(part.shape) for part in tower(**different_inputs(tower, 1))])

        attempt(row, f"{backend}, compiled", compiled)
    return row


def missing_peers(record: Recorder) -> dict[str, Any]:
    from vision_composer.bench import compare
    from vision_composer.testing import tiny_encoder

    row: dict[str, Any] = {name: installed(name) for name in ("onnxruntime", "onnxruntime-gpu", "timm")}
    source = {"schema": 1, "encoder": tiny_encoder("clip_vision_model")}
    for peer in ("transformers", "timm", "onnxruntime") if record.on_gpu else ("transformers",):
        one = partial(compare, source, against=[peer], rounds=1, device=str(record.device))
        attempt(row, f"bench --against {peer}", one)
    return row


# --- 8. synchronisations ----------------------------------------------------------------------------------


def check_synchronisations(record: Recorder) -> None:
    for model_type in families():
        record(model_type, partial(synchronisations, record, model_type))


def synchronisations(record: Recorder, model_type: str) -> dict[str, Any]:
    """How often the host waits for the device in one forward, and where.

    In the first forward of a batch's sizes, in the second, and in the second with integer inputs on the CPU.
    On the CPU only what would make the host wait is counted.
    """
    import torch

    encoder = tiny(model_type, device=record.device)
    inputs = sample_inputs(encoder)
    moved = {name: tensor.to(record.device) for name, tensor in inputs.items()}
    mixed = {n: t if t.is_floating_point() else inputs[n] for n, t in moved.items()}
    row: dict[str, Any] = {}
    places: Counter[str] = Counter()
    with torch.inference_mode():
        for name, batch in (("first", moved), ("second", moved), ("integers on the CPU", mixed)):
            found: list[Counter[str]] = []
            attempt(row, name, lambda b=batch, f=found: f.append(waits(record, partial(encoder, **b))))
            if found:
                row[name] = sum(found[0].values())
                places = found[0] if name == "second" else places
    row["where"] = ", ".join(f"{place} {n}x" for place, n in places.most_common(8))
    return row


def waits(record: Recorder, run: Callable[[], Any]) -> Counter[str]:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    if record.on_gpu:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        found = [w for w in caught if "synchronizing" in str(w.message)]
        return Counter(f"{'/'.join(Path(w.filename).parts[-2:])}:{w.lineno}" for w in found)
    counted: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function._schema.name in ("aten::_local_scalar_dense", "aten::nonzero"):
                counted[function._schema.name] += 1
            return function(*args, **(kwargs or {}))

    with Counting():
        run()
    return counted


# --- the reports ------------------------------------------------------------------------------------------


def write_reports(log: Path, output: Path) -> None:
    """The log as one JSON document, and as tables."""
    head, *past = entries(log)
    sections: dict[str, dict[str, Any]] = {name: {"items": {}} for name in head["shares"]}
    for entry in past:
        section = sections[entry["section"]]
        if entry["event"] == "section":
            section.setdefault("started", entry["time"])
        elif entry["event"] == "over":
            section["seconds"] = entry["time"] - section.get("started", entry["time"])
        else:
            kept = {k: v for k, v in entry.items() if k not in ("event", "section", "item", "time")}
            section["items"][entry["item"]] = kept or {"ok": None}  # only begun
    result = {"format": "gpu_check 1", "device": head["device"], "budget": head["budget"]}
    result |= {"seconds": time.time() - head["time"], "sections": sections}
    with suppress(OSError):
        result["stderr"] = (output / STDERR).read_text(encoding="utf-8", errors="replace")[-4000:]
    for name, text in (("json", json.dumps(result, indent=1, default=str)), ("md", markdown(result))):
        path = output / f"gpu_check.{name}"
        part = path.with_suffix(f".{name}.part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)


def markdown(result: Mapping[str, Any]) -> str:
    lines = [f"# vision-composer on {result['device']}", ""]
    lines += [f"{result['seconds']:.0f} s of {result['budget']:.0f} s.", ""]
    for number, (name, section) in enumerate(result["sections"].items(), start=1):
        took = f", {section['seconds']:.0f} s" if "seconds" in section else ", not finished"
        lines += [f"## {number}. {name}{took}", ""]
        items = section["items"]
        missed = [item for item, entry in items.items() if entry.get("error") == "no time left"]
        for columns, rows in tables({k: v for k, v in items.items() if k not in missed}):
            shown = [
                columns,
                ["---"] * len(columns),
                *([cell(row.get(c, "")) for c in columns] for row in rows),
            ]
            lines += [f"| {' | '.join(cells)} |" for cells in shown] + [""]
        if missed:
            lines += [f"No time left for: {', '.join(missed)}.", ""]
        for item, entry in items.items():
            text = entry.get("traceback") or entry.get("tail")
            if text and item not in missed:
                lines += [f"<details><summary>{item}</summary>", "", "```", text.rstrip(), "```"]
                lines += ["", "</details>", ""]
    if result.get("stderr"):
        lines += ["## What the processes said", "", "```", result["stderr"].rstrip(), "```", ""]
    return "\n".join(lines)


def tables(items: Mapping[str, Any]) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """Columns and rows: one table for neighbours of which one has at least half of the other's columns."""
    groups: list[tuple[list[str], list[dict[str, Any]]]] = []
    for item, entry in items.items():
        if not entry.get("ok"):
            found = [{"error": entry.get("error", "running"), "s": entry.get("seconds")}]
        else:
            result = entry["result"]
            found = result if isinstance(result, list) else [result]
        rows = [{"": item, **row} for row in found]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        shared = set(columns) & set(groups[-1][0]) if groups else set()
        if len(shared - {""}) * 2 >= len(columns) - 1:
            groups[-1] = (list(dict.fromkeys([*groups[-1][0], *columns])), groups[-1][1] + rows)
        else:
            groups.append((columns, rows))
    yield from groups


def cell(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "**no**", None: "-"}[value]
    if isinstance(value, float):
        if value == 0 or not math.isfinite(value):
            return f"{value:g}"
        return f"{value:.1e}" if abs(value) < 0.01 or abs(value) >= 1e6 else f"{value:.4g}"
    if isinstance(value, (list, dict)):
        value = json.dumps(value, default=str)
    return str(value)[:400].replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
