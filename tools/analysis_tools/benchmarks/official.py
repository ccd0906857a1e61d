"""Time a frame of STCN, XMem or Cutie against their public code.

FOLDER is a clone of hkchengrex/STCN, hkchengrex/XMem or hkchengrex/Cutie. Both networks hold the same random
weights and segment the same noise, one stream for each number of objects. A turn is five frames, of which one
is stored; turns of ours and of the public code alternate. Reported are the medians over the turns of one to
the other, and the largest difference of the first frame's probabilities, which says that both do the same.
"""

import argparse
import importlib
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from benchmarks.public_cutie import public_cutie
from benchmarks.shared import Outcome, add_model_arguments, add_size, begin_stream, check_objects
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.convert import convert
from mmstremn.checkpoints.matching import without_backbone_weights
from mmstremn.checkpoints.public_models import PUBLIC
from mmstremn.models import fuse_conv_bn
from mmstremn.utils.shipped_files import read_config
from mmstremn.utils.timing import describe_device, median_ratio, time_alternately

FRAMES = 5  # of a turn: both store every 5th
XMEM = dict(
    mem_every=FRAMES,
    deep_update_every=-1,
    enable_long_term=True,
    enable_long_term_count_usage=True,
    hidden_dim=64,
    key_dim=64,
    value_dim=512,
    top_k=30,
    max_mid_term_frames=10,
    min_mid_term_frames=5,
    num_prototypes=128,
    max_long_term_elements=10000,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument('model', choices=list(STREAMS))
    parser.add_argument('folder', type=Path, help='clone of the public code')
    parser.add_argument('--objects', type=int, nargs='+', default=[1, 3, 8], metavar='O')
    parser.add_argument('--warm-up', type=int, default=2, metavar='TURNS', help='turns before the first')
    parser.add_argument('--fuse', action='store_true', help='fold our batch norms into convolutions')
    parser.add_argument('--precision', choices=['float32', 'bfloat16'], default='float32', help='of ours')
    parser.add_argument(
        '--public-precision',
        choices=['float32', 'bfloat16'],
        default='float32',
        help='of the public code, which has no such option: under autocast (default: float32)',
    )
    add_size(parser)
    add_model_arguments(parser, turns=5)


def check_arguments(args: argparse.Namespace) -> None:
    """Check the arguments.

    Raises:
        FileNotFoundError: FOLDER is no clone of the public code.
        ValueError: A number of objects is out of range, or a side that is no multiple of 16.
    """
    file = STREAMS[args.model].file
    if not (args.folder / file).is_file():
        raise FileNotFoundError(f'{args.folder}: expected a clone of the public code, with {file}')
    if any(side % 16 for side in args.size):
        raise ValueError(f'--size: expected multiples of 16, which both pad to, got {args.size}')
    check_objects(args.objects, args.size[1])


def run(args: argparse.Namespace, console: Console) -> Outcome:
    """Measure, and print the table."""
    torch.manual_seed(args.seed)
    sys.path.insert(0, str(args.folder))
    network = public_network(args)
    model = our_model(args, network)
    device = describe_device(torch.device('cpu'))
    rows = {objects: measure(args, model, network, objects) for objects in args.objects}
    table = Table('objects', 'ours, ms', 'public, ms', 'ratio', 'difference', box=box.MARKDOWN)
    for objects, row in rows.items():
        cells = (f'{row[key]:.0f}' for key in ('ours', 'public'))
        table.add_row(str(objects), *cells, f'{row["ratio"]:.3f}', f'{row["difference"]:.1e}')
    console.print(table)
    return Outcome(device, dict(model=args.model, objects={str(o): row for o, row in rows.items()}), [])


def our_model(args: argparse.Namespace, network: nn.Module):
    """Ours, with the weights of the public network."""
    architecture = PUBLIC[args.model.partition('_')[0]]
    configs = [config for _, config in architecture.configs if args.model in config]
    cfg = read_config(configs[-1], args.cfg_options)
    cfg.model = without_backbone_weights(cfg.model)
    model = init_segmentor(cfg, device='cpu', precision=args.precision)
    model.load_state_dict(convert(network.state_dict(), architecture, model))
    if args.fuse:
        fuse_conv_bn(model)
    return model


@torch.no_grad()
def measure(args: argparse.Namespace, model, network, objects: int) -> dict:
    """The figures of one number of objects."""
    rng = np.random.default_rng(args.seed)
    frames = [rng.integers(0, 256, (*args.size, 3), dtype=np.uint8) for _ in range(FRAMES)]
    tensors = [torch.as_tensor(frame).permute(2, 0, 1)[None].float() for frame in frames]
    stream = STREAMS[args.model]
    images = [stream.prepare(model, tensor) for tensor in tensors]
    ours = begin_stream(model, frames[0], objects)
    stripes = torch.as_tensor(np.arange(args.size[1]) * (objects + 1) // args.size[1]).expand(*args.size)
    masks = torch.stack([stripes == number + 1 for number in range(objects)]).float()
    autocast = torch.autocast('cpu', torch.bfloat16, enabled=args.public_precision == 'bfloat16')
    step = autocast(stream(network, images[0], masks).step)
    difference = (ours.probabilities(frames[1]) - step(images[1])).abs().max()

    def play(function: Callable, inputs: list) -> None:
        for value in inputs:
            function(value)

    sides = dict(ours=partial(play, ours.step, frames), public=partial(play, step, images))
    for _ in range(args.warm_up):
        for side in sides.values():
            side()
    times = time_alternately(sides, args.turns, torch.device('cpu'))
    medians = {name: statistics.median(values) / FRAMES for name, values in times.items()}
    ratio = median_ratio(times['ours'], times['public'])
    return dict(medians, ratio=ratio, difference=float(difference), times=times)


def public_network(args: argparse.Namespace) -> nn.Module:
    """The public network for evaluation, random weights; its backbones' weights are not downloaded."""
    if args.model == 'cutie_small':
        network, network.options = public_cutie(args.folder, args.model)
    else:
        network = _without_downloads(args.model)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.weight.data.fill_(0.2)  # residual branches grow without a limit where every norm gives 1
    if args.model != 'cutie_small':
        network.key_proj.key_proj.weight.data.mul_(0.1)  # public affinities overflow from 88 on
    return network.eval()


def _without_downloads(model: str) -> nn.Module:
    def random_weights(url: str, *_, **__) -> dict[str, Tensor]:
        return getattr(torchvision.models, Path(url).name.partition('-')[0])().state_dict()

    with (
        mock.patch('torch.utils.model_zoo.load_url', random_weights),
        mock.patch('torchvision.models._api.load_state_dict_from_url', random_weights),
    ):
        if model == 'stcn':
            return importlib.import_module('model.eval_network').STCN()
        return importlib.import_module('model.network').XMem(dict(XMEM))


class StcnStream:
    """The steps of the public ``InferenceCore`` of STCN, a frame at a time and on the CPU.

    Args:
        network: The public network.
        image: (1, 3, H, W), the first frame, as :meth:`prepare` gives it.
        masks: (O, H, W), its masks.

    Attributes:
        file: That a clone of the public code has.
    """

    file = 'model/network.py'

    @staticmethod
    def prepare(model: nn.Module, frame: Tensor) -> Tensor:
        """What the public code takes of a frame (1, 3, H, W) of numbers up to 255."""
        return model.data_preprocessor.normalize(frame)

    def __init__(self, network: nn.Module, image: Tensor, masks: Tensor):
        self.network, self.index = network, 0
        self.aggregate = importlib.import_module('model.aggregate').aggregate
        self.bank = importlib.import_module('inference_memory_bank').MemoryBank(k=len(masks), top_k=20)
        key, _, feature, _, _ = network.encode_key(image)
        self._store(image, key, feature, self.aggregate(masks[:, None], keep_bg=True))

    def step(self, image: Tensor) -> Tensor:
        """Probabilities (1 + O, H, W) of the next frame."""
        self.index += 1
        key, thin, feature, at_8, at_4 = self.network.encode_key(image)
        masks = self.network.segment_with_query(self.bank, at_8, at_4, key, thin)
        probabilities = self.aggregate(masks, keep_bg=True)
        if self.index % FRAMES == 0:
            self._store(image, key, feature, probabilities)
        probabilities.argmax(0)
        return probabilities[:, 0]

    def _store(self, image: Tensor, key: Tensor, feature: Tensor, probabilities: Tensor) -> None:
        value = self.network.encode_value(image, feature, probabilities[1:])
        self.bank.add_memory(key.unsqueeze(2), value)


class XmemStream:
    """The public ``InferenceCore`` of XMem, as :class:`StcnStream`."""

    file, prepare = StcnStream.file, staticmethod(StcnStream.prepare)

    def __init__(self, network: nn.Module, image: Tensor, masks: Tensor):
        self.core = importlib.import_module('inference.inference_core').InferenceCore(network, dict(XMEM))
        self.core.set_all_labels(list(range(1, len(masks) + 1)))
        self.core.step(image[0], masks, self.core.all_labels)

    def step(self, image: Tensor) -> Tensor:
        """Probabilities (1 + O, H, W) of the next frame."""
        probabilities = self.core.step(image[0])
        probabilities.argmax(0)
        return probabilities


class CutieStream:
    """The public ``InferenceCore`` of Cutie, as :class:`StcnStream`."""

    file = 'cutie/model/cutie.py'

    def __init__(self, network: nn.Module, image: Tensor, masks: Tensor):
        core = importlib.import_module('cutie.inference.inference_core').InferenceCore
        self.core = core(network, network.options)
        numbers = torch.arange(1, len(masks) + 1)
        self.core.step(image[0], (masks * numbers[:, None, None]).sum(0).long(), numbers.tolist())

    @staticmethod
    def prepare(model: nn.Module, frame: Tensor) -> Tensor:
        """It normalises frames itself, from 0 to 1."""
        return frame / 255

    def step(self, image: Tensor) -> Tensor:
        """Probabilities (1 + O, H, W) of the next frame."""
        probabilities = self.core.step(image[0])
        probabilities.argmax(0)
        return probabilities


STREAMS = dict(stcn=StcnStream, xmem=XmemStream, cutie_small=CutieStream)
