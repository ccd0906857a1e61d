"""The YouTube-VOS metric of mmengine's loops, and the zip file for its evaluation server."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from PIL import Image

from mmstremn.datasets.vos.youtube_vos import YouTubeVOSVideo, read_meta
from mmstremn.evaluation.video_scores import UnscoredVideoError, evaluate_video, report_unscored
from mmstremn.registry import METRICS
from mmstremn.utils.atomic import write_json, written_aside
from mmstremn.utils.palette import DAVIS_PALETTE, decode_palette_png, encode_palette_png


@METRICS.register_module()
class YouTubeVOSMetric(BaseMetric):
    """J and F of seen and unseen categories and G, the mean of the four, of videos of ``YouTubeVOSDataset``.

    An object counts in the frames that meta.json names and that have a mask, from the one after its first
    appearance. J and F of a group are means over its objects of their means over frames. Where a group has no
    object, G is the mean of what there is (and the log says so). Videos in which only prompts are annotated
    are not scored: so a split without masks gives no figures, only ``zip_file``. Other videos that cannot be
    scored (a mask that cannot be read, an object without a category) are named and left out of the figures.

    Args:
        seen_categories: The categories of training, or the path of the training set's ``meta.json``, which
            has them.
        zip_file: The submission, ``Annotations/<video>/<frame>.png`` with the palette of the input's masks,
            or None.
        all_frames: The submission has all frames, not only those that meta.json names.
        out_file: JSON file for the ``metrics`` and the ``videos`` with the measures of every object, or None.
        collect_device, prefix, collect_dir: See ``DAVISMetric``.

    Raises:
        FileNotFoundError: There is no such ``meta.json``.
        ValueError: ``zip_file`` does not end in ``.zip``.
    """

    default_prefix = 'YouTubeVOS'

    def __init__(
        self,
        seen_categories: Sequence[str] | str,
        zip_file: str | None = None,
        all_frames: bool = False,
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if isinstance(seen_categories, str):
            objects = [
                entry for video in read_meta(Path(seen_categories)).values() for entry in video.values()
            ]
            seen_categories = {entry.category for entry in objects}
        self.seen_categories = frozenset(seen_categories)
        if zip_file is not None and Path(zip_file).suffix != '.zip':
            raise ValueError(f'YouTubeVOSMetric.zip_file: expected a path that ends in .zip, got {zip_file}')
        self.zip_file = zip_file
        self.all_frames = all_frames
        self.out_file = out_file

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Scores a batch of videos, and keeps their PNGs where there is a ``zip_file``: one result each.

        Args:
            data_batch: ``inputs`` is the list of the batch's ``YouTubeVOSVideo``.
            data_samples: For each video ``pred_masks``, one palette PNG (bytes) per frame.

        Raises:
            ValueError: A sample has no ``pred_masks``, a video is of another data set, a mask for the
                submission is not of the size of the frames, or :func:`evaluate_video` raised it.
        """
        for video, sample in zip(data_batch['inputs'], data_samples, strict=True):
            if not isinstance(video, YouTubeVOSVideo):
                raise ValueError(
                    f"video '{video.name}': expected one of YouTubeVOSDataset, got a {type(video).__name__}"
                )
            if 'pred_masks' not in sample:
                raise ValueError(
                    f"video '{video.name}': expected a data sample with pred_masks, got {sorted(sample)}"
                )
            result = dict(name=video.name)
            if self.zip_file is not None:
                result['pngs'] = self._submission(video, sample['pred_masks'])
            try:
                result['objects'] = score_objects(video, sample['pred_masks'])
            except UnscoredVideoError as error:
                result['unscored'] = str(error)
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """``J-Seen``, ``F-Seen``, ``J-Unseen``, ``F-Unseen`` and ``G``; writes the files.

        Raises:
            ValueError: There are no results.
        """
        if not results:
            raise ValueError('expected the results of at least one video, got none')
        if self.zip_file is not None:
            write_zip(
                Path(self.zip_file),
                {name: png for result in results for name, png in result.pop('pngs').items()},
            )
            print_log(
                f'YouTubeVOSMetric: {self.zip_file} holds the masks of {len(results)} videos',
                logger='current',
            )
        scored, unscored = report_unscored(results, 'YouTubeVOSMetric')
        metrics = self._means([scores for result in scored for scores in result['objects'].values()])
        if self.out_file is not None:
            write_json(self.out_file, dict(metrics=metrics, videos=scored, unscored=unscored))
        return metrics

    def _means(self, objects: list[dict]) -> dict[str, float]:
        metrics = {}
        for group, is_seen in (('Seen', True), ('Unseen', False)):
            members = [
                scores for scores in objects if (scores['category'] in self.seen_categories) == is_seen
            ]
            for letter in 'JF' if members else '':
                metrics[f'{letter}-{group}'] = float(
                    np.mean([scores[f'{letter}-Mean'] for scores in members])
                )
            if objects and not members:
                message = (
                    f'YouTubeVOSMetric: no object of {group.lower()} categories was scored, G is the mean of '
                    'the others'
                )
                print_log(message, logger='current', level=30)
        if metrics:
            metrics['G'] = float(np.mean(list(metrics.values())))
        else:
            print_log(
                'YouTubeVOSMetric: no video has masks besides its prompts, so there are no figures',
                logger='current',
            )
        return metrics

    def _submission(self, video: YouTubeVOSVideo, pred_masks: Sequence[bytes]) -> dict[str, bytes]:
        """The files of a video, by their names in the zip file."""
        palette = read_palette(video.mask_files[min(video.mask_files)])
        files = {}
        for index in range(video.num_frames) if self.all_frames else video.named_frames:
            ids = decode_palette_png(pred_masks[index])
            if ids.shape != video.source_size:
                raise ValueError(
                    f"video '{video.name}': expected masks of the size of its frames (H, W) "
                    f'{video.source_size} for '
                    f"{self.zip_file}, got {ids.shape}: set the model's short_side, not the data set's"
                )
            files[f'Annotations/{video.name}/{video.frame_names[index]}.png'] = encode_palette_png(
                ids, palette
            )
        return files


