"""What the benchmarks share: options, the config, and what they hand back."""

import argparse
import resource
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import DictAction

from mmstremn.models import VOSegmentor, VOSStream
from mmstremn.utils.timing import peak_resident_bytes

MAX_OBJECTS = 254


class Outcome(NamedTuple):
    """What a benchmark found.

    Attributes:
        device: Its name.
        figures: Everything measured, as JSON can hold it.
        failures: A line for every bound that is exceeded.
    """

    device: str
    figures: dict
    failures: list[str]


def add_arguments(parser: argparse.ArgumentParser, turns: int) -> None:
    """The options of every benchmark; ``turns`` is the default number."""
    parser.add_argument('--turns', type=int, default=turns, help='timed turns (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--check', action='store_true', help='exit with 1 where a bound is exceeded')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')


def add_model_arguments(parser: argparse.ArgumentParser, turns: int) -> None:
    """:func:`add_arguments`, and the options of benchmarks of a config's model."""
    add_arguments(parser, turns)
    parser.add_argument('--threads', type=int, help="of PyTorch (default: PyTorch's own choice)")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')


def add_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--size', type=int, nargs=2, default=[240, 427], metavar=('H', 'W'), help='of the frames'
    )


def check_objects(numbers: list[int], width: int) -> None:
    """Each object is a stripe of the first frame, beside the background's.

    Raises:
        ValueError: There are none, or more than fit.
    """
    most = min(MAX_OBJECTS, width - 1)
    if not all(1 <= number <= most for number in numbers):
        raise ValueError(f'--objects: expected numbers in 1..{most}, got {numbers}')


def device_of(args: argparse.Namespace) -> torch.device:
    return torch.device(args.device or ('cuda' if torch.cuda.is_available() else 'cpu'))


def random_frame(rng: np.random.Generator, size: list[int]) -> np.ndarray:
    """(H, W, 3) uint8 noise."""
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def begin_stream(model: VOSegmentor, frame: np.ndarray, objects: int) -> VOSStream:
    """A stream whose first masks are ``objects`` upright stripes of a frame (H, W, 3)."""
    height, width = frame.shape[:2]
    stripes = np.arange(width) * (objects + 1) // width
    return model.start(frame, np.broadcast_to(stripes.astype(np.uint8), (height, width)))


def resident_bytes() -> int:
    """Held by this process now; where the system does not tell, the most so far."""
    file = Path('/proc/self/statm')
    return (
        int(file.read_text('utf-8').split()[1]) * resource.getpagesize()
        if file.is_file()
        else peak_resident_bytes()
    )
