"""Frames and masks of an annotation tool to the DAVIS layout.

``python tools/dataset_converters/to_davis.py FORMAT FRAMES OUT [--annotations PATH]``

FORMAT is ``labelme`` (JSON of Labelme or X-AnyLabeling, one file a frame), ``coco`` (JSON of COCO or
YouTube-VIS), ``cvat`` (XML "CVAT for video"), ``mots`` (text or PNGs of MOTS) or ``masks`` (pictures of
ids, of one object in white, or with a colour per object). FRAMES is a folder of pictures, or a folder with
one such folder a video.
"""

import argparse
import sys
from pathlib import Path

from mmstremn.datasets.conversion import READERS, find_videos, write_davis


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert frames and masks to the DAVIS layout')
    parser.add_argument('format', choices=list(READERS), help='what the annotations are')
    parser.add_argument(
        'frames', type=Path, help='folder of pictures, or folder with one such folder a video'
    )
    parser.add_argument('out', type=Path, help='a new folder')
    parser.add_argument(
        '--annotations',
        type=Path,
        metavar='PATH',
        help=(
            'file (coco, cvat, mots) or folder (labelme: default FRAMES; masks, mots); of several videos, '
            'with one folder (mots: or text file) each'
        ),
    )
    parser.add_argument(
        '--labels', nargs='+', metavar='LABEL', help='the labels that are expected; another one is an error'
    )
    parser.add_argument(
        '--val', nargs='+', metavar='VIDEO', help='videos for testing alone (default: all train and test)'
    )
    args = parser.parse_args(argv)
    if args.annotations is None:
        if args.format != 'labelme':
            parser.error(f'{args.format} needs --annotations: the file or the folder of masks')
        args.annotations = args.frames
    return args


def main(argv: list[str] | None = None) -> int:
    """Convert; the exit code."""
    args = parse_args(argv)
    try:
        videos = find_videos(args.frames)
        annotations = READERS[args.format](args.annotations, videos, args.labels)
        ids = write_davis(args.out, videos, annotations, args.val)
    except (OSError, ValueError, ImportError) as error:
        print(f'to_davis: {error}', file=sys.stderr)
        return 1
    for name, labels in ids.items():
        objects = ', '.join(f'{k} {label}' for label, k in labels.items())
        print(
            f'{name}: {len(annotations[name])} of {len(videos[name].frames)} frames are annotated; objects: '
            f'{objects}'
        )
    void = sum(
        region.label is None
        for frames in annotations.values()
        for f in frames.values()
        for region in f.regions
    )
    if void:
        print(f'{void} regions are void (iscrowd=1 in COCO, 10000 in MOTS, 255 in masks)')
    left_out = sorted(videos.keys() - ids.keys())
    if left_out:
        print(f'Not annotated, left out: {", ".join(left_out)}')
    if args.val is None:
        print('All videos are for training and for testing (--val NAME keeps some for testing alone).')
    print(f'Written to {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
