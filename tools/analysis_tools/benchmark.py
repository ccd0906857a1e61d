"""Benchmarks: ``python tools/analysis_tools/benchmark.py KIND ...``.

``growth``: speed and size of a memory as the video grows; ``objects``: time a frame against the number of
objects; ``read``: a read beside bare attention; ``training``: steps on loaded data against cached batches;
``prediction``: training steps and rollouts of video predictors; ``trackers``: a tracker with our memory
beside a session of transformers; ``videos``: several videos at once against one after the other;
``official``: a frame of STCN, XMem or Cutie beside their public code; ``segment``: the command that segments
a video, and where its time goes. What is compared is timed in turns, in changing order, so that whatever else
the machine does meets all of it alike. With ``--check`` the exit code is 1 where a bound is exceeded.
"""

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))  # tools are no package

from benchmarks import growth, objects, official, prediction, read, segment, trackers, training, videos

from mmstremn.utils.timing import command_line, save_figures

KINDS = dict(growth=growth, objects=objects, read=read, training=training, prediction=prediction)
KINDS.update(trackers=trackers, official=official, segment=segment, videos=videos)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Benchmarks of memories and models')
    kinds = parser.add_subparsers(dest='kind', required=True, metavar='KIND')
    parsers = {}
    for name, kind in KINDS.items():
        title = kind.__doc__.partition('\n')[0].rstrip('.')
        parsers[name] = kinds.add_parser(name, help=title, description=title)
        kind.add_arguments(parsers[name])
    args = parser.parse_args(argv)
    args.command = command_line('tools/analysis_tools/benchmark.py', argv)
    try:
        KINDS[args.kind].check_arguments(args)
    except (FileNotFoundError, ValueError) as error:
        parsers[args.kind].error(str(error))
    return args


def main(argv: list[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    args = parse_args(argv)
    if isinstance(args.threads, int):
        torch.set_num_threads(args.threads)
    outcome = KINDS[args.kind].run(args, Console(file=sys.stdout))
    save_figures(args, outcome.device, tuple(sorted(vars(args).keys() - {'out', 'check'})), outcome.figures)
    for failure in outcome.failures if args.check else ():
        print(f'benchmark {args.kind}: {failure}', file=sys.stderr)
    return int(args.check and bool(outcome.failures))


if __name__ == '__main__':
    sys.exit(main())
