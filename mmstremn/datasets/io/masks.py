"""Masks from files: every entry point reads them here, and the masks of a video are read by one rule.

What is stored may be object ids, a black and white picture of one object, or a colour for each object.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from mmstremn.datasets.io.images import decode_picture, read_header
from mmstremn.datasets.io.labelmap import LabelMap, find_labelmap
from mmstremn.structures.masks import FIRST_SHADE, MAX_ID, WHITE, are_shades, black_and_white
from mmstremn.structures.video import VOID, mask_ids
from mmstremn.utils.palette import DAVIS_PALETTE

INDEX_MODES, GREY_MODES, COLOUR_MODES = ('P', '1'), ('L',), ('RGB', 'RGBA', 'LA', 'La', 'PA')
DEEP_MODES = ('I', 'I;16', 'I;16B', 'I;16L')
MODES = (*INDEX_MODES, *GREY_MODES, *COLOUR_MODES, *DEEP_MODES)
LOSSY = ('JPEG', 'MPO', 'JPEG2000', 'AVIF')
WANTED = 'expected a palette or grey PNG of object ids (0 background, 1, 2, ...), without smoothing'
HALF = 128
DEEP_VOID = 0xFFFF
STANDARD = 22  # colours by which the palette of DAVIS is known; further ones differ between versions
SAID: set[tuple[Path, str]] = set()
FEW = 8  # levels that are too few for smooth edges, and colours that a line names


class Stored(NamedTuple):
    """What a mask file stores.

    Attributes:
        values: (H, W) integers: palette indices, grey levels, or colours as 0xRRGGBB (-1 where transparent).
        kind: ``'index'``, ``'grey'``, ``'deep'`` (more than 8 bits) or ``'colour'``.
        palette: (N, 3) uint8 colours of the indices, or None.
        is_lossy: The file's compression changes values.
    """

    values: np.ndarray
    kind: str
    palette: np.ndarray | None = None
    is_lossy: bool = False

    def colours(self) -> np.ndarray:
        """The values (H, W) as colours."""
        if self.palette is None or self.kind == 'colour':
            return self.values
        table = np.zeros(256, np.int64)
        table[: len(self.palette)] = _packed(self.palette)
        return table[self.values]


def read_mask(path: str | Path, single_object: bool = False) -> np.ndarray:
    """The object ids (H, W) uint8 of one mask; see :class:`MaskFiles`, which is for the masks of a video."""
    return MaskFiles([path], single_object).read(path)


def read_mask_header(path: str | Path) -> tuple[int, int]:
    """(H, W) of a mask, without decoding it. Raises a ValueError where its mode is none of a mask."""
    header = read_header(path)
    _check_mode(header.mode, path)
    return header.size


class MaskFiles:
    """The mask files of one video (or of one run), all read by the same rule.

    - Palette PNGs hold ids: 0 background, 255 void. Where every file has a palette of its own, in another
      order, or where index 0 is a colour and another one black or transparent, they hold colours.
    - Grey pictures hold ids too, unless they are black and white, with or without smooth edges or the noise
      of JPEG: then they show one object, id 1, where they are at least 128. Which of the two it is, is
      decided by the first mask that is not empty.
    - 16-bit pictures hold ids, 8-bit levels times 257, or, where numbers exceed 255, objects that get the
      ids 1, 2, ... in ascending order of their numbers, and 65535 where void. Grey PNGs of 2 and 4 bits hold
      ids too.
    - Pictures in colour hold one object per colour, the same in all files. Its id is its place in CVAT's
      ``labelmap.txt`` (beside the files, or up to two folders above), or in the palette of DAVIS, or else
      its number in the order in which the colours appear; black and transparent pixels are background. If all
      are shades of grey that ``labelmap.txt`` does not name the pictures are read as grey ones.

    Args:
        paths: The files in the order of their frames.
        single_object: All that is not background is object 1 (DAVIS 2016, collections of photographs).

    Attributes:
        labels: The names of ids that ``labelmap.txt`` gives, once a picture in its colours was read.
    """

    def __init__(self, paths: Iterable[str | Path], single_object: bool = False):
        self.paths = [str(path) for path in paths]
        self.single_object = single_object
        self.labels: dict[int, str] = {}

    def read(self, path: str | Path) -> np.ndarray:
        """The object ids of one of the files: (H, W) uint8.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is no whole picture, of a mode that masks do not have, or what it means
                cannot be told; the message names the file and says what to do.
        """
        stored = load_mask(path)
        if self.single_object:
            return _one_object(stored, path)
        if stored.kind == 'index':
            if self._has_other_palette(stored) and self._palettes_are_shuffled:
                return self._from_colours(stored, path)
            return _checked_indices(stored, path)
        if stored.kind == 'deep':
            return self._from_deep(stored, path)
        if stored.kind == 'colour' and self._ids_of_colours is not None:
            return self._from_colours(stored, path)
        return self._from_grey(_grey(stored), path)

    @property
    def numbers_objects(self) -> bool:
        """Colours or large numbers are numbered in their order, so that ids depend on all of the files."""
        if self.single_object:
            return False
        if self._first.kind == 'deep':
            return not isinstance(self._rule_of_deep, int)
        return self._first.kind == 'colour' and self._ids_of_colours is not None

    def _from_grey(self, stored: Stored, path: str | Path) -> np.ndarray:
        values = stored.values
        levels = mask_ids(values)
        one = _white(stored) if max(levels) >= WHITE else None
        if one is not None and self._shows_one_object:
            _say_once(path, f'black and white, read as one object (id 1): all from {HALF} up')
            return one.astype(np.uint8)
        if levels <= {0, VOID}:
            return values
        if stored.is_lossy:
            raise ValueError(f'{path}: {WANTED}; JPEG changes the ids, save the masks as PNG')
        if len(levels) > FEW and _is_smooth(values):
            raise ValueError(
                f'{path}: {len(levels)} grey levels, most of them along edges: {WANTED} '
                '(or black and white for one object)'
            )
        if are_shades(levels):
            raise ValueError(
                f'{path}: grey levels {sorted(levels)}: 255 is void in masks of ids, and these look like '
                f'shades of objects; {WANTED}, or a palette PNG where 255 is meant to be void'
            )
        return values

    def _from_deep(self, stored: Stored, path: str | Path) -> np.ndarray:
        rule = self._rule_of_deep
        if isinstance(rule, int):
            return self._from_grey(Stored((stored.values // rule).astype(np.uint8), 'grey'), path)
        ids = np.searchsorted(rule, stored.values)
        return np.where(stored.values == DEEP_VOID, VOID, ids).astype(np.uint8)

    @cached_property
    def _rule_of_deep(self) -> int | np.ndarray:
        """By what the values of the video are divided, or the numbers of all objects, ascending, 0 first."""
        numbers = [np.unique(stored.values) for _, stored in self._loaded() if stored.kind == 'deep']
        numbers = np.unique(np.concatenate([[0], *numbers]))
        if numbers[-1] <= VOID:
            return 1
        if numbers[-1] <= DEEP_VOID and (not (numbers % 257).any() or len(numbers) > MAX_ID + 1):
            return 257  # 8 bits that were widened, or a black and white picture with smooth edges
        numbers = numbers[numbers != DEEP_VOID]
        if len(numbers) > MAX_ID + 1:
            raise ValueError(
                f'{self.paths[0]}: {len(numbers) - 1} ids in the video, expected at most {MAX_ID}'
            )
        if numbers[-1] > MAX_ID:
            _say_numbers(self.paths[0], f'numbers (some above {VOID})', numbers[1:].tolist())
        return numbers

    def _from_colours(self, stored: Stored, path: str | Path) -> np.ndarray:
        colours, places = np.unique(stored.colours(), return_inverse=True)
        table = self._ids_of_colours or {}
        unknown = [colour for colour in colours.tolist() if colour not in table]
        if unknown:
            raise ValueError(f'{path}: the colour #{unknown[0]:06x} is in none of the masks of this video')
        return np.array([table[colour] for colour in colours.tolist()], np.uint8)[places].reshape(
            stored.values.shape
        )

    def _loaded(self) -> Iterator[tuple[str, Stored]]:
        return ((path, load_mask(path)) for path in self.paths)

    @cached_property
    def _shows_one_object(self) -> bool:
        """The first mask that is not empty is black and white."""
        for path, stored in self._loaded():
            stored = self._shallow(stored)
            if not stored.values.any():
                continue
            if stored.kind == 'index':
                raise ValueError(
                    f'{path}: a mask of ids, but others of the same video are black and white: expected one '
                    'kind of masks'
                )
            return _white(stored) is not None
        return False

    def _shallow(self, stored: Stored) -> Stored:
        """A picture of more than 8 bits, or in colours that are grey, as a grey one."""
        if stored.kind == 'deep' and isinstance(self._rule_of_deep, int):
            return Stored((stored.values // self._rule_of_deep).astype(np.uint8), 'grey')
        return _grey(stored)

    @cached_property
    def _first(self) -> Stored:
        return load_mask(self.paths[0])

    def _has_other_palette(self, stored: Stored) -> bool:
        """The file's palette is neither that of DAVIS nor that of the first file."""
        if stored.palette is None or _begin_alike(stored.palette, DAVIS_PALETTE[:STANDARD]):
            return False
        return self._first.palette is not None and not _begin_alike(stored.palette, self._first.palette)

    @cached_property
    def _palettes_are_shuffled(self) -> bool:
        """A colour has several indices, or palettes that hold nothing but what is used differ."""
        pairs, all_used = set(), True
        for _, stored in self._loaded():
            if stored.palette is not None:
                if stored.kind == 'colour':
                    return True
                used = sorted(mask_ids(stored.values))
                all_used &= len(used) == len(stored.palette)
                pairs |= set(zip(used, _packed(stored.palette)[used].tolist(), strict=True))
        indices, colours = ({pair[side] for pair in pairs} for side in (0, 1))
        return len(colours) < len(pairs) or (all_used and len(indices) < len(pairs))

    @cached_property
    def _ids_of_colours(self) -> dict[int, int] | None:
        """The id of each colour of the video, -1 being transparent; None where all are shades of grey."""
        found, last = {}, ''
        for path, stored in self._loaded():
            if stored.kind == 'colour' or (stored.palette is not None and self._palettes_are_shuffled):
                colours = np.unique(stored.colours())
                _check_not_mixed(colours, stored, path)
                found.update(dict.fromkeys(colours.tolist()))
                last = path
        labelmap = _labelmap_of(set(found) - {-1}, self.paths[0])
        is_grey = _is_grey(np.array(list(found), np.int64))
        if is_grey and not self._palettes_are_shuffled and not labelmap:
            return None
        return {-1: 0} | self._number(list(found), last, labelmap)

    def _number(self, colours: list[int], path: str, labelmap: LabelMap | None) -> dict[int, int]:
        """Ids for all colours of a video."""
        if self._first.kind == 'index':
            return self._number_after_first(colours)
        if labelmap:
            self.labels = labelmap.labels
            return labelmap.ids
        seen = set(colours) - {-1}
        if seen <= DAVIS_IDS.keys():
            return DAVIS_IDS
        if 0 not in seen and -1 not in colours:
            raise ValueError(
                f'{path}: masks in colour without black, expected black where there is no object'
            )
        objects = [colour for colour in colours if colour not in (0, -1)]
        if len(objects) > MAX_ID:
            raise ValueError(
                f'{path}: {len(objects)} colours in the video, expected at most {MAX_ID}; {WANTED}'
            )
        _say_numbers(path, 'colours', [f'#{colour:06x}' for colour in objects])
        return {0: 0} | {colour: number for number, colour in enumerate(objects, 1)}

    def _number_after_first(self, colours: list[int]) -> dict[int, int]:
        """The indices of the first file are the ids of its colours."""
        used = sorted(mask_ids(self._first.values))
        table = dict(zip(_packed(self._first.palette)[used].tolist(), used, strict=True))
        free = iter(sorted(set(range(1, VOID)) - set(used)))
        return table | {colour: next(free) for colour in colours if colour not in (*table, 0, -1)} | {0: 0}


