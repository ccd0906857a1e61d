"""Segment a video from the mask of its first frame: ``python demo/vos_demo.py VIDEO --mask FIRST.png``.

Frames are decoded, segmented and written one by one, so the video may be of any length. The folder gets
``overlay.mp4``, ``masks/<frame>.png`` (palette PNGs with the ids of the given masks) and, of a memory with
slots, ``slots.png``.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

try:
    import av
    import numpy as np
    import torch
    from mmengine.config import Config, DictAction
    from PIL import Image
    from rich.console import Console

    from mmstremn.apis import init_segmentor
    from mmstremn.checkpoints.matching import has_own_weights
    from mmstremn.datasets.io.masks import MaskFiles
    from mmstremn.datasets.io.video_file import open_video
    from mmstremn.engine.progress import StagedProgress
    from mmstremn.models import VOSegmentor
    from mmstremn.models.segmentation.inference import slot_stamps
    from mmstremn.structures import VOID
    from mmstremn.structures.video import Video, iterate_frames, mask_ids
    from mmstremn.utils.atomic import folder_written_aside, written_aside
    from mmstremn.utils.palette import encode_palette_png
    from mmstremn.visualization import draw_slot_timeline, write_overlay_video
except ImportError as error:
    from mmstremn.versions import what_to_install

    sys.exit(f'vos_demo: {error}. {what_to_install(error)}')

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'configs/vos/absence_head.py'
WEIGHTS = ROOT / 'weights/stremn_r18_presence.safetensors'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Segment a video from the mask of its first frame')
    parser.add_argument('video', type=Path, help='video file (mp4, avi, gif, ...) or folder of pictures')
    parser.add_argument(
        '--mask',
        type=Path,
        required=True,
        help='mask of the first frame: ids, black and white, or a colour per object; empty: see --mask-at',
    )
    parser.add_argument(
        '--mask-at',
        type=_frame_and_path,
        action='append',
        default=[],
        metavar='FRAME:FILE',
        help='a further mask: new ids add objects, known ids correct them (may be given several times)',
    )
    parser.add_argument('--config', help='of another model (default: that of the weights in weights/)')
    parser.add_argument('--checkpoint', help="the other model's")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    parser.add_argument(
        '--out', type=Path, help='folder for the results (default: work_dirs/vos_demo/<video>)'
    )
    parser.add_argument(
        '--short-side', type=int, help="compute at this size (default: the config's model.short_side)"
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: the GPU if there is one)')
    parser.add_argument(
        '--fps',
        type=_frame_rate,
        help="frames a second of the overlay: 25, .5, 30000/1001 (default: the video's, 15 for pictures)",
    )
    args = parser.parse_args(argv)
    if (args.config is None) != (args.checkpoint is None) and not _has_own_weights(args.config):
        parser.error(
            '--config and --checkpoint belong together: expected both, or none of them for the weights in '
            'weights/'
        )
    if args.config is None:
        args.config, args.checkpoint = str(CONFIG), str(WEIGHTS)
    if args.out is None:
        name = args.video.name if args.video.is_dir() else args.video.stem
        args.out = Path('work_dirs/vos_demo') / (name or args.video.absolute().name)
    replaced = (args.out / 'masks').resolve()
    for path in (args.video, args.mask, *(path for _, path in args.mask_at)):
        if replaced in (path.resolve(), *path.resolve().parents):
            parser.error(
                f'{path} lies in {args.out / "masks"}, whose pictures are replaced: take another --out'
            )
    return args


def _has_own_weights(config: str | None) -> bool:
    return config is not None and Path(config).is_file() and has_own_weights(Config.fromfile(config).model)


def _frame_and_path(text: str) -> tuple[int, Path]:
    frame, colon, path = text.partition(':')
    if not (frame.isdecimal() and colon and path):
        raise argparse.ArgumentTypeError(f"expected FRAME:FILE such as 33:second.png, got '{text}'")
    return int(frame), Path(path)


def _frame_rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"expected frames a second above 0 and up to 1000, got '{text}'")
    return rate


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    args = parse_args(argv)
    try:
        video = open_video(args.video)
        masks = read_masks(video, [(0, args.mask), *args.mask_at])
        segment(load_model(args), video, masks, args.out, args.fps or source_fps(args.video))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f'vos_demo: {error.args[0] if isinstance(error, KeyError) else error}', file=sys.stderr)
        return 1
    return 0


def read_masks(video: Video, files: list[tuple[int, Path]]) -> dict[int, np.ndarray]:
    """The given masks (H, W) by frame, without empty ones: objects may enter after the first frame.

    Raises:
        ValueError: A mask is of another size than the video or lies outside it, or none shows an object.
    """
    masks, reader = {}, MaskFiles(path for _, path in files)
    for index, path in files:
        if not 0 <= index < video.num_frames:
            raise ValueError(
                f'{path}: frame {index}, expected one of 0..{video.num_frames - 1} of {video.name}'
            )
        ids = reader.read(path)
        if ids.shape != video.size:
            raise ValueError(
                f'{path}: size {ids.shape} (H, W), expected {video.size} like the frames of {video.name}'
            )
        if mask_ids(ids) - {0, VOID}:
            masks[index] = ids
    if not masks:
        named = ', '.join(str(path) for _, path in files)
        raise ValueError(f'{named}: the mask is empty, expected at least one object (an id in 1..254)')
    return masks


def load_model(args: argparse.Namespace) -> VOSegmentor:
    """The model on its device.

    Raises:
        FileNotFoundError: No config or no checkpoint.
        ValueError: One size and several are asked for.
    """
    if not Path(args.config).is_file():
        raise FileNotFoundError(f'config {args.config}: no such file')
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    model = init_segmentor(cfg, args.checkpoint, args.device)
    if args.short_side is not None:
        if (model.test_time or {}).get('short_sides'):
            raise ValueError(
                '--short-side: the config has model.test_time.short_sides, expected one of the two'
            )
        model.short_side = args.short_side
    return model


def segment(model: VOSegmentor, video: Video, masks: dict[int, np.ndarray], out: Path, fps: Fraction) -> None:
    """Segment ``video`` and write everything to the folder ``out``, in the place of earlier results."""
    stamps, progress = [], StagedProgress(Console(file=sys.stdout))
    with progress.running(video.num_frames), progress.stage(video.name) as report:
        results = segmented(model, video, masks, stamps, report)
        with folder_written_aside(out / 'masks') as folder:
            frames, written = itertools.tee(saved(results, folder, frame_names(video)))
            write_overlay_video(out / 'overlay.mp4', (f for f, _ in frames), (ids for _, ids in written), fps)
    (out / 'slots.png').unlink(missing_ok=True)
    outputs = ['overlay.mp4', 'masks']
    if stamps[0] is not None:
        before = torch.full((min(masks), len(stamps[0])), -1)
        picture = draw_slot_timeline(
            torch.cat([before, torch.stack(stamps).cpu()]).numpy(),
            f'Which frames the slots held ({video.name})',
        )
        with written_aside(out / 'slots.png') as partial:
            Image.fromarray(picture).save(partial, 'png')
        outputs.append('slots.png')
    rate = video.num_frames / max(progress.seconds[video.name], 1e-3)
    print(f'{video.num_frames} frames, {rate:.1f} a second with decoding and writing')
    print(f'Written to {out}: {", ".join(outputs)}')


def segmented(
    model: VOSegmentor,
    video: Video,
    masks: dict[int, np.ndarray],
    stamps: list,
    report: Callable[[int], None],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each frame (H, W, 3) with its ids (H, W); what the slots hold after it is appended to ``stamps``, from
    the first mask on."""
    stream, first = model.new_stream(), min(masks)
    for index, frame in enumerate(iterate_frames(video)):
        ids = stream.step(frame, masks.get(index)).cpu().numpy()
        if index >= first:
            stamps.append(slot_stamps(stream, first))
        yield frame, ids
        report(1)


def saved(
    results: Iterator[tuple[np.ndarray, np.ndarray]], folder: Path, names: list[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same pairs, their ids written to ``folder`` as they pass."""
    for name, (frame, ids) in zip(names, results, strict=True):
        (folder / f'{name}.png').write_bytes(encode_palette_png(ids))
        yield frame, ids


def frame_names(video: Video) -> list[str]:
    """Names of the frames: of their files, else their numbers."""
    files = getattr(video, 'files', None)
    return (
        [Path(file).stem for file in files]
        if files
        else [f'{index:05d}' for index in range(video.num_frames)]
    )


def source_fps(path: Path, default: int = 15) -> Fraction:
    """Frames a second of a video file; ``default`` for pictures, and where the file does not say."""
    if path.is_dir():
        return Fraction(default)
    with av.open(str(path.absolute())) as container:  # a colon in a relative path is a protocol's
        return container.streams.video[0].average_rate or Fraction(default)


if __name__ == '__main__':
    sys.exit(main())
