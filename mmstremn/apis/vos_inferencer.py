"""Masks of videos in a few lines."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mmstremn.apis.inference import init_segmentor
from mmstremn.apis.model_names import DEFAULT_MODEL, resolve_model, terms_of
from mmstremn.apis.plan import Removals, read_removals
from mmstremn.apis.results import FrameResult, confidences
from mmstremn.apis.session import VOSSession
from mmstremn.apis.side_by_side import side_by_side
from mmstremn.datasets.io.folders import check_name, is_path
from mmstremn.datasets.io.frame_sources import (
    LiveVideo,
    are_pictures,
    check_no_frames,
    frame_folders,
    open_source,
)
from mmstremn.datasets.io.masks import MaskFiles
from mmstremn.models import VOSegmentor, fuse_conv_bn
from mmstremn.models.segmentation.inference import slot_stamps
from mmstremn.structures.data_samples import VOID
from mmstremn.structures.prompts import GivenPrompts, read_prompts
from mmstremn.structures.video import Video
from mmstremn.utils.atomic import write_atomically
from mmstremn.utils.palette import encode_palette_png
from mmstremn.utils.processor import has_bfloat16_units
from mmstremn.utils.shipped_files import read_config
from mmstremn.visualization import overlay

Masks: TypeAlias = np.ndarray | str | Path | Mapping[int, np.ndarray | str | Path] | Callable | None

PRECISIONS = ('auto', 'float32', 'bfloat16')


class VOSInferencer:
    """Segments videos from masks of some of their frames.

    The arguments are named as those of mmengine's ``BaseInferencer``; as in MMPose's inferencers a call gives
    a generator, of one result a frame, so that memory does not grow with the video.

    Args:
        model: The name of a model that comes with weights (``'stremn_r18'``, see
            :func:`~mmstremn.apis.named_models`), a config or its path, or a model that is built already.
        weights: A checkpoint; None: those that belong to the model.
        device: The first GPU if there is one, else the CPU, by default.
        short_side: Rows (or columns, if fewer) at which videos are computed; None: as the config says.
        precision: ``'float32'`` or ``'bfloat16'`` (see ``VOSegmentor``); ``'auto'``: that of the given model,
            or of the config where it has ``model.precision``; else bfloat16 on a CPU with units for it
            (:func:`~mmstremn.utils.has_bfloat16_units`), float32 elsewhere.

    Raises:
        FileNotFoundError: There is no such model, config or checkpoint.
        ValueError: No weights are known for the config, or it is not of a segmentor; a wrong ``precision``.

    Example:
        >>> inferencer = VOSInferencer('stremn_r18')
        >>> for result in inferencer('video.mp4', masks={0: 'first.png'}):
        ...     result.index, result.ids  # (H, W) object ids
    """

    def __init__(
        self,
        model: str | Path | Config | VOSegmentor = DEFAULT_MODEL,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        short_side: int | None = None,
        precision: str = 'auto',
    ):
        if not isinstance(model, torch.nn.Module):
            config, weights = resolve_model(model, weights)
            if weights is not None and (terms := terms_of(weights)):
                print_log(terms, 'current')
            config = read_config(config)
            model = init_segmentor(config, weights, device)
            if isinstance(model, VOSegmentor):
                fuse_conv_bn(model)
                if precision == 'auto' and config.model.get('precision') is None:
                    precision = _fastest(model)
        # A model that is built already may be another one with its streams, such as Sam2Segmentor.
        self.model, self.weights = cast(VOSegmentor, model), weights
        _set_precision(self.model, precision)
        if short_side is not None:
            if (getattr(self.model, 'test_time', None) or {}).get('short_sides'):
                raise ValueError(
                    'short_side: the config has model.test_time.short_sides, expected one of the two'
                )
            if not hasattr(self.model, 'short_side'):
                raise ValueError(
                    f'short_side: a {type(self.model).__name__} computes at a size of its own, give none'
                )
            if short_side < 1:
                raise ValueError(f'short_side: expected at least 1, got {short_side}')
            self.model.short_side = short_side

    def __call__(
        self,
        inputs: object,
        masks: Masks | list = None,
        direction: str = 'both',
        merge: str = 'nearer',
        return_vis: bool = False,
        out_dir: str | Path | None = None,
        seed: int = 0,
        batch_size: int = 1,
        removals: Removals | list = None,
    ) -> Iterator[FrameResult]:
        """Segment a video, or several.

        Args:
            inputs: Anything :func:`~mmstremn.datasets.io.frame_sources.open_source` takes, or a list of
                paths, URLs and videos. A list of pictures is one video.
            masks: Of the first frame, or by frame: arrays (see :func:`~mmstremn.structures.read_masks`) or
                files of masks, or a dict of ``masks``, ``points`` and ``boxes`` (see
                :meth:`VOSSession.correct`), for models that take these. For a list of inputs a list of such.
                Of a camera, a stream or an iterator also a function ``(index, frame) -> masks or None``.
            direction: ``'both'``: masks are propagated forwards and backwards; ``'forward'``. A camera, a
                stream or an iterator goes forwards only.
            merge: Where masks of two frames meet: the ``'nearer'`` wins, or ``'blend'``.
            return_vis: Fill in ``visualization``, the frame with its masks.
            out_dir: Folder that gets ``<video>/<frame>.png``, palette PNGs of the ids, each once its result
                is given. At the end those of frames that a video does not have, left by an earlier run, are
                removed.
            seed: For memories that draw at random.
            batch_size: How many of several videos are segmented at a time, on one model, by as many threads
                as torch has (``torch.get_num_threads()``); their results come in turns.
            removals: The objects that are removed, by the first frame without them: ``{120: [2]}``; later
                masks bring them back. For a list of inputs a list of such.

        Returns:
            A generator of a result for each frame, in their order. Inputs and masks are checked before it is
            returned.

        Raises:
            FileNotFoundError: There is no such video or mask.
            ValueError: A video cannot be read, or its masks do not fit; two videos have one name, or a name
                leads out of ``out_dir`` or to the frames themselves; a removal that
                :class:`~mmstremn.apis.plan.Plan` refuses.
        """
        if batch_size < 1:
            raise ValueError(f'batch_size: expected at least 1, got {batch_size}')
        videos = [open_source(source) for source in (inputs if _is_list(inputs) else [inputs])]  # type: ignore
        several = len(videos) if _is_list(inputs) else None
        given = _for_each('masks', masks, several)
        gone = _for_each('removals', removals, several) if removals else [None] * len(videos)
        if out_dir is not None:
            _check_folders(videos, Path(out_dir))
        runs = [
            self._live(video, own, seed, read_removals(ends))
            if isinstance(video, LiveVideo)
            else self._stored(self.session(video, own, direction, merge, seed=seed, removals=ends))
            for video, own, ends in zip(videos, given, gone, strict=True)
        ]
        return self._finished(side_by_side(runs, batch_size), return_vis, out_dir)

    def session(
        self,
        video: object,
        masks: Masks = None,
        direction: str = 'both',
        merge: str = 'nearer',
        folder: str | Path | None = None,
        seed: int = 0,
        removals: Removals = None,
    ) -> VOSSession:
        """A video whose masks may be corrected, see :class:`VOSSession`.

        Args:
            video: Whose frames can be read in any order: no camera, no stream, no iterator.
            masks, direction, merge, seed, removals: As of a call; masks may be given later.
            folder: For the results, to go on with them later; None: a temporary one.
        """
        opened = open_source(video)
        if isinstance(opened, LiveVideo):
            raise ValueError(f'{opened.name}: expected a video whose frames can be read in any order')
        options = {name: getattr(self.model, name, None) for name in ('short_side', 'precision')}
        about = dict(video=opened.name, weights=str(self.weights), **options)
        given = {} if masks is None else read_given(opened, masks)
        return VOSSession(self.model, opened, given, direction, merge, folder, about, seed, removals)

    def _stored(self, session: VOSSession) -> Generator[FrameResult, None, None]:
        if session.plan is None:
            session.close()
            raise ValueError(
                f'{session.video.name}: no masks are given, expected those of at least one frame'
            )
        return _closing(session)

    def _live(
        self, video: LiveVideo, masks: Masks, seed: int, removals: dict[int, set[int]]
    ) -> Generator[FrameResult, None, None]:
        if masks is None:
            raise ValueError(f'{video.name}: no masks are given, expected those of at least one frame')
        return self._stream(video, masks if callable(masks) else _by_frame(masks), seed, removals)

    def _stream(
        self, video: LiveVideo, masks: Mapping | Callable, seed: int, removals: dict[int, set[int]]
    ) -> Generator[FrameResult, None, None]:
        stream = self.model.new_stream(seed)
        files = MaskFiles([] if callable(masks) else [p for p in masks.values() if is_path(p)])
        for index, frame in enumerate(video):
            given = masks(index, frame) if callable(masks) else masks.get(index)
            if is_path(given):
                given = files.read(given)
            given = given if isinstance(given, dict) else dict(masks=given)
            gone = removals.get(index, set())
            if unknown := gone - {*stream.object_ids}:
                raise ValueError(
                    f'removal at frame {index}: no object {min(unknown)} before it, expected one of '
                    f'{sorted(stream.object_ids)}'
                )
            if gone:
                stream.remove(gone)
            probabilities = stream.probabilities(frame, **given)
            stamps = slot_stamps(stream)
            yield FrameResult(
                video.name,
                index,
                frame,
                stream.ids_of(probabilities).cpu().numpy(),
                confidences(probabilities, stream.object_ids),
                None if stamps is None else stamps.cpu().numpy(),
            )

    def _finished(
        self, results: Iterator[FrameResult], return_vis: bool, out_dir: str | Path | None
    ) -> Iterator[FrameResult]:
        last: dict[Path, int] = {}
        for result in results:
            if return_vis:
                result.visualization = overlay(result.frame, result.ids)
            if out_dir is not None:
                folder = Path(out_dir) / result.video
                write_atomically(folder / f'{result.index:05d}.png', encode_palette_png(result.ids))
                last[folder] = result.index
            yield result
        for folder, index in last.items():
            _remove_behind(folder, index)


def _fastest(model: VOSegmentor) -> str:
    if not has_bfloat16_units(next(model.parameters()).device):
        return 'float32'
    print_log("bfloat16, as this CPU has units for it; precision='float32' is slower and exact", 'current')
    return 'bfloat16'


def _check_folders(videos: list, out_dir: Path) -> None:
    """Raises a ValueError where masks would leave ``out_dir``, or be mixed with frames or other masks."""
    names = [check_name(video.name, out_dir) for video in videos]
    for video, name in zip(videos, names, strict=True):
        if names.count(name) > 1:
            raise ValueError(
                f"{out_dir}: several videos are called '{name}': give each an out_dir of its own"
            )
        check_no_frames(out_dir / name, frame_folders(video))


def _remove_behind(folder: Path, last: int) -> None:
    """Remove masks of frames behind the last one, which a run on a longer video has left."""
    for path in folder.glob('*.png'):
        if path.stem.isdecimal() and int(path.stem) > last:
            path.unlink()


def _set_precision(model: VOSegmentor, precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got '{precision}'")
    if precision == 'auto':
        return
    if not isinstance(model, VOSegmentor):
        raise ValueError(f'precision: that of a {type(model).__name__} is set in its config, give auto')
    model.precision = precision


def _closing(session: VOSSession) -> Generator[FrameResult, None, None]:
    with session:
        yield from session.run_in_order()


def _is_list(inputs: object) -> bool:
    """Whether there are several videos: lists of arrays or of pictures are one."""
    is_list = isinstance(inputs, (list, tuple)) and not any(isinstance(part, np.ndarray) for part in inputs)
    return is_list and not are_pictures(inputs)


def _for_each(name: str, values: Any, several: int | None) -> list:
    """The value of each video: of a list where there are several videos."""
    if several is None:
        return [values]
    if isinstance(values, Mapping) or not isinstance(values, Iterable):
        raise TypeError(
            f'{name}: expected a list of one for each of the {several} inputs, got {values!r:.40}'
        )
    if len(given := list(values)) != several:
        raise ValueError(f'{name}: expected one for each of the {several} inputs, got {len(given)}')
    return given


def _by_frame(masks: object) -> Mapping:
    if not isinstance(masks, Mapping) or _is_prompts(masks):
        return {0: masks}
    for frame in masks:
        if not isinstance(frame, Integral):
            raise TypeError(f'masks: expected them by the numbers of their frames, got the key {frame!r}')
    return masks


def _is_prompts(masks: object) -> bool:
    return isinstance(masks, Mapping) and bool(masks) and masks.keys() <= {'masks', 'points', 'boxes'}


def _prompts(given: Mapping, size: tuple[int, int], name: str) -> GivenPrompts | None:
    masks, points, boxes = (given.get(key) for key in ('masks', 'points', 'boxes'))
    return read_prompts(masks, points, boxes, size=size, name=name)


def read_given(video: Video, masks: Masks) -> dict[int, np.ndarray | GivenPrompts]:
    """The masks of a video by frame, files read by one rule (see :class:`MaskFiles`). Masks in files that are
    empty are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A mask is of another size than the video, a frame is not in it, or no mask shows an
            object.
    """
    given = _by_frame(masks)
    files = MaskFiles(path for _, path in sorted(given.items()) if is_path(path))
    found: dict = {}
    for frame, mask in sorted(given.items()):
        source = mask if is_path(mask) else f'masks of frame {frame}'
        if not 0 <= frame < video.num_frames:
            raise ValueError(
                f'{source}: frame {frame}, expected one of 0..{video.num_frames - 1} of {video.name}'
            )
        if _is_prompts(mask):
            found[frame] = _prompts(mask, video.size, f'of frame {frame} of {video.name}')
            continue
        if not is_path(mask):
            found[frame] = mask
            continue
        ids = files.read(mask)
        if ids.shape != video.size:
            raise ValueError(
                f'{source}: size {ids.shape} (H, W), expected {video.size} like the frames of {video.name}'
            )
        if (shown := np.where(ids == VOID, 0, ids)).any():
            found[frame] = shown
    if not found:
        named = ', '.join(str(path) for path in given.values())
        raise ValueError(f'{named}: the mask is empty, expected at least one object (an id in 1..254)')
    return found