def _labelmap_of(colours: set[int], path: str) -> LabelMap | None:
    """The label map beside or above the masks, if it has all of the colours, and there are any."""
    labelmap = find_labelmap(Path(path).parent) if colours else None
    return labelmap if labelmap and colours <= labelmap.ids.keys() else None


def load_mask(path: str | Path) -> Stored:
    """What a mask file stores. Raises like :meth:`MaskFiles.read`."""
    return decode_picture(path, lambda image: _stored(image, path))


def _check_mode(mode: str, path: str | Path) -> None:
    if mode not in MODES:
        raise ValueError(f'{path}: wrong palette/mode: {WANTED}, found mode {mode}')


def _stored(image: Image.Image, path: str | Path) -> Stored:
    _check_mode(image.mode, path)
    if image.mode == 'P':
        indices = np.array(image)
        palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
        return _indexed(indices, palette, _transparent(image.info.get('transparency')))
    if image.mode == '1':
        return Stored(np.array(image, np.uint8), 'index')
    if image.mode in DEEP_MODES:
        values = np.array(image).astype(np.int64)
        if values.min() < 0:
            raise ValueError(f'{path}: ids below 0, expected 0 where there is no object; {WANTED}')
        return Stored(values, 'deep')
    is_lossy = _is_lossy(image)
    if image.mode == 'L':
        values = np.array(image)
        step = _step_of_levels(image)
        if step and black_and_white(values) is None:
            values //= step
        return Stored(values, 'grey', is_lossy=is_lossy)
    return _coloured(image, is_lossy, path)


