"""YouTube-VOS 2018 and 2019, and any data in their layout.

Xu et al., YouTube-VOS: A Large-Scale Video Object Segmentation Benchmark, arXiv 1809.03327. What a loader may
rely on was read in public ones (hkchengrex/XMem inference/data/test_datasets.py).

<split>/meta.json    <split>/JPEGImages/<video>/00000.jpg    <split>/Annotations/<video>/00000.png

``meta.json`` holds ``videos: {<video>: {objects: {<id>: {category: ..., frames: [<name>, ...]}}}}``.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmstremn.datasets.io.each import read_each
from mmstremn.datasets.io.folders import check_name, natural_key, read_list
from mmstremn.datasets.vos.base import VOSDataset
from mmstremn.datasets.vos.davis import DAVISVideo
from mmstremn.datasets.vos.davis_layout import read_sequence
from mmstremn.registry import DATASETS
from mmstremn.structures.video import VOID, mask_ids

FRAME_STEP = 5  # every 5th frame is annotated


class VideoObject(NamedTuple):
    """What ``meta.json`` says of an object: its category, and the names of the frames in which it is looked
    for."""

    category: str
    frames: tuple[str, ...]


class YouTubeVOSVideo(DAVISVideo):
    """One video; ``meta.json`` says which ids are objects, and from which frame on they are labelled.

    Args:
        name, frame_files, mask_files, size, short_side: See ``DAVISVideo``.
        objects: By id. Other ids in the masks are void: nothing is known of them.
    """

    def __init__(
        self,
        name: str,
        frame_files: Sequence[str],
        mask_files: dict[int, str],
        size: tuple[int, int],
        objects: dict[int, VideoObject],
        short_side: int | None = None,
    ):
        super().__init__(name, frame_files, mask_files, size, short_side=short_side)
        self.source_size = size
        self.objects = objects

    @property
    def named_frames(self) -> list[int]:
        """The frames that ``meta.json`` names for any object, ascending: those of a submission."""
        names = {name for entry in self.objects.values() for name in entry.frames}
        return [index for index, name in enumerate(self.frame_names) if name in names]

    @property
    def first_named(self) -> dict[int, int]:
        """The first frame that ``meta.json`` names for each object."""
        place = {name: index for index, name in enumerate(self.frame_names)}
        return {k: place[entry.frames[0]] for k, entry in self.objects.items()}

    def source_mask(self, index: int) -> np.ndarray:
        """The mask of an annotated frame at the size of its file; ids that are no objects are 255."""
        ids = super().source_mask(index)
        table = np.full(256, VOID, np.uint8)
        known = [0, *self.objects]
        table[known] = known
        return table[ids]

    @cached_property
    def prompts(self) -> dict[int, np.ndarray]:
        """For each frame where objects are labelled for the first time, those objects alone.

        That is the first frame that ``meta.json`` names, or where its mask does not show the object the next
        one that does.

        Raises:
            ValueError: No mask shows an object that ``meta.json`` names.
        """
        firsts = self.first_named
        missing, prompts = set(self.objects), {}
        for index in self.annotated:
            due = {k for k in missing if firsts[k] <= index}
            if not due:
                continue
            mask = self.mask(index)
            shown = sorted(due & mask_ids(mask))
            if shown:
                prompts[index] = np.where(np.isin(mask, shown), mask, 0).astype(np.uint8)
                missing.difference_update(shown)
        if missing and self.size == self.source_size:  # resizing may lose tiny ones
            raise ValueError(
                f"video '{self.name}': meta.json names the objects {sorted(missing)}, no mask shows them"
            )
        return prompts


@DATASETS.register_module()
class YouTubeVOSDataset(VOSDataset):
    """Videos in the YouTube-VOS layout: every 5th frame has a mask, and objects may appear after the first
    frame.

    Clips are drawn from annotated frames; ``max_skip`` counts frames of the source, as for DAVIS, so that one
    schedule serves both. Before an object's first label 0 means "do not care", so there clips have void (see
    ``PackClip``). Construction reads names and headers of all files.

    Args:
        data_root: Holds the folders of the splits.
        split: ``train``, ``valid``, ``test``, or any folder with meta.json, JPEGImages and Annotations.
        videos: A text file below ``data_root`` with the names of the videos to use, one a line; None: all of
            meta.json.
        all_frames_root: The folder with ``JPEGImages`` of all frames, below ``data_root`` or absolute, such
            as ``all_frames/valid_all_frames``; None: the frames of the split, every 5th.
        short_side: Frames and masks are delivered with this many pixels on the shorter side (None: as they
            are).
        frame_step, void_before_first: See ``VOSDataset``.
        **kwargs: Likewise.

    Raises:
        FileNotFoundError: A folder, meta.json, a frame that it names or the first mask of an object is
            missing.
        ValueError: meta.json has another form; a mask has no frame or another size than it.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        videos: str | None = None,
        all_frames_root: str | None = None,
        short_side: int | None = None,
        frame_step: int = FRAME_STEP,
        void_before_first: bool = True,
        **kwargs: Any,
    ):
        self.split_root = Path(data_root, split)
        self.frame_root = Path(data_root, all_frames_root) if all_frames_root else self.split_root
        self.videos = Path(data_root, videos) if videos else None
        self.short_side = short_side
        super().__init__(
            data_root=str(data_root), frame_step=frame_step, void_before_first=void_before_first, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """One ``YouTubeVOSVideo`` per video."""
        meta_file = self.split_root / 'meta.json'
        meta = read_meta(meta_file)
        names = read_list(self.videos, 'the names of videos, one a line') if self.videos else sorted(meta)
        unknown = [name for name in names if name not in meta]
        if unknown:
            raise ValueError(
                f'{self.videos}: {", ".join(unknown[:5])}: expected names of videos in {meta_file}'
            )
        videos = read_each(lambda name: self._read(name, meta[name], meta_file), names)
        return [dict(video=video) for video in videos]

    def first_frames(self, video: YouTubeVOSVideo) -> dict[int, int]:
        """As ``meta.json`` has it; decodes nothing."""
        return video.first_named

    def _read(self, name: str, objects: dict[int, VideoObject], meta_file: Path) -> YouTubeVOSVideo:
        frame_dir, mask_dir = self.frame_root / 'JPEGImages' / name, self.split_root / 'Annotations' / name
        files = read_sequence(frame_dir, mask_dir, consecutive=False)
        video = YouTubeVOSVideo(name, *files, objects, short_side=self.short_side)
        place = {frame: index for index, frame in enumerate(video.frame_names)}
        for k, entry in objects.items():
            where = f"{meta_file}: object {k} of video '{name}'"
            for frame in entry.frames:
                if frame not in place:
                    raise FileNotFoundError(f"{where} names frame '{frame}', expected it in {frame_dir}")
            if place[entry.frames[0]] not in video.mask_files:
                raise FileNotFoundError(
                    f'{mask_dir / entry.frames[0]}.png: no such file, expected the first mask: {where}'
                )
        return video


def read_meta(path: Path) -> dict[str, dict[int, VideoObject]]:
    """The objects of every video of a ``meta.json``, by id.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no JSON, has another form, or names a video whose name leads out of its
            folder; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected the meta.json of a YouTube-VOS split')
    try:
        videos = json.loads(path.read_text(encoding='utf-8-sig'))['videos']
        entries = {
            name: {int(k): entry for k, entry in video['objects'].items()} for name, video in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        form = "{'videos': {NAME: {'objects': {ID: {'category': ..., 'frames': [...]}}}}}"
        raise ValueError(f'{path}: expected {form} ({type(error).__name__}: {error})') from error
    return {
        check_name(name, path): {
            k: _object(e, f"{path}: object {k} of video '{name}'", k) for k, e in objects.items()
        }
        for name, objects in entries.items()
    }


def _object(entry: dict, where: str, k: int) -> VideoObject:
    if not 0 < k < VOID:
        raise ValueError(f'{where}: expected an id in 1..{VOID - 1}')
    frames = entry.get('frames') if isinstance(entry, dict) else None
    if not frames or not all(isinstance(frame, str) for frame in frames):
        raise ValueError(f"{where}: expected 'frames', a list of frame names, got {frames}")
    return VideoObject(str(entry.get('category', '')), tuple(sorted(frames, key=natural_key)))
