"""Does the gradient of a choice say what the choice does to the loss? Two ways to get one, beside the true
effect::

    python studies/selector_gradient/run.py CONFIG CHECKPOINT --clips 100 --out FILE.json --plot
    FILE.png

Clips are drawn as in training; every frame's value is made from its true masks. Slots are overwritten first
in, first out but for one decision: there, every alternative that the gates leave (each slot, or skipping) is
tried, and its true effect is the training loss summed over the frames that follow. Beside it stands the
gradient of that loss by the choice, averaged over the alternatives that may have been chosen, (i) of blending
the slot and the frame, (ii) of the history.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.apis import init_segmentor
from mmstremn.comparison.row_files import file_sha256
from mmstremn.datasets import SampleRequest
from mmstremn.memory import FIFOSelector, SlotMemory, SlotState
from mmstremn.memory.slots.selectors import one_hot_max
from mmstremn.models.segmentation.clip import stack_masks
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.models.segmentation.segmentor import VOSegmentor
from mmstremn.registry import DATASETS
from mmstremn.utils.timing import command_line, describe
from studies.shared import repeat_entry, repeat_features

NOTHING_AT_STAKE = 1e-3


class BranchingFIFO(FIFOSelector):
    """First in, first out, but for one step, at which row i of the batch takes alternative i.

    Args:
        step: The one.
        number: Alternatives: slots and skipping.
    """

    def __init__(self, step: int, number: int):
        super().__init__()
        self.step = step
        self.choice = torch.nn.Parameter(torch.eye(number)[:, None])  # (B, 1, S + 1), B = S + 1
        self.allowed = None

    def choose(self, logits: Tensor, state: SlotState) -> Tensor:
        """One-hot (B, 1, S + 1)."""
        if state.step != self.step:
            return one_hot_max(logits)
        self.allowed = logits[0, 0] > float('-inf')
        return self.choice


METHODS = dict(blending='blend', history='history')  # GumbelSelector.gradient


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The gradient of a selector's choices beside their true effects"
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--clips', type=int, default=100, metavar='N')
    parser.add_argument('--decisions', type=int, default=3, metavar='D', help='of each clip, spread evenly')
    parser.add_argument('--horizon', type=int, default=6, metavar='H', help='frames whose loss counts')
    parser.add_argument(
        '--at-stake',
        type=float,
        default=NOTHING_AT_STAKE,
        metavar='LOSS',
        help=(
            'leave out decisions whose alternatives differ by less in the summed loss (default: %(default)s)'
        ),
    )
    parser.add_argument('--seed', type=int, default=0, help='of the clips')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write everything as JSON')
    parser.add_argument('--plot', type=Path, metavar='FILE')
    parser.add_argument('--device', help='default: the GPU if there is one')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    args = parser.parse_args(argv)
    for name in ('clips', 'decisions', 'horizon'):
        if getattr(args, name) < 1:
            parser.error(f'--{name} must be at least 1, got {getattr(args, name)}')
    args.command = command_line('studies/selector_gradient/run.py', argv)
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    console = Console(file=sys.stdout)
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(args.cfg_options)
        model = init_segmentor(cfg, args.checkpoint, args.device)
        decisions = measure(model, cfg, args, console)
        summary = summarise(decisions, args.at_stake)
    except (OSError, ValueError, RuntimeError) as error:
        print(f'selector_gradient: {error}', file=sys.stderr)
        return 1
    console.print(table_of(summary, args.horizon))
    if args.out is not None:
        options = ('command', 'config', 'checkpoint', 'clips', 'decisions', 'horizon', 'seed')
        about = describe(args, next(model.parameters()).device.type, options)
        about |= dict(checkpoint_sha256=file_sha256(args.checkpoint), slots=train_slots(model.memory))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(about | dict(summary=summary, each=decisions)) + '\n')
    if args.plot is not None:
        plot(decisions, summary, args.plot, args.at_stake)
    return 0


def train_slots(memory: SlotMemory) -> int:
    """S in training."""
    return memory.train_slots or memory.num_slots


def measure(model: VOSegmentor, cfg: Config, args: argparse.Namespace, console: Console) -> list[dict]:
    """Every decision of every clip.

    Raises:
        ValueError: The memory has no slots to choose from, or the clips are too short.
    """
    if not isinstance(model.memory, SlotMemory):
        raise ValueError(f'the memory must be a SlotMemory, got {type(model.memory).__name__}')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmstremn')):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    first, last = train_slots(model.memory), dataset.clip_length - 1 - args.horizon
    if last < first:
        raise ValueError(
            f'clips of {dataset.clip_length} frames are too short for {first} slots and {args.horizon} '
            'frames after a '
            f'decision: at least {first + 1 + args.horizon} are needed'
        )
    steps = sorted({int(step) for step in np.linspace(first, last, args.decisions).round()})
    decisions = []
    with console.status('') as status:
        for clip in range(args.clips):
            status.update(f'Clip {clip + 1} of {args.clips}')
            item = dataset[
                SampleRequest(clip, args.seed * 1_000_000 + 10 * clip)
            ]  # a seed may be followed by two others
            frames = encode(model, item)
            for step in steps:
                decisions.append(dict(clip=clip, step=step) | decide(model, frames, step, args.horizon))
    return decisions


@torch.no_grad()
def encode(model: VOSegmentor, item: dict) -> dict:
    """A clip once through the encoders: its frames' features and entries, and what the loss needs."""
    data = model.data_preprocessor(
        dict(inputs=[item['inputs']], data_samples=[item['data_samples']]), training=True
    )
    inputs, samples = data['inputs'], data['data_samples']
    target, present = stack_masks(samples, inputs.shape[-2:])
    ids = torch.arange(1, present.shape[1] + 1, device=target.device).view(1, -1, 1, 1)
    clip = dataclasses.replace(model.encode_frame(inputs.flatten(0, 1)), present=present)
    features = [clip.frame(index, inputs.shape[1]) for index in range(inputs.shape[1])]
    truth = [
        model.accept(None, GivenMasks(target[:, index, None] == ids)) for index in range(inputs.shape[1])
    ]
    entries = [
        model.encode_value(f, t, index == 0) for index, (f, t) in enumerate(zip(features, truth, strict=True))
    ]
    return dict(features=features, entries=entries, target=target, present=present)


