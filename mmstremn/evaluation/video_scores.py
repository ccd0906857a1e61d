"""J and F of the objects of whole videos, decoded one frame at a time."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from mmengine.logging import print_log

from mmstremn.evaluation.absence import Absence, absence_measures
from mmstremn.evaluation.davis_measures import boundary_f_measure, davis_statistics, region_similarity
from mmstremn.structures.video import VOID, Video
from mmstremn.utils.palette import decode_palette_png

log_warning = partial(print_log, logger='current', level=logging.WARNING)
MEASURES = ('J&F', 'J-Mean', 'J-Recall', 'J-Decay', 'F-Mean', 'F-Recall', 'F-Decay')


class UnscoredVideoError(ValueError):
    """A video cannot be scored, whatever was predicted: its annotation is missing or cannot be read."""


def evaluate_video(video: Video, pred_masks: Sequence[bytes], frames: Sequence[int] | None = None) -> dict:
    """Scores the predicted masks of one video by the semi-supervised DAVIS protocol.

    The objects are those of the prompts, and ids match directly; predicted ids that are not prompted score as
    background. An object is scored in ``frames`` after its first prompt, where the video is annotated. Void
    pixels do not count.

    Args:
        video: The video with its true masks.
        pred_masks: One palette PNG of (H, W) object ids per frame.
        frames: The frames that count, ascending; None: all but the first and the last, as in DAVIS.

    Returns:
        ``name``, ``num_frames``, ``objects`` (dict of object id to its ``MEASURES``, ``num_scored``, the
        number of its scored frames, and, where it is away for a while, ``absence``: see
        :class:`~mmstremn.evaluation.absence.Absence`), ``mean`` (the measures averaged over the objects) and
        ``unscored_objects`` (the ids that have no scored frame).

    Raises:
        ValueError: The number of predictions is not that of the frames, or a prediction cannot be decoded or
            has another size than the frames.
        UnscoredVideoError: No frame of the video can be scored, or a true mask cannot be read or has another
            size than the frames.
    """
    if len(pred_masks) != video.num_frames:
        raise ValueError(
            f"video '{video.name}': expected one predicted mask per frame, {video.num_frames}, got "
            f'{len(pred_masks)}'
        )
    return score_video(video, lambda index: _decode(video, index, pred_masks[index]), frames)


def score_video(
    video: Video, predicted: Callable[[int], np.ndarray], frames: Sequence[int] | None = None
) -> dict:
    """:func:`evaluate_video` of masks from anywhere.

    Args:
        video, frames: See there.
        predicted: Gives the predicted mask (H, W) uint8 of a frame, of which it is asked once.

    Returns:
        See there.

    Raises:
        ValueError: A predicted mask has another size than the frames.
        UnscoredVideoError: See there.
    """
    first_frames = _first_frames(video)
    values = {object_id: [] for object_id in first_frames}
    absences = {object_id: Absence() for object_id in first_frames}
    frames = range(1, video.num_frames - 1) if frames is None else frames
    for index, gt, pred in _scored_frames(video, predicted, frames):
        ids = [object_id for object_id, first in first_frames.items() if first < index]
        for object_id, j_and_f in zip(ids, _score_frame(gt, pred, ids), strict=True):
            values[object_id].append(j_and_f)
            absences[object_id].add(gt == object_id, pred == object_id, j_and_f)
    objects = {object_id: _object_measures(np.array(pairs)) for object_id, pairs in values.items() if pairs}
    for object_id in objects:
        if absences[object_id].absent:
            objects[object_id]['absence'] = absences[object_id].counts()
    if not objects:
        raise UnscoredVideoError(
            f"video '{video.name}': expected an annotated frame between the first prompt of an object and "
            'the last '
            f'frame, found none in {video.num_frames} frames with {len(first_frames)} prompted objects'
        )
    return dict(
        name=video.name,
        num_frames=video.num_frames,
        objects=objects,
        mean=mean_measures(objects.values()),
        unscored_objects=[object_id for object_id, pairs in values.items() if not pairs],
    )


def report_unscored(results: Sequence[dict], metric: str) -> tuple[list[dict], dict[str, str]]:
    """The results of videos that were scored, and the reasons of the others by name, which are logged.

    Args:
        results: Of videos; those that could not be scored have the reason under ``unscored``.
        metric: Named in the log.
    """
    scored = [result for result in results if 'unscored' not in result]
    unscored = {result['name']: result['unscored'] for result in results if 'unscored' in result}
    if unscored:
        log_warning(
            f'{metric}: {len(unscored)} of {len(results)} videos are not scored and count in no figure: '
            + '; '.join(unscored.values())
        )
    return scored, unscored


def global_measures(videos: Sequence[dict]) -> dict[str, float]:
    """The measures of a data set: the mean over all objects, whatever video they are in.

    Args:
        videos: Results of :func:`evaluate_video`, at least one.

    Returns:
        The ``MEASURES``, and those of :func:`~mmstremn.evaluation.absence.absence_measures`.
    """
    objects = [scores for video in videos for scores in video['objects'].values()]
    absences = (scores['absence'] for scores in objects if 'absence' in scores)
    return mean_measures(objects) | absence_measures(absences)


def mean_measures(objects: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of each of ``MEASURES`` over the given objects' measures."""
    objects = list(objects)
    return {name: float(np.mean([scores[name] for scores in objects])) for name in MEASURES}


