"""Results of frames in a folder: what is whole stays, so that a run that was stopped goes on."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmstremn.utils.atomic import write_json
from mmstremn.utils.palette import decode_palette_png, encode_palette_png

MOST_STATES = 8  # of a span; beyond, every second one goes


class StoredResult(NamedTuple):
    """A frame's result as it is kept.

    Attributes:
        recipe: Identifies what it depends on, see :meth:`Plan.recipe`.
        confidence: By object.
        slots: As in :class:`FrameResult`.
    """

    recipe: str
    confidence: dict[int, float]
    slots: list[int] | None


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What a damaged file leads to becomes a ValueError that names it."""
    try:
        yield
    except (ValueError, TypeError, RecursionError, zlib.error) as error:
        raise ValueError(f'{path}: damaged ({error}); remove it, it is computed anew') from error


class ResultStore:
    """Masks of frames, probabilities that wait to be merged, and states of streams, in a folder.

    A line is added to ``frames.jsonl`` once the mask of a frame is written: a mask without a line and a line
    without a mask do not count, and a line that is not whole is left out.

    Args:
        folder: Made if it does not exist.
        about: What the results are of: the same in all runs on this folder.

    Raises:
        ValueError: The folder holds results of something else; the message says what differs.
    """

    def __init__(self, folder: str | Path, about: dict | None = None):
        self.folder = Path(folder)
        for name in ('masks', 'parts', 'states'):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._check(json.loads(json.dumps(about or {})))
        self._results = dict(self._read())
        self._journal = open(self.folder / 'frames.jsonl', 'a', encoding='utf-8')  # noqa: SIM115
        self._journal.write('\n')  # ends the half line of a run that was killed

    def _check(self, about: dict) -> None:
        path = self.folder / 'about.json'
        if not path.exists():
            write_json(path, about)
            return
        try:
            found = dict(json.loads(path.read_text('utf-8')))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(
                f'{path}: expected the record of a run, it is damaged ({error}); remove {self.folder}, or '
                'write to another folder'
            ) from error
        for key in sorted({*found, *about}):
            if found.get(key) != about.get(key):
                raise ValueError(
                    f'{self.folder}: holds results of another run ({key}: {found.get(key)!r}, now '
                    f'{about.get(key)!r}); remove it, or write to another folder'
                )

    def _read(self) -> Iterator[tuple[int, StoredResult]]:
        path = self.folder / 'frames.jsonl'
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                frame, recipe, confidence, slots = json.loads(line)
                result = StoredResult(recipe, {int(k): float(v) for k, v in confidence.items()}, slots)
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue
            if type(frame) is int and self._mask(frame).exists():
                yield frame, result

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    # Final results.

    def put(self, frame: int, ids: np.ndarray, result: StoredResult) -> None:
        """Keep the result of a frame, in the place of an earlier one."""
        self._results.pop(frame, None)
        self._mask(frame).write_bytes(encode_palette_png(ids))
        self._journal.write(json.dumps([frame, *result]) + '\n')
        self._journal.flush()
        self._results[frame] = result

    def get(self, frame: int) -> StoredResult | None:
        """The result of a frame, without its mask."""
        return self._results.get(frame)

    def ids(self, frame: int) -> np.ndarray:
        """The mask (H, W) of a frame that has a result.

        Raises:
            ValueError: Its file is damaged; the message names it.
        """
        path = self._mask(frame)
        with _whole(path):
            return decode_palette_png(path.read_bytes())

    def _mask(self, frame: int) -> Path:
        return self.folder / f'masks/{frame}.png'

    # Probabilities of single spans, where a frame's masks come from several.

    def put_part(self, key: str, frame: int, planes: dict[int, np.ndarray]) -> None:
        """Keep planes (H, W) of probabilities by object, to 1/255."""
        stack = np.stack([np.round(plane * 255).astype(np.uint8) for plane in planes.values()])
        head = json.dumps([list(planes), stack.shape]).encode()
        path = self.folder / f'parts/{frame}-{key}'
        partial = path.with_name(f'{path.name}.partial')
        partial.write_bytes(head + b'\n' + zlib.compress(stack.tobytes(), 1))
        partial.replace(path)

    def get_part(self, key: str, frame: int) -> dict[int, np.ndarray] | None:
        """The planes by object, float32; None where they are not kept. Raises as :meth:`ids` does."""
        path = self.folder / f'parts/{frame}-{key}'
        if not path.exists():
            return None
        with _whole(path):
            head, _, body = path.read_bytes().partition(b'\n')
            objects, shape = json.loads(head)
            stack = np.frombuffer(zlib.decompress(body), np.uint8).reshape(shape)
            return {k: plane.astype(np.float32) / 255 for k, plane in zip(objects, stack, strict=True)}

    def has_part(self, key: str, frame: int) -> bool:
        """Whether the planes are kept."""
        return (self.folder / f'parts/{frame}-{key}').exists()

    # States of streams.

    def put_state(self, stream, key: str, place: int) -> None:
        """Keep a stream that has seen ``place`` + 1 frames of a span; few of a span are kept, evenly spread.

        Args:
            stream: Has ``save``.
            key: Identifies what it has seen, see :meth:`Plan.state_key`.
            place: Of the last frame that it has seen.
        """
        stream.save(str(self._state(key, place)))
        places = self.state_places(key)
        if len(places) > MOST_STATES:
            for old in places[1:-1:2]:
                self._state(key, old).unlink(missing_ok=True)

    def state_places(self, key: str) -> list[int]:
        """The places at which streams with this key are kept, ascending."""
        found = (self.folder / 'states').glob(f'{key}-*.safetensors')
        places = [path.stem.rpartition('-')[2] for path in found]
        return sorted(int(place) for place in places if place.isdecimal())

    def state_path(self, key: str, place: int) -> str:
        """The file of a stream that is kept."""
        return str(self._state(key, place))

    def _state(self, key: str, place: int) -> Path:
        return self.folder / f'states/{key}-{place}.safetensors'