def decide(model: VOSegmentor, frames: dict, step: int, horizon: int) -> dict:
    """The true effects of the alternatives at one step, and the gradients of each method, alternative by
    alternative."""
    gradients = {}
    for name, method in METHODS.items():
        selector = BranchingFIFO(step, train_slots(model.memory) + 1).to(frames['target'].device)
        selector.gradient = method
        memory = SlotMemory(
            selector.choice.shape[-1] - 1,
            selector,
            model.memory.reader,
            model.memory.gates,
            per_object_key=model.memory.per_object_key,
            align=model.memory.align,
            fusion=model.memory.fusion,
        ).train()
        losses = losses_after(model, memory, frames, step, horizon)
        (gradient,) = torch.autograd.grad(losses[selector.allowed].sum(), selector.choice)
        gradients[name] = rounded(gradient[selector.allowed, 0][:, selector.allowed].mean(0))
    return dict(effects=rounded(losses.detach()[selector.allowed]), gradients=gradients)


def rounded(values: Tensor) -> list[float]:
    """Six digits, which is what float32 has."""
    return [float(f'{value:.6g}') for value in values.tolist()]


def losses_after(model: VOSegmentor, memory: SlotMemory, frames: dict, step: int, horizon: int) -> Tensor:
    """(S + 1,) the loss summed over the ``horizon`` frames after ``step``, for each alternative."""
    rows = memory.num_slots + 1
    state, logits = None, []
    for index, (entry, features) in enumerate(
        zip(frames['entries'][: step + horizon], frames['features'], strict=False)
    ):
        if index > step:
            state = read_and_decode(model, memory, state, features, logits)
        entry = repeat_entry(entry, rows)
        state = memory.init(entry) if state is None else state
        state = memory.write(state, entry)
    read_and_decode(model, memory, state, frames['features'][step + horizon], logits)
    logits, target = torch.stack(logits, 1), frames['target'][:, step + 1 : step + horizon + 1]
    losses = [model.loss_function(logits[row, None], target, frames['present']) for row in range(rows)]
    return horizon * torch.stack([sum(loss.values()) for loss in losses])


def read_and_decode(
    model: VOSegmentor, memory: SlotMemory, state: SlotState, features, logits: list
) -> SlotState:
    """Append a frame's logits (S + 1, 1 + O, H, W), one row for each alternative; the state after the
    read."""
    features = repeat_features(features, memory.num_slots + 1)
    readout, state = memory.read(state, features.query)
    logits.append(model.decode(readout, features).logits)
    return state