def _transparent(stored: int | bytes | None) -> list[int]:
    """The indices of a palette that cannot be seen."""
    if isinstance(stored, bytes):
        return [index for index, alpha in enumerate(stored) if not alpha]
    return [] if stored is None else [stored]


def _step_of_levels(image: Image.Image) -> int | None:
    """What PIL multiplies the values of a grey PNG of 2 or 4 bits by."""
    if image.format != 'PNG':
        return None
    with open(image.filename, 'rb') as file:
        return {2: 85, 4: 17}.get(file.read(25)[24])


def _is_lossy(image: Image.Image) -> bool:
    if image.format == 'WEBP':  # the first chunk is VP8L, VP8 or VP8X, which holds either
        with open(image.filename, 'rb') as file:
            return b'VP8L' not in file.read(4096)
    return image.format in LOSSY or image.info.get('compression') in ('jpeg', 'tiff_jpeg', 'webp')


def _indexed(indices: np.ndarray, palette: np.ndarray, hidden: list[int]) -> Stored:
    """A picture with a palette, of which the indices ``hidden`` are transparent; one all of whose palette is
    grey may be black and white."""
    if len(palette) and (palette == palette[:, :1]).all() and indices.max() < len(palette):
        levels = palette[:, 0][indices]
        if black_and_white(levels) is not None:
            return Stored(levels, 'grey')
    if len(palette) and palette[0].any() and 0 not in hidden:
        picture = np.where(np.isin(indices, hidden), -1, Stored(indices, 'index', palette).colours())
        if (picture <= 0).any():  # quantised, the background is somewhere among the indices
            return Stored(picture, 'colour', palette)
    return Stored(indices, 'index', palette)


