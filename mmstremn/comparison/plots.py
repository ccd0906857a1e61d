"""Plots of comparisons: the main score with its spread, the size of the state and the time, from some
leaderboards."""

import json
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from mmengine.registry import DefaultScope

from mmstremn.comparison.scores import Scores, scores_of
from mmstremn.comparison.setup import load_base
from mmstremn.evaluation.prediction_metric import COPY_LAST
from mmstremn.registry import DATASETS

COSTS = {
    'state_bytes': ('state in MB', 1e-6, 'log'),
    'ms_per_frame': ('ms a frame', 1, 'linear'),
}
MARKERS = 'osD^vP*X'


def split_name(memory: str) -> tuple[str, int]:
    """The rule and the number in names such as ``fifo_8`` and ``fifo_every_8``.

    Raises:
        ValueError: There is no number.
    """
    match = re.fullmatch(r'(.+?)(?:_every)?_(\d+)', memory)
    if match is None:
        raise ValueError(f"'{memory}': expected a name that ends in a number, such as fifo_8")
    return match[1], int(match[2])


def read_boards(folders: list[Path], memories: list[str] | None = None) -> list[dict]:
    """The leaderboards of some folders: ``table``, ``rows``, and a ``suffix`` that tells several folders
    apart.

    Args:
        folders: Of comparisons.
        memories: Only these; None: all.

    Raises:
        FileNotFoundError: A folder has no ``leaderboard.json``.
        ValueError: No memory is left.
    """
    boards = []
    for folder in folders:
        path = folder / 'leaderboard.json'
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file')
        board = json.loads(path.read_text('utf-8'))
        suffix = f' ({folder.name})' if len(folders) > 1 else ''
        boards.append(dict(suffix=suffix) | {key: _only(board[key], memories) for key in ('table', 'rows')})
    boards = [board for board in boards if board['table']]
    if not boards:
        raise ValueError(
            f'none of the memories {", ".join(memories or [])} is in {", ".join(map(str, folders))}'
        )
    return boards


def common_scores(boards: list[dict]) -> Scores:
    """The scores of all boards.

    Raises:
        ValueError: They are of several metrics.
    """
    scores = {scores_of(board['rows']).main: scores_of(board['rows']) for board in boards}
    if len(scores) > 1:
        raise ValueError(f'{" and ".join(scores)} cannot share a plot: expected comparisons of one metric')
    return next(iter(scores.values()))


def panels(boards: list[dict]) -> dict[str, tuple[str, float, str]]:
    """Title, factor and scale of the main score and of the costs."""
    scores = common_scores(boards)
    scale = scores.columns[scores.main].scale
    return {scores.main: (f'{scores.main} in {"percent" if scale == 100 else "dB"}', scale, 'linear')} | COSTS


def draw_bars(boards: list[dict]) -> Figure:
    """A bar for every memory (a dot where the scale is logarithmic), the best on top."""
    shown, main = panels(boards), common_scores(boards).main
    lines = [
        line | dict(label=line['memory'] + board['suffix']) for board in boards for line in board['table']
    ]
    lines.sort(key=lambda line: line[main])
    figure = Figure(figsize=(11, 1.2 + 0.3 * len(lines)), dpi=120, layout='constrained')
    for axes, (key, (title, scale, kind)) in zip(
        figure.subplots(1, 3, sharey=True), shown.items(), strict=True
    ):
        spread = [scale * (line['spread'] or 0) for line in lines] if key == main else None
        labels, values = [line['label'] for line in lines], [scale * line[key] for line in lines]
        if kind == 'log':  # the length of a bar would say nothing
            axes.plot(values, labels, 'o')
        else:
            axes.barh(labels, values, xerr=spread if spread and any(spread) else None, capsize=3)
        axes.set(xlabel=title, xscale=kind)
        if kind == 'log':
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
            axes.xaxis.set_major_formatter('{x:g}')
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis='x', alpha=0.3)
    return figure


def draw_slots(boards: list[dict]) -> Figure:
    """Lines over the number of slots."""
    return _draw_numbers(boards, 'slots', _rule_and_number)


def draw_cadence(boards: list[dict]) -> Figure:
    """Lines over the frames from one offer to the next."""
    return _draw_numbers(boards, 'offered every n-th frame', _rule_and_number)


def draw_steps(boards: list[dict]) -> Figure:
    """Lines of all memories over the number of predicted frames, from comparisons that differ in it.

    Raises:
        ValueError: The comparisons are of segmentation.
    """
    if common_scores(boards).main != 'PSNR':
        raise ValueError('steps: expected comparisons of video predictors')
    return _draw_numbers(
        boards,
        'predicted frames',
        lambda line, board: (line['memory'], len(board['rows'][0]['per_frame']['PSNR'])),
    )


