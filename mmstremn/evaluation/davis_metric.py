"""The DAVIS metric of mmengine's test and validation loops."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from rich.console import Console
from rich.table import Table

from mmstremn.datasets.io.folders import without_suffix
from mmstremn.datasets.io.frame_sources import check_no_frames, frame_folders
from mmstremn.evaluation.video_scores import (
    MEASURES,
    UnscoredVideoError,
    evaluate_video,
    global_measures,
    report_unscored,
)
from mmstremn.registry import METRICS
from mmstremn.structures.video import Video
from mmstremn.utils.atomic import folder_written_aside, write_json


@METRICS.register_module()
class DAVISMetric(BaseMetric):
    """J and F mean, recall and decay and J&F of semi-supervised video object segmentation.

    The figures are means over all objects of the data set, by the protocol of :func:`evaluate_video`. Where
    objects are away in some frames, ``false_alarms`` (share of these frames in which more than .1 % of the
    picture is painted) and ``reidentification`` (J&F in the ten frames after a return) are added. ``fps``
    is added where the model reports its time: the frames of the timed videos over the seconds they took.

    A video that cannot be scored (only its prompts are annotated, or its masks cannot be read) is named and
    left out of the figures; where no video can be scored there are none.

    Args:
        out_file: JSON file for the ``metrics``, the ``videos`` with the measures of every object and the
            ``unscored`` ones with the reasons, or None.
        png_dir: Folder for the predicted masks, ``PNG_DIR/<video>/<frame>.png`` as DAVIS wants them, or None.
        collect_device: Where the results of all ranks are collected, ``'cpu'`` or ``'gpu'``.
        prefix: Put before the names of the metrics.
        collect_dir: Shared folder to collect the results in on the CPU.
    """

    default_prefix = 'DAVIS'

    def __init__(
        self,
        out_file: str | None = None,
        png_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.out_file = out_file
        self.png_dir = png_dir

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Scores a batch of videos: one result each.

        Args:
            data_batch: ``inputs`` is the list of the batch's :class:`Video`.
            data_samples: For each video ``pred_masks``, one palette PNG (bytes) per frame, and, where the
                model timed itself, ``frame_seconds``, the mean seconds a frame, and ``state_bytes``, the size
                of its memory.

        Raises:
            ValueError: A data sample has no ``pred_masks``, or :func:`evaluate_video` raised it.
        """
        for video, sample in zip(data_batch['inputs'], data_samples, strict=True):
            if 'pred_masks' not in sample:
                raise ValueError(
                    f"video '{video.name}': expected a data sample with pred_masks, got {sorted(sample)}"
                )
            if self.png_dir is not None:
                write_pngs(Path(self.png_dir), video, sample['pred_masks'])
            try:
                scores = evaluate_video(video, sample['pred_masks'])
            except UnscoredVideoError as error:
                scores = dict(name=video.name, num_frames=video.num_frames, unscored=str(error))
            seconds = sample.get('frame_seconds')
            if seconds:
                scores['fps'] = 1 / float(seconds)
            if 'state_bytes' in sample:
                scores['state_bytes'] = int(sample['state_bytes'])
            self.results.append(scores)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """The global measures of the results of :meth:`process`; prints the table and writes ``out_file``.

        Raises:
            ValueError: There are no results.
        """
        if not results:
            raise ValueError('expected the results of at least one video, got none')
        scored, unscored = report_unscored(results, 'DAVISMetric')
        metrics = global_measures(scored) if scored else {}
        timed = [video for video in results if 'fps' in video]
        if timed:
            seconds = sum(video['num_frames'] / video['fps'] for video in timed)
            metrics['fps'] = sum(video['num_frames'] for video in timed) / seconds
        if scored:
            print_log('\n' + score_table(scored, metrics), logger='current')
        if self.out_file is not None:
            write_json(self.out_file, dict(metrics=metrics, videos=scored, unscored=unscored))
        return metrics


def write_pngs(folder: Path, video: Video, pred_masks: Sequence[bytes]) -> None:
    """Writes palette PNGs as ``folder/<video>/<frame>.png``, named like the frames of the source (else
    ``%05d``), in the place of all that an earlier run left there.

    Raises:
        ValueError: The video's own frames or masks lie there.

    Args:
        folder: Holds one folder per video.
        video: Gives the name of the folder and, where it has ``frame_names``, of the files.
        pred_masks: One palette PNG per frame.
    """
    names = getattr(video, 'frame_names', None) or [f'{index:05d}' for index in range(len(pred_masks))]
    check_no_frames(folder / video.name, frame_folders(video))
    with folder_written_aside(folder / video.name) as target:
        for name, png in zip(names, pred_masks, strict=True):
            (target / f'{without_suffix(Path(name))}.png').write_bytes(png)


def score_table(videos: Sequence[dict], metrics: dict[str, float]) -> str:
    """The measures of every object and of the data set, in percent, as a table of plain text.

    Args:
        videos: Results of :func:`evaluate_video`.
        metrics: The measures of the whole data set; ``fps`` is optional.
    """
    table = Table('video', 'object', 'frames')
    for name in MEASURES:
        table.add_column(name, justify='right')
    for video in videos:
        for object_id, scores in video['objects'].items():
            table.add_row(video['name'], str(object_id), str(scores['num_scored']), *_percent(scores))
    table.add_section()
    table.add_row('all objects', '', '', *_percent(metrics))
    table.caption = _caption(metrics)
    console = Console(width=160, no_color=True, markup=False, emoji=False)  # names are printed as they are
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _caption(metrics: dict[str, float]) -> str:
    """Those of the other figures that there are."""
    figures = dict(
        false_alarms='false alarms in {:.1%} of the frames without the object',
        reidentification='J&F after a return {:.1%}',
        fps='{:.2f} frames per second',
    )
    return ', '.join(text.format(metrics[name]) for name, text in figures.items() if name in metrics)


def _percent(scores: dict[str, float]):
    return [f'{100 * scores[name]:.1f}' for name in MEASURES]