def _checked_indices(stored: Stored, path: str | Path) -> np.ndarray:
    """The indices, unless they are those of a picture with smooth edges or of a photograph."""
    if stored.palette is None or _begin_alike(stored.palette, DAVIS_PALETTE[:STANDARD]):
        return stored.values
    levels = len(mask_ids(stored.values))
    if levels > FEW and _is_smooth(stored.values):
        raise ValueError(f'{path}: {levels} colours in a palette, most of them along edges: {WANTED}')
    return stored.values


def _coloured(image: Image.Image, is_lossy: bool, path: str | Path) -> Stored:
    if image.mode == 'RGB' and is_lossy:
        rgb = np.array(image)
        if np.ptp(rgb.astype(np.int16), axis=2).max() > FIRST_SHADE:
            raise ValueError(f'{path}: {WANTED}; JPEG mixes colours, save the masks as PNG')
        return Stored(np.array(image.convert('L')), 'grey', is_lossy=True)
    rgba = np.array(image.convert('RGBA'))
    colours, alpha = _packed(rgba), rgba[..., 3]
    visible = (alpha > 0) & (alpha >= alpha.max() / 2)  # overlays are half transparent where they are drawn
    if not visible.all() and not colours[visible].any():
        return Stored(np.where(visible, VOID, 0).astype(np.uint8), 'grey')  # drawn in black on nothing
    return Stored(np.where(visible, colours, -1), 'colour')


