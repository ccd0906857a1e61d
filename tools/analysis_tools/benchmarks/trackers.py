"""A tracker with our memory beside a session of transformers: time a frame, and size as the video grows.

Both run the same modules with the same weights on the same random frames, each frame through the image
encoder once. Their frames are timed in turns, in changing order; the ratio is the median over the turns of
ours to theirs, its bound 0.5. Then ``--frames`` frames of one object are streamed, and ``--session-frames``
into a session; reported are the bytes of our state and the resident bytes of the process after a tenth of the
frames and after all. Ours must stay within 1.00 and 1.02.

The operations of a frame of ours are counted by ``torch.utils.flop_counter``, by part of the tracker.
"""

import argparse
import re
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from benchmarks.shared import (
    Outcome,
    add_model_arguments,
    begin_stream,
    check_objects,
    random_frame,
    resident_bytes,
)
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from mmstremn.apis import init_segmentor
from mmstremn.utils.shipped_files import find_config, read_config
from mmstremn.utils.timing import describe_device, median_ratio, time_alternately

MAX_RATIO, MAX_STATE, MAX_RESIDENT = 0.5, 1.0, 1.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('config', help='config file of a Sam2Segmentor')
    parser.add_argument('--objects', type=int, default=8, metavar='O')
    parser.add_argument('--warm-up', type=int, default=18, help='frames before the first turn')
    parser.add_argument('--frames', type=int, default=10000, help='of our long stream; 0: none')
    parser.add_argument('--session-frames', type=int, default=2000, help='of their long session')
    add_model_arguments(parser, turns=20)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: A number of objects is out of range.
    """
    find_config(args.config)
    check_objects([args.objects], 64)


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print the table."""
    torch.manual_seed(args.seed)
    model = init_segmentor(read_config(args.config, args.cfg_options), device=args.device)
    device = describe_device(next(model.parameters()).device)
    result = dict(time=measure_time(model, args))
    console.print(f'{device}: a frame with {args.objects} objects takes {told(result["time"])}')
    if args.frames:
        result['size'] = measure_size(model, args)
        console.print(size_table(result['size']))
    return Outcome(device, result, failures_of(result))


def told(time: dict) -> str:
    """The times in a sentence."""
    return (
        f'{time["ours_ms"]:.1f} ms with our memory, {time["session_ms"]:.1f} ms in a session of '
        f'transformers: {time["ratio"]:.2f} x (of ours the image encoder takes {time["encoder_ms"]:.1f} ms)'
    )


class Session:
    """A session of transformers that is fed like a stream.

    Args:
        model: A Sam2Segmentor, whose tracker is used.
        frame: (H, W, 3) the first one.
        objects: Their first masks are upright stripes, as ``begin_stream`` gives them.
    """

    def __init__(self, model, frame: np.ndarray, objects: int):
        import transformers

        name = type(model.tracker).__name__.removesuffix('Model')
        self.model, self.tracker = model, model.tracker
        self.session = getattr(transformers, f'{name}InferenceSession')(dtype=torch.float32)
        side = model.image_size
        stripes = torch.arange(side) * (objects + 1) // side
        for index in range(objects):
            place = self.session.obj_id_to_idx(index + 1)
            mask = (stripes == index + 1).float().expand(1, 1, side, side)
            self.session.add_mask_inputs(place, 0, mask)
        self.session.obj_with_new_inputs = list(range(1, objects + 1))
        self.step(frame)

    def step(self, frame: np.ndarray) -> None:
        """The next frame, as transformers streams it."""
        pixels = self.model.prepare(torch.from_numpy(frame))[0]
        self.tracker(self.session, frame=pixels)


def measure_time(model, args: argparse.Namespace) -> dict:
    """Milliseconds a frame, in turns."""
    rng = np.random.default_rng(args.seed)
    frame = random_frame(rng, [model.image_size, model.image_size])
    ours, session = begin_stream(model, frame, args.objects), Session(model, frame, args.objects)
    for _ in range(args.warm_up):
        ours.step(frame)
        session.step(frame)
    device = next(model.parameters()).device
    image = model.prepare(torch.from_numpy(frame).to(device))
    functions: dict[str, Callable] = dict(
        ours=partial(ours.step, frame),
        session=partial(session.step, frame),
        encoder=torch.no_grad()(partial(model.encode_frame, image)),
    )
    turns = time_alternately(functions, args.turns, device)
    medians = {f'{name}_ms': statistics.median(times) for name, times in turns.items()}
    return medians | dict(
        objects=args.objects,
        ratio=median_ratio(turns['ours'], turns['session']),
        gflop=count_operations(model, partial(ours.step, frame)),
        turns=turns,
    )


