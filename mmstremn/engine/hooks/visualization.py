"""Pictures of what a tested model did."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.hooks import Hook

from mmstremn.evaluation.davis_metric import write_pngs
from mmstremn.registry import HOOKS
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import iterate_frames
from mmstremn.utils.palette import decode_palette_png
from mmstremn.visualization import draw_slot_timeline, write_overlay_video, write_prediction


@HOOKS.register_module()
class SlotTimelineHook(Hook):
    """Show which frames the slots of the memory held over time, one picture a video, in every visualiser
    backend: ``slot_timeline_<video>``, where a slash in the video's name is ``%2F``.

    Reads ``slot_timeline``, (T, S) int, from the metainfo of the predictions; a model without slots has none.
    With several processes the backends of the first show its own videos only.
    """

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._show(runner.visualizer, outputs, step=0)

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._show(runner.visualizer, outputs, step=runner.iter)

    def _show(self, visualizer, samples: Sequence[VOSDataSample], step: int) -> None:
        for sample in samples:
            timeline = sample.get('slot_timeline')
            if timeline is not None:
                image = draw_slot_timeline(np.asarray(timeline), sample.video_name)
                name = sample.video_name.replace('%', '%25').replace('/', '%2F')  # as in a URL
                visualizer.add_image(f'slot_timeline_{name}', image, step=step)


@HOOKS.register_module()
class VOSVisualizationHook(Hook):
    """Write every tested video's masks to ``OUT_DIR/<video>/<frame>.png`` and an overlay to
    ``OUT_DIR/<video>.mp4``.

    Results without ``pred_masks`` are left to other hooks.

    Args:
        out_dir: Made if it does not exist.
        fps: Frames a second of the overlay.
        alpha: Opacity of the masks in the overlay.
        video: Whether the overlay is written (it decodes the frames once more).
    """

    def __init__(self, out_dir: str, fps: int = 15, alpha: float = 0.5, video: bool = True):
        self.out_dir = Path(out_dir)
        self.fps, self.alpha, self.video = fps, alpha, video

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        for video, sample in zip(data_batch['inputs'], outputs, strict=True):
            if 'pred_masks' not in sample:
                continue
            write_pngs(self.out_dir, video, sample.pred_masks)
            if self.video:
                masks = map(decode_palette_png, sample.pred_masks)
                path = self.out_dir / f'{video.name}.mp4'
                write_overlay_video(path, iterate_frames(video), masks, self.fps, self.alpha)


@HOOKS.register_module()
class PredictionVisualizationHook(Hook):
    """Write predicted frames: a strip under the true ones, ``OUT_DIR/<clip>.png``, and beside them,
    ``OUT_DIR/<clip>.mp4``.

    Results without ``pred_frames`` are left to other hooks.

    Args:
        out_dir: Made if it does not exist.
        max_clips: The first ones of the test; with several processes, of each.
        fps: Frames a second of the video.
    """

    def __init__(self, out_dir: str, max_clips: int = 20, fps: int = 5):
        self.out_dir = Path(out_dir)
        self.max_clips, self.fps = max_clips, fps
        self._written = 0

    def before_test(self, runner) -> None:
        self._written = 0

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        for frames, sample in zip(data_batch['inputs'], outputs, strict=True):
            if 'pred_frames' not in sample or self._written == self.max_clips:
                continue
            observed = frames[: sample.input_frames]
            write_prediction(
                self.out_dir / sample.clip_name, observed, sample.true_frames, sample.pred_frames, self.fps
            )
            self._written += 1