def _packed(rgb: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 colours as 0xRRGGBB."""
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


DAVIS_IDS = {int(colour): k for k, colour in reversed(list(enumerate(_packed(DAVIS_PALETTE))))}


def _check_not_mixed(colours: np.ndarray, stored: Stored, path: str | Path) -> None:
    """Raise a ValueError where there are too many colours for objects, and the picture is not grey."""
    if len(colours) <= FEW or _is_grey(colours):
        return
    if len(colours) > MAX_ID + 2 or _is_smooth(stored.colours()):
        raise ValueError(
            f'{path}: {len(colours)} colours, expected one for each object, black where there is none, and '
            f'no smooth edges; {WANTED}'
        )


def _begin_alike(palette: np.ndarray, other: np.ndarray) -> bool:
    common = min(len(palette), len(other))
    return np.array_equal(palette[:common], other[:common])


def _is_grey(colours: np.ndarray) -> bool:
    levels = colours[colours >= 0] & 0xFF
    return bool((colours[colours >= 0] == levels * 0x010101).all())


def _grey(stored: Stored) -> Stored:
    """A picture in colour all of whose colours are grey, as a grey one; others as they are."""
    if stored.kind != 'colour':
        return stored
    levels = np.where(stored.values < 0, 0, stored.values & 0xFF).astype(np.uint8)
    return Stored(levels, 'grey', is_lossy=stored.is_lossy)


def _white(stored: Stored) -> np.ndarray | None:
    """The object (H, W) bool of a grey picture that is black and white, else None."""
    values = stored.values
    if not stored.is_lossy:
        return black_and_white(values)
    shades = _flat_values(values)
    between = ((shades > FIRST_SHADE) & (shades < VOID - FIRST_SHADE)).sum()
    return values >= HALF if 20 * between <= (values >= HALF).sum() else None


def _is_smooth(values: np.ndarray) -> bool:
    """Most levels fill no area of 3 x 3 pixels: they are mixtures along edges."""
    return 2 * len(np.unique(_flat_values(values))) < len(np.unique(values))


def _flat_values(values: np.ndarray) -> np.ndarray:
    """The values of all pixels that are equal to their eight neighbours."""
    if min(values.shape) < 3:
        return values.ravel()
    same = np.ones((values.shape[0] - 2, values.shape[1] - 2), bool)
    centre = values[1:-1, 1:-1]
    for row in range(3):
        for column in range(3):
            same &= values[row : row + same.shape[0], column : column + same.shape[1]] == centre
    return centre[same]


def _one_object(stored: Stored, path: str | Path) -> np.ndarray:
    """Object 1 wherever there is one; grey pictures with white from 128 up."""
    values = stored.values
    if stored.kind == 'deep':
        return (values >= (HALF * 257 if values.max() == 0xFFFF else 1)).astype(np.uint8)
    if stored.kind == 'colour':
        colours = np.unique(values)
        _check_not_mixed(colours, stored, path)
        if not _is_grey(colours):
            return (values > 0).astype(np.uint8)
        values = _grey(stored).values
    if stored.kind == 'index':
        ids = (values > 0) & (values < VOID)
        return (ids if ids.any() else values == VOID).astype(np.uint8)
    is_white = stored.is_lossy or values.max() == VOID or black_and_white(values) is not None
    return (values >= HALF if is_white else values > 0).astype(np.uint8)


def _say_numbers(path: str | Path, kind: str, objects: Sequence) -> None:
    """Say which id each object has, in their order."""
    said = [f'{name} is {number}' for number, name in enumerate(objects, 1)]
    _say_once(path, f'{kind} are read as ids: {", ".join(said[:FEW])}{", ..." * (len(said) > FEW)}')


def _say_once(path: str | Path, line: str) -> None:
    """Once for all masks of a data set, which lie two folders below it or less."""
    folder = Path(path).absolute().parent.parent
    if (folder, line) not in SAID:
        SAID.add((folder, line))
        print_log(f'{path}: {line}', logger='current')
