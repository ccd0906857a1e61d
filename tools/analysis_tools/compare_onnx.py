"""Masks and time a frame on ONNX Runtime and OpenVINO beside torch's, paired: one DAVIS video."""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmstremn.apis import init_segmentor
from mmstremn.engine.run_main import run_main
from mmstremn.export import OnnxSegmentor, OpenVINOSegmentor, export
from mmstremn.utils.atomic import write_json
from mmstremn.utils.shipped_files import find_config
from mmstremn.utils.timing import median_ratio, start_clock

RUNTIMES = 'onnx', 'openvino'


def main() -> None:
    parser = argparse.ArgumentParser(description='Compare ONNX Runtime and OpenVINO with torch')
    parser.add_argument('config')
    parser.add_argument('weights')
    parser.add_argument('frames', type=Path, help='folder')
    parser.add_argument('mask', type=Path, help='of the first frame')
    parser.add_argument('--short-side', type=int, default=288)
    parser.add_argument('--number', type=int, default=50, help='frames after the first')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cfg = Config.fromfile(find_config(args.config))
    cfg.model.short_side = args.short_side
    paths = sorted(args.frames.glob('*.jpg'))[: args.number + 1]
    frames = [np.asarray(Image.open(path).convert('RGB')) for path in paths]
    mask = np.asarray(Image.open(args.mask)) > 0
    cpu = torch.device('cpu')
    with tempfile.TemporaryDirectory() as folder:
        exported = export(cfg, args.weights, out=Path(folder) / 'onnx')
        models = dict(
            torch=init_segmentor(cfg, args.weights, 'cpu', fuse=True),
            onnx=OnnxSegmentor(exported, threads=args.threads),
            openvino=OpenVINOSegmentor(exported, threads=args.threads),
        )
        streams = {name: model.start(frames[0], mask) for name, model in models.items()}
        times = {name: [] for name in models}
        ious, differences = ({name: [] for name in RUNTIMES} for _ in range(2))
        for index, frame in enumerate(frames[1:]):
            found = {}
            for name in list(models)[:: 1 if index % 2 else -1]:
                begin = start_clock(cpu)
                found[name] = np.asarray(streams[name].probabilities(frame))
                times[name].append(start_clock(cpu) - begin)
            for name in RUNTIMES:
                ious[name].append(overlap(found[name], found['torch']))
                differences[name].append(float(np.abs(found[name] - found['torch']).max()))
    result = dict(
        config=args.config,
        weights=args.weights,
        video=args.frames.name,
        short_side=args.short_side,
        threads=args.threads,
        frames=len(frames) - 1,
        least_iou={name: min(ious[name]) for name in RUNTIMES},
        largest_difference={name: max(differences[name]) for name in RUNTIMES},
        time_to_torch={name: median_ratio(times[name], times['torch']) for name in RUNTIMES},
        median_ms={name: 1000 * statistics.median(times[name]) for name in models},
    )
    print(result)
    write_json(args.out, result)


def overlap(probabilities: np.ndarray, others: np.ndarray) -> float:
    """IoU of the masks of probabilities (1 + O, H, W) with those of others."""
    first, second = (each.argmax(0) > 0 for each in (probabilities, others))
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


if __name__ == '__main__':
    sys.exit(run_main(main, 'compare_onnx'))