def summarise(decisions: list[dict], at_stake: float = NOTHING_AT_STAKE) -> dict:
    """Means over decisions in which something is at stake; correlations are over the alternatives of one
    decision.

    Raises:
        ValueError: Nothing is at stake anywhere.
    """
    spreads = np.array([np.ptp(decision['effects']) for decision in decisions])
    counted = [decision for decision, spread in zip(decisions, spreads, strict=True) if spread >= at_stake]
    if not counted:
        raise ValueError(
            f'no decision changes the loss by {at_stake} or more: take more clips or another model'
        )
    summary = dict(
        decisions=len(counted),
        nothing_at_stake=len(decisions) - len(counted),
        clips=len({decision['clip'] for decision in counted}),
        loss=mean_and_error([np.mean(decision['effects']) for decision in counted]),
        spread=mean_and_error(spreads[spreads >= at_stake]),
        chance_of_best=float(np.mean([1 / len(decision['effects']) for decision in counted])),
        methods={},
    )
    for name in METHODS:
        pairs = [
            (np.array(decision['effects']), np.array(decision['gradients'][name])) for decision in counted
        ]
        summary['methods'][name] = dict(
            correlation=mean_and_error([correlation(*pair) for pair in pairs]),
            finds_best=mean_and_error(
                [float(effects.argmin() == gradient.argmin()) for effects, gradient in pairs]
            ),
            gain=mean_and_error([effects.mean() - effects[gradient.argmin()] for effects, gradient in pairs]),
        )
    return summary


def correlation(effects: np.ndarray, gradient: np.ndarray) -> float:
    """Pearson's; 0 for a gradient that prefers nothing."""
    return float(np.corrcoef(effects, gradient)[0, 1]) if np.ptp(gradient) > 0 else 0.0


def mean_and_error(values) -> dict:
    """The mean and its standard error (0 for one value)."""
    values = np.asarray(values, dtype=float)
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return dict(mean=float(values.mean()), error=float(error))


def table_of(summary: dict, horizon: int) -> Table:
    """For the terminal."""
    spread, loss = (
        f'{summary[name]["mean"]:.3f} ± {summary[name]["error"]:.3f}' for name in ('spread', 'loss')
    )
    title = (
        f'{summary["decisions"]} decisions in {summary["clips"]} clips; loss of {horizon} frames {loss}, '
        f'spread over the alternatives {spread}'
    )
    table = Table(title=title)
    for column in (
        'gradient of',
        'correlation with the effects',
        'finds the best',
        'loss below the mean alternative',
    ):
        table.add_column(column, justify='left' if column == 'gradient of' else 'right')
    for name, row in summary['methods'].items():
        cells = (
            f'{row[key]["mean"]:.3f} ± {row[key]["error"]:.3f}'
            for key in ('correlation', 'finds_best', 'gain')
        )
        table.add_row(name, *cells)
    table.add_row('chance', '0', f'{summary["chance_of_best"]:.3f}', '0', style='dim')
    return table


def plot(decisions: list[dict], summary: dict, file: Path, at_stake: float = NOTHING_AT_STAKE) -> None:
    """For each method, gradients against effects, both centred and scaled within a decision."""
    figure = Figure(figsize=(9, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(METHODS), sharex=True, sharey=True)
    counted = [decision for decision in decisions if np.ptp(decision['effects']) >= at_stake]
    for axis, (name, row) in zip(axes, summary['methods'].items(), strict=True):
        effects = np.concatenate([standard(decision['effects']) for decision in counted])
        gradient = np.concatenate([standard(decision['gradients'][name]) for decision in counted])
        axis.plot(effects, gradient, '.', ms=4, alpha=0.35)
        axis.set_title(
            f'{name}: correlation {row["correlation"]["mean"]:.2f} ± {row["correlation"]["error"]:.2f}'
        )
        axis.set_xlabel('effect on the loss, in units of the decision')
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('gradient, in units of the decision')
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata=dict(Software=None))


def standard(values: list[float]) -> np.ndarray:
    """Mean 0 and standard deviation 1, or zeros."""
    centred = np.array(values) - np.mean(values)
    return centred / max(centred.std(), 1e-12)


if __name__ == '__main__':
    sys.exit(main())
