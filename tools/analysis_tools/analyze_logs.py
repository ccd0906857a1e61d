"""Curves and times of training logs (``vis_data/scalars.json`` of a work folder, ``results/logs/*.jsonl``)::

python tools/analysis_tools/analyze_logs.py plot_curve LOG [LOG ...] --keys loss loss_ce --out FILE.png
python tools/analysis_tools/analyze_logs.py cal_train_time LOG [LOG ...]
"""

import argparse
import json
import sys
from pathlib import Path

import matplotlib
import numpy as np

Records = list[dict]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Analyse the JSON logs of trainings')
    tasks = parser.add_subparsers(dest='task', required=True)
    curve = tasks.add_parser('plot_curve', help='plot what the logs hold over the iterations')
    curve.add_argument('json_logs', nargs='+', type=Path, metavar='LOG')
    curve.add_argument('--keys', nargs='+', default=['loss'], help='what to plot (default: %(default)s)')
    curve.add_argument('--legend', nargs='+', help='a name for each curve (default: log and key)')
    curve.add_argument('--title')
    curve.add_argument('--backend', help='of matplotlib')
    curve.add_argument('--style', default='default', help='of matplotlib')
    curve.add_argument('--out', type=Path, metavar='FILE', help='picture (default: show it)')
    time = tasks.add_parser('cal_train_time', help='seconds an iteration')
    time.add_argument('json_logs', nargs='+', type=Path, metavar='LOG')
    time.add_argument('--include-outliers', action='store_true', help='also the first record of each log')
    args = parser.parse_args(argv)
    if args.task == 'plot_curve' and args.legend:
        curves = len(args.json_logs) * len(args.keys)
        if len(args.legend) != curves:
            parser.error(f'--legend: expected {curves} names, one a curve, got {len(args.legend)}')
    return args


def read_log(path: Path) -> Records:
    """The records of a log, one JSON object a line.

    Raises:
        FileNotFoundError: There is no such log.
        ValueError: A line is no JSON object.
    """
    records = []
    for number, line in enumerate(path.read_text('utf-8').splitlines(), 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f'{path}, line {number}: expected a JSON object ({error})') from error
        if not isinstance(record, dict):
            raise ValueError(f'{path}, line {number}: expected a JSON object, got {line[:40]}')
        records.append(record)
    return records


def column(path: Path, records: Records, key: str) -> tuple[list, list]:
    """Iterations and values of a key.

    Raises:
        KeyError: The log has no such key.
    """
    found = [(record.get('step', record.get('iter')), record[key]) for record in records if key in record]
    if not found:
        known = sorted({name for record in records for name in record})
        raise KeyError(f"{path}: no '{key}', only {', '.join(known)}")
    steps, values = zip(*found, strict=True)
    return list(steps), list(values)


def plot_curve(args: argparse.Namespace) -> None:
    """Plot every key of every log."""
    if args.backend or args.out:
        matplotlib.use(args.backend or 'agg')
    from matplotlib import pyplot as plt

    logs = [(path, read_log(path)) for path in args.json_logs]
    curves = [
        (f'{path.stem} {key}', column(path, records, key)) for path, records in logs for key in args.keys
    ]
    with plt.style.context(args.style):
        figure, axes = plt.subplots()
        for index, (name, (steps, values)) in enumerate(curves):
            axes.plot(steps, values, label=args.legend[index] if args.legend else name)
        axes.set(xlabel='iteration', title=args.title or '')
        axes.legend()
        if args.out is None:
            plt.show()
        else:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(args.out)
        plt.close(figure)


def cal_train_time(args: argparse.Namespace) -> None:
    """Print the seconds an iteration of every log."""
    for path in args.json_logs:
        steps, times = column(path, read_log(path), 'time')
        if not args.include_outliers and len(times) > 1:
            steps, times = steps[1:], times[1:]
        slowest, fastest = int(np.argmax(times)), int(np.argmin(times))
        print(f'{path}')
        print(f'  slowest iteration {steps[slowest]}: {times[slowest]:.4f} s')
        print(f'  fastest iteration {steps[fastest]}: {times[fastest]:.4f} s')
        print(f'  mean {np.mean(times):.4f} s an iteration, standard deviation {np.std(times):.4f} s')


def main(argv: list[str] | None = None) -> int:
    """Run the task; the exit code."""
    args = parse_args(argv)
    try:
        dict(plot_curve=plot_curve, cal_train_time=cal_train_time)[args.task](args)
    except (OSError, KeyError, ValueError) as error:
        print(f'analyze_logs: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