def score_objects(video: YouTubeVOSVideo, pred_masks: Sequence[bytes]) -> dict[int, dict]:
    """``category``, ``J-Mean``, ``F-Mean`` and ``num_scored`` of each object; empty where only prompts are
    annotated.

    Raises:
        ValueError: As of :func:`evaluate_video`.
        UnscoredVideoError: As of :func:`evaluate_video`, or an object has no category.
    """
    frames = [index for index in video.named_frames if index in video.mask_files]
    if set(video.annotated) <= set(video.prompts) or not any(index > min(video.prompts) for index in frames):
        return {}
    scored = evaluate_video(video, pred_masks, frames)['objects']
    for k in scored:
        if not video.objects[k].category:
            raise UnscoredVideoError(
                f"video '{video.name}': object {k} has no category in meta.json: is it seen or unseen?"
            )
    keys = ('J-Mean', 'F-Mean', 'num_scored')
    return {
        k: dict(category=video.objects[k].category) | {key: scores[key] for key in keys}
        for k, scores in scored.items()
    }


def read_palette(path: str) -> np.ndarray:
    """(256, 3) uint8 colours of a palette PNG; DAVIS's where it has none."""
    with Image.open(path) as image:
        colours = image.getpalette()
    if colours is None:
        return DAVIS_PALETTE
    palette = DAVIS_PALETTE.copy()
    palette[: len(colours) // 3] = np.array(colours, np.uint8).reshape(-1, 3)
    return palette


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Writes ``files`` (name to content, PNGs: not compressed again) so that a whole file is there or
    none."""
    with written_aside(path) as partial, zipfile.ZipFile(partial, 'w') as archive:
        for name in sorted(files):
            archive.writestr(name, files[name])
