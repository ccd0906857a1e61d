"""Masks and time a frame of an exported model beside torch's, paired: one thread, one DAVIS video."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from mmstremn.apis import init_segmentor
from mmstremn.export import OnnxSegmentor, export
from mmstremn.utils.atomic import write_json
from mmstremn.utils.shipped_files import find_config
from mmstremn.utils.timing import median_ratio, start_clock


def main() -> None:
    parser = argparse.ArgumentParser(description='Compare ONNX Runtime with torch')
    parser.add_argument('config')
    parser.add_argument('weights')
    parser.add_argument('frames', type=Path, help='folder')
    parser.add_argument('mask', type=Path, help='of the first frame')
    parser.add_argument('--short-side', type=int, default=288)
    parser.add_argument('--number', type=int, default=50, help='frames after the first')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = Config.fromfile(find_config(args.config))
    cfg.model.short_side = args.short_side
    paths = sorted(args.frames.glob('*.jpg'))[: args.number + 1]
    frames = [np.asarray(Image.open(path).convert('RGB')) for path in paths]
    mask = np.asarray(Image.open(args.mask)) > 0
    cpu, times, ious, differences = torch.device('cpu'), ([], []), [], []
    with tempfile.TemporaryDirectory() as folder:
        models = (
            init_segmentor(cfg, args.weights, 'cpu', fuse=True),
            OnnxSegmentor(export(cfg, args.weights, out=Path(folder) / 'onnx'), threads=1),
        )
        streams = [model.start(frames[0], mask) for model in models]
        for index, frame in enumerate(frames[1:]):
            found = {}
            for which in (0, 1) if index % 2 else (1, 0):
                begin = start_clock(cpu)
                found[which] = np.asarray(streams[which].probabilities(frame))
                times[which].append(start_clock(cpu) - begin)
            first, second = (found[which].argmax(0) > 0 for which in (0, 1))
            union = (first | second).sum()
            ious.append(float((first & second).sum() / union) if union else 1.0)
            differences.append(float(np.abs(found[0] - found[1]).max()))
    result = dict(
        config=args.config,
        weights=args.weights,
        video=args.frames.name,
        short_side=args.short_side,
        frames=len(ious),
        least_iou=min(ious),
        largest_difference=max(differences),
        time_onnx_to_torch=median_ratio(times[1], times[0]),
    )
    print(result)
    write_json(args.out, result)


if __name__ == '__main__':
    main()