def count_operations(model, step: Callable[[], object]) -> dict[str, float]:
    """1e9 operations of a frame, by part of the tracker; products inside fused attention are not counted.

    Args:
        model: A Sam2Segmentor.
        step: Computes a frame.
    """
    with FlopCounterMode(model.tracker, depth=8, display=False) as counter:
        step()
    counts = {place: sum(by_kind.values()) / 1e9 for place, by_kind in counter.get_flop_counts().items()}

    def of(part: str, inner: str = '') -> float:
        """Of a part of the tracker, whose places begin with its class; or of some modules inside."""
        place = type(getattr(model.tracker, part)).__name__ + inner
        return sum(number for name, number in counts.items() if re.fullmatch(place, name))

    return dict(
        all=counts['Global'],
        image_encoder=of('vision_encoder'),
        memory_attention=of('memory_attention'),
        feed_forward=of('memory_attention', r'\.layers\.\d+\.linear\d'),
        cross_attention_projections=of('memory_attention', r'\.layers\.\d+\.cross_attn_image\.\w_proj'),
        first_self_attention=of('memory_attention', r'\.layers\.0\.self_attn'),
        memory_encoder=of('memory_encoder'),
        mask_decoder=of('mask_decoder'),
    )


def measure_size(model, args: argparse.Namespace) -> dict:
    """Bytes after a tenth of the frames and after all, and their ratios."""
    rng = np.random.default_rng(args.seed)
    frames = [random_frame(rng, [model.image_size, model.image_size]) for _ in range(8)]
    ours = begin_stream(model, frames[0], 1)
    result = dict(ours=grow(ours.step, frames, args.frames, lambda: ours.nbytes))
    session = Session(model, frames[0], 1)
    result['session'] = grow(
        session.step, frames, args.session_frames, lambda: session_bytes(session.session)
    )
    return result


def grow(
    step: Callable[[np.ndarray], object], frames: list[np.ndarray], number: int, size: Callable[[], int]
) -> dict:
    """Sizes while ``number`` frames pass."""
    marks = []
    for index in range(1, number + 1):
        step(frames[index % len(frames)])
        if index * 10 % number == 0:
            marks.append(dict(frame=index, state=size(), resident=resident_bytes()))
    first, last = marks[0], marks[-1]
    return dict(
        frames=number,
        marks=marks,
        state_ratio=last['state'] / first['state'],
        resident_ratio=last['resident'] / first['resident'],
    )


def session_bytes(session) -> int:
    """Bytes of the tensors that a session holds: frames and outputs."""
    outputs = [
        tensor
        for per_object in session.output_dict_per_obj.values()
        for by_frame in per_object.values()
        for output in by_frame.values()
        for tensor in output.values()
        if isinstance(tensor, torch.Tensor)
    ]
    return sum(tensor.nbytes for tensor in [*outputs, *session.processed_frames.values()])


def failures_of(result: dict) -> list[str]:
    """A line for every bound that is exceeded."""
    found = [('ratio of times', result['time']['ratio'], MAX_RATIO)]
    if 'size' in result:
        ours = result['size']['ours']
        found += [
            ('ratio of state bytes', ours['state_ratio'], MAX_STATE),
            ('ratio of resident bytes', ours['resident_ratio'], MAX_RESIDENT),
        ]
    return [
        f'the {name} is {value:.3f}, expected at most {most}' for name, value, most in found if value > most
    ]


def size_table(size: dict) -> Table:
    """A row for our stream and one for their session."""
    table = Table(title='size as the video grows (last to first tenth of the frames)', box=box.SIMPLE_HEAD)
    for name in ('', 'frames', 'state MB', 'state', 'process MB', 'process'):
        table.add_column(name, justify='right')
    for name, row in size.items():
        last = row['marks'][-1]
        cells = [row['frames'], last['state'] / 2**20, row['state_ratio'], last['resident'] / 2**20]
        texts = [str(cells[0]), *(f'{cell:.2f}' for cell in [*cells[1:], row['resident_ratio']])]
        table.add_row(name, *texts)
    return table