def draw_length(boards: list[dict]) -> Figure:
    """J&F of every video over its length, a colour for each memory; lines join the means of videos of one
    length.

    Raises:
        ValueError: The comparison is one of predictors, whose clips are all of one length.
    """
    if common_scores(boards).main != 'J&F':
        raise ValueError(
            'length: expected a comparison of segmentation; the clips of predictors are of one length'
        )
    figure = Figure(figsize=(8, 5), dpi=120, layout='constrained')
    axes = figure.subplots()
    series = [(line['memory'], board) for board in boards for line in board['table']]
    for index, (memory, board) in enumerate(series):
        lengths, scores = _video_scores([row for row in board['rows'] if row['memory'] == memory])
        ticks = np.unique(lengths)
        means = [scores[lengths == length].mean() for length in ticks]
        (line,) = axes.plot(ticks, means, label=memory + board['suffix'])
        axes.scatter(
            lengths, scores, color=line.get_color(), marker=MARKERS[index % len(MARKERS)], s=18, alpha=0.6
        )
    axes.set(xlabel='frames of the video', ylabel='J&F in percent')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def draw_horizon(boards: list[dict]) -> Figure:
    """PSNR of every predicted frame, means over the seeds with their spread; dashed: repeating the last input
    frame.

    Raises:
        ValueError: The comparison is one of segmentation.
    """
    if common_scores(boards).main != 'PSNR':
        raise ValueError('horizon: expected a comparison of video predictors')
    figure = Figure(figsize=(8, 5), dpi=120, layout='constrained')
    axes = figure.subplots()
    for board in boards:
        for line in board['table']:
            rows = [row['per_frame'] for row in board['rows'] if row['memory'] == line['memory']]
            values = np.array([row['PSNR'] for row in rows])  # (seeds, T)
            ticks = np.arange(1, values.shape[1] + 1)
            (drawn,) = axes.plot(ticks, values.mean(0), marker='.', label=line['memory'] + board['suffix'])
            if len(values) > 1:
                spread = values.std(0, ddof=1)
                low, high = values.mean(0) - spread, values.mean(0) + spread
                axes.fill_between(ticks, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
        copies = rows[0][f'{COPY_LAST}/PSNR']  # the same in all rows of a comparison
        axes.plot(ticks, copies, '--', color='grey', label=f'last input frame{board["suffix"]}')
    axes.set(xlabel='predicted frame', ylabel='PSNR in dB')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


KINDS = {
    'bars': draw_bars,
    'slots': draw_slots,
    'cadence': draw_cadence,
    'length': draw_length,
    'horizon': draw_horizon,
    'steps': draw_steps,
}


def video_lengths(setup: dict) -> dict[str, int]:
    """The frames of the test videos by name, from the ``setup`` of a row: its config and the changes of
    it."""
    cfg = load_base(setup['config'], setup['cfg_options'])
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    videos = [dataset[index]['inputs'] for index in range(len(dataset))]
    return {video.name: video.num_frames for video in videos}


def _only(lines, memories):
    return [line for line in lines if memories is None or line['memory'] in memories]


def _rule_and_number(line, board):
    rule, number = split_name(line['memory'])
    return rule + board['suffix'], number


def _draw_numbers(boards, label, name_and_number):
    series, shown, main = {}, panels(boards), common_scores(boards).main
    for board in boards:
        for line in board['table']:
            name, number = name_and_number(line, board)
            series.setdefault(name, {})[number] = line
    numbers = sorted({number for lines in series.values() for number in lines})
    figure = Figure(figsize=(13, 4), dpi=120, layout='constrained')
    for axes, (key, (title, scale, kind)) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        for (name, lines), marker in zip(series.items(), MARKERS * len(series), strict=False):
            ticks = sorted(lines)
            values = [scale * lines[number][key] for number in ticks]
            spread = [scale * (lines[number]['spread'] or 0) for number in ticks] if key == main else None
            axes.errorbar(ticks, values, yerr=spread, label=name, marker=marker, capsize=3, alpha=0.8)
        axes.set(xlabel=label, ylabel=title, xscale='log', yscale=kind)
        axes.set_xticks(numbers, numbers)
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    return figure


def _video_scores(rows):
    """(V,) frames and (V,) J&F in percent of all videos, the means over the seeds."""
    lengths = video_lengths(rows[0]['setup'])
    names = list(rows[0]['videos'])
    if missing := set(names) - set(lengths):
        raise ValueError(
            f'{rows[0]["setup"]["config"]}: its test data has no videos {", ".join(sorted(missing))}'
        )
    scores = [100 * np.mean([row['videos'][name] for row in rows]) for name in names]
    return np.array([lengths[name] for name in names]), np.array(scores)
