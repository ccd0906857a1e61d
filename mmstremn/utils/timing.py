"""Timing on a shared machine, and what must be known to measure again."""

import argparse
import json
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mmengine
import numpy as np
import timm
import torch

import mmstremn


def start_clock(device: torch.device) -> float:
    """The time now in seconds, when the device has nothing left to do."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()


def elapsed(begin: float, device: torch.device) -> float:
    """Seconds since ``begin`` until the device has done its work."""
    return start_clock(device) - begin


def time_alternately(
    functions: dict[str, Callable], turns: int, device: torch.device
) -> dict[str, list[float]]:
    """Milliseconds of each function in each turn, by name; a first turn is not counted.

    Every turn calls each function once, in changing order: whatever else the machine does meets all of them
    alike.
    """
    times = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name in list(functions)[:: -1 if turn % 2 else 1]:
            begin = start_clock(device)
            functions[name]()
            seconds = elapsed(begin, device)
            if turn:
                times[name].append(1000 * seconds)
    return times


def median_ratio(times: list[float], others: list[float]) -> float:
    """The median over the turns of one time to the other."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def peak_resident_bytes() -> int:
    """The most that this process ever held.

    Linux hands ``ru_maxrss`` down from the process that started this one, so there the kernel's own number is
    read.
    """
    status = Path('/proc/self/status')
    if status.is_file():
        return 1024 * int(status.read_text('utf-8').split('VmHWM:')[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def command_line(tool: str, argv: list[str] | None) -> str:
    """The command that ran ``tool`` with ``argv`` (None: those of this process)."""
    return shlex.join(['python', tool, *(sys.argv[1:] if argv is None else argv)])


def describe_device(device: torch.device) -> str:
    """Its name."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{platform.machine()} CPU, {torch.get_num_threads()} threads'


def describe(args: argparse.Namespace, device: str, options: tuple[str, ...]) -> dict:
    """What is needed to measure again: ``options`` of the arguments, the device and the versions."""
    modules = (mmstremn, torch, timm, mmengine, np)
    versions = dict(python=platform.python_version()) | {
        module.__name__: module.__version__ for module in modules
    }
    return {name: getattr(args, name) for name in options} | dict(device=device, versions=versions)


def save_figures(args: argparse.Namespace, device: str, options: tuple[str, ...], figures: dict) -> None:
    """Write ``figures`` and what :func:`describe` says as JSON to ``args.out``; None: nothing is written."""
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        found = describe(args, device, options) | figures
        args.out.write_text(json.dumps(found, indent=2, default=str) + '\n', 'utf-8')
