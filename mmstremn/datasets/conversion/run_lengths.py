"""Run lengths of masks, checked before anything is drawn: files of other people are not to be trusted."""

from collections.abc import Sequence

import numpy as np

LONGEST = 7  # characters of a number: 35 bits


def decode_run_lengths(
    counts: str | Sequence[int], size: tuple[int, int], source: str, order: str = 'F'
) -> np.ndarray:
    """(H, W) bool of alternating runs, the first of which is background.

    Args:
        counts: Numbers of pixels, or COCO's compressed text of them (``rleFrString`` of its mask API).
        size: (H, W).
        source: Where they were read, for messages.
        order: ``'F'``: column by column (COCO, MOTS); ``'C'``: row by row (CVAT).

    Raises:
        ValueError: They are no whole numbers from 0 on, or not those of H * W pixels; names ``source``.
    """
    if isinstance(counts, str):
        counts = _decompress(counts, source)
    if not isinstance(counts, Sequence) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f'{source}: expected run lengths (whole numbers from 0 on)')
    if sum(counts) != size[0] * size[1]:
        raise ValueError(
            f'{source}: run lengths of {sum(counts)} pixels, expected {size[0]} x {size[1]} (H, W) = '
            f'{size[0] * size[1]}'
        )
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size, order=order)


def _decompress(text: str, source: str) -> list[int]:
    """Each character from '0' on holds 5 bits of a number, low ones first, and a sixth that says whether the
    next one belongs to it. From the fourth number on they are differences to the last but one."""
    counts, number, length = [], 0, 0
    for character in text:
        bits = ord(character) - ord('0')
        if not 0 <= bits < 64 or length == LONGEST:
            raise ValueError(f"{source}: no run lengths of COCO's compressed form, found {text[:20]!r}")
        number |= (bits & 31) << 5 * length
        length += 1
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << 5 * length
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number, length = 0, 0
    if length:
        raise ValueError(
            f"{source}: run lengths of COCO's compressed form that are cut off: ...{text[-20:]!r}"
        )
    return counts
