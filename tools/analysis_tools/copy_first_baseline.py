"""The measures of copying the first mask: ``python tools/analysis_tools/copy_first_baseline.py CONFIG``."""

import argparse
import json
import sys
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import DefaultScope
from rich.progress import track

from mmstremn.engine.launch import load_config
from mmstremn.engine.run_main import run_main
from mmstremn.evaluation import copy_first_mask, evaluate_video, global_measures, score_table
from mmstremn.registry import DATASETS


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Evaluate copying the first mask on the test videos of a config'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the measures as JSON')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Print the table; the global measures."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    scores = []
    for index in track(range(len(dataset)), 'Evaluating'):
        video = dataset[index]['inputs']
        scores.append(evaluate_video(video, copy_first_mask(video)))
    metrics = global_measures(scores)
    print(score_table(scores, metrics))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(metrics=metrics, videos=scores), indent=2) + '\n', 'utf-8')
    return metrics


if __name__ == '__main__':
    sys.exit(run_main(main, 'copy_first_baseline'))
