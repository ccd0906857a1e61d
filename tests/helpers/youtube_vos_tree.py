"""Tiny data in the YouTube-VOS layout: the squares of ``davis_tree``, named every 5th frame, with a
meta.json."""

import json
from pathlib import Path

from PIL import Image

from helpers.davis_tree import draw_frame, draw_ids, save_ids

CATEGORIES = {1: 'penguin', 2: 'tractor', 3: 'penguin'}


def add_video(
    root: Path,
    name: str,
    appear: dict[int, int],
    frames: int = 8,
    all_frames: Path | None = None,
    prompts_only: bool = False,
) -> None:
    """Write one video and enter it in meta.json.

    Args:
        root: Folder of the split.
        name: The video.
        appear: For each id the place of the first annotated frame in which it is labelled.
        frames: Annotated frames.
        all_frames: Folder that gets the frames between them too.
        prompts_only: Masks only where objects appear, with those objects alone (as in the official valid
            split).
    """
    names = [f'{5 * index:05d}' for index in range(frames)]
    for index in range(5 * (frames - 1) + 1):
        picture = Image.fromarray(draw_frame(draw_ids(index // 5, tuple(appear))))
        folders = [all_frames] if all_frames else []
        for folder in [*folders, *([root] if index % 5 == 0 else [])]:
            path = folder / 'JPEGImages' / name / f'{index:05d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=95)
    for place, frame in enumerate(names):
        mask = draw_ids(place, tuple(appear))
        shown = [k for k, first in appear.items() if (first == place if prompts_only else first <= place)]
        for k in appear:
            if k not in shown:
                mask[mask == k] = 0
        if shown or not prompts_only:
            save_ids(root / 'Annotations' / name / f'{frame}.png', mask)
    objects = {
        str(k): dict(category=CATEGORIES.get(k, 'thing'), frames=names[first:]) for k, first in appear.items()
    }
    edit_meta(root, lambda videos: videos.update({name: dict(objects=objects)}))


def edit_meta(root: Path, change) -> None:
    """Change the ``videos`` of a split's meta.json."""
    path = root / 'meta.json'
    meta = json.loads(path.read_text()) if path.is_file() else dict(videos={})
    change(meta['videos'])
    path.write_text(json.dumps(meta))
