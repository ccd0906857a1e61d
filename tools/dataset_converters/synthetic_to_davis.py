"""Write synthetic videos in the layout of DAVIS 2017."""

import argparse
import os
import shutil
from pathlib import Path

from PIL import Image
from rich.progress import track

from mmstremn.datasets import SyntheticVOSDataset, Video
from mmstremn.utils.atomic import folder_written_aside
from mmstremn.utils.palette import encode_palette_png

RESOLUTION = '480p'
FOLDERS = ('JPEGImages', 'Annotations', 'ImageSets')


def write_dataset(dataset: SyntheticVOSDataset, root: Path, list_name: str) -> None:
    """Write all videos of a data set in test mode, and their names to ``ImageSets/2017/<list_name>.txt``."""
    names = []
    for index in track(range(len(dataset)), description=f'Writing {len(dataset)} videos'):
        video = dataset[index]['inputs']
        write_video(video, root)
        names.append(video.name)
    image_set = root / 'ImageSets' / '2017' / f'{list_name}.txt'
    image_set.parent.mkdir(parents=True, exist_ok=True)
    image_set.write_text('\n'.join(names) + '\n', 'utf-8')


def write_video(video: Video, root: Path) -> None:
    """Write the frames of a video as JPEG and its masks as palette PNG."""
    frames, masks = (root / kind / RESOLUTION / video.name for kind in ('JPEGImages', 'Annotations'))
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    for index in range(video.num_frames):
        Image.fromarray(video.frame(index)).save(frames / f'{index:05d}.jpg', quality=95)
        (masks / f'{index:05d}.png').write_bytes(encode_palette_png(video.mask(index)))


def check_folder(root: Path, force: bool) -> None:
    """Raises a FileExistsError where the folder holds something and ``force`` is off."""
    if root.exists() and any(root.iterdir()) and not force:
        raise FileExistsError(f'{root}: the folder is not empty; --force replaces its data set')


def replace_dataset(new: Path, root: Path) -> None:
    """Put the data set ``new`` in the place of that in ``root``, whose other files stay."""
    root.mkdir(parents=True, exist_ok=True)
    for name in FOLDERS:
        shutil.rmtree(root / name, ignore_errors=True)
        os.replace(new / name, root / name)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='folder for JPEGImages, Annotations and ImageSets')
    parser.add_argument(
        '--split', choices=('train', 'dev', 'test'), default='test', help='whose photographs and seeds'
    )
    parser.add_argument(
        '--list-name', help="name of the list in ImageSets/2017, such as 'val' (default: the split)"
    )
    parser.add_argument('--num-videos', type=int, default=20)
    parser.add_argument('--num-frames', type=int, default=40)
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'), default=(480, 854))
    parser.add_argument('--max-objects', type=int, default=3)
    parser.add_argument(
        '--late-objects', type=float, default=0.0, help='probability that an object appears late'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--force', action='store_true', help='replace the data set in a folder that is not empty'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the data set that the command line asks for."""
    args = parse_args(argv)
    dataset = SyntheticVOSDataset(
        split=args.split,
        num_videos=args.num_videos,
        num_frames=args.num_frames,
        size=args.size,
        max_objects=args.max_objects,
        late_objects=args.late_objects,
        seed=args.seed,
        test_mode=True,
    )
    try:
        check_folder(args.out, args.force)
    except FileExistsError as error:
        raise SystemExit(f'error: {error}') from error
    is_new = not args.out.exists() or not any(args.out.iterdir())
    target = args.out if is_new else args.out / '.new'
    with folder_written_aside(target) as root:
        write_dataset(dataset, root, args.list_name or args.split)
    if not is_new:
        replace_dataset(target, args.out)
        target.rmdir()


if __name__ == '__main__':
    main()