def _first_frames(video: Video) -> dict[int, int]:
    """The index of the first prompt of every object, by ascending id."""
    first_frames = {}
    for index in sorted(video.prompts):
        for object_id in np.unique(video.prompts[index]).tolist():
            first_frames.setdefault(object_id, index)
    return {object_id: first_frames[object_id] for object_id in video.object_ids}


def _scored_frames(
    video: Video, predicted: Callable[[int], np.ndarray], frames: Iterable[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Index, true and predicted (H, W) ids of those of ``frames`` that are annotated."""
    for index in frames:
        gt = _true_mask(video, index)
        if gt is None:
            continue
        pred = predicted(index)
        if pred.shape != gt.shape:
            raise ValueError(
                f"video '{video.name}', frame {index}: expected a predicted mask of the size of the true "
                f'mask (H, W), {gt.shape}, got {pred.shape}'
            )
        yield index, gt, pred


def _true_mask(video: Video, index: int) -> np.ndarray | None:
    try:
        mask = video.mask(index)
    except (OSError, ValueError) as error:
        raise UnscoredVideoError(f"video '{video.name}', frame {index}: true mask: {error}") from error
    if mask is not None and mask.shape != video.size:
        raise UnscoredVideoError(
            f"video '{video.name}', frame {index}: expected a true mask of the size of the frames (H, W), "
            f'{video.size}, got {mask.shape}'
        )
    return mask


def _decode(video: Video, index: int, png: bytes) -> np.ndarray:
    try:
        return decode_palette_png(png)
    except ValueError as error:
        raise ValueError(f"video '{video.name}', frame {index}: predicted mask: {error}") from error


def _score_frame(gt: np.ndarray, pred: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """(O, 2) J and F of the objects ``ids`` in one frame of (H, W) ids."""
    ids = np.array(ids, dtype=np.uint8)[:, None, None]
    gt_objects, pred_objects = gt == ids, pred == ids
    void = np.broadcast_to(gt == VOID, gt_objects.shape) if (gt == VOID).any() else None
    j = region_similarity(gt_objects, pred_objects, void=void)
    return np.stack([j, boundary_f_measure(gt_objects, pred_objects, void=void)], axis=1)


def _object_measures(j_and_f: np.ndarray) -> dict[str, float]:
    """Measures of one object from its (T, 2) J and F per scored frame."""
    j, f = davis_statistics(j_and_f[:, 0]), davis_statistics(j_and_f[:, 1])
    measures = {'J&F': (j.mean + f.mean) / 2}
    for letter, statistics in (('J', j), ('F', f)):
        measures |= {f'{letter}-{name.capitalize()}': value for name, value in statistics._asdict().items()}
    return measures | {'num_scored': len(j_and_f)}
