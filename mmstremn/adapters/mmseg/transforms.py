"""Pipeline steps for frames of videos."""

import mmcv
import numpy as np
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS as MMSEG_TRANSFORMS

from mmstremn.registry import TRANSFORMS
from mmstremn.utils.seeding import seeded

IGNORED = 255


@TRANSFORMS.register_module()
class LoadVideoFrame:
    """Loads a frame and its labels, in place of ``LoadImageFromFile`` and ``LoadAnnotations``.

    Frames without labels get a map of 255 (ignored); what is no frame of a data set gets none. In a test
    pipeline give it twice, with ``labels=False`` before the image is resized and ``image=False`` behind it,
    as mmsegmentation does: labels are compared at their own size.

    Args:
        image: Load the frame.
        labels: Load the labels.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is no picture, or labels are of another size than their frame; the message names
            it.
    """

    def __init__(self, image: bool = True, labels: bool = True):
        self.image, self.labels = image, labels
        self.load_labels = LoadAnnotations()

    def __call__(self, results: dict) -> dict:
        """Fill ``img``, ``img_shape``, ``ori_shape``, ``gt_seg_map`` and ``seg_fields``."""
        if self.image:
            image = (
                results['video'].frame(results['frame_index'])
                if 'video' in results
                else _read(results['img_path'])
            )
            results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        if self.labels and ('video' in results or 'seg_map_path' in results):
            if 'video' in results:
                labels = results['video'].labels(results['frame_index'])
            elif results['seg_map_path'] is None:
                labels = np.full(results['ori_shape'], IGNORED, np.uint8)
            else:
                labels = self.load_labels(results)['gt_seg_map']
                results['seg_fields'].remove('gt_seg_map')
            if labels.shape != tuple(results['ori_shape'][:2]):
                raise ValueError(
                    f'{results.get("seg_map_path")}: labels of {labels.shape} (H, W), expected '
                    f'{tuple(results["ori_shape"][:2])} like the frame {results.get("img_path")}, as viewers '
                    'show it'
                )
            results['gt_seg_map'] = labels
            results['seg_fields'].append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'LoadVideoFrame(image={self.image}, labels={self.labels})'


def _read(path: str) -> np.ndarray:
    image = mmcv.imread(path, 'color')  # raises FileNotFoundError itself
    if image is None:
        raise ValueError(f'{path}: expected a picture, cannot decode it')
    return image


@TRANSFORMS.register_module()
class ClipConsistent:
    """Steps that draw the same random numbers for all frames of a clip.

    A crop must not depend on the labels of a single frame, so ``cat_max_ratio`` of ``RandomCrop`` is set to
    1. Samples that belong to no clip are transformed as usual. Steps must draw from the global generators of
    Python, numpy or torch, as all of mmsegmentation's own do.

    Args:
        transforms: Configs of mmsegmentation's steps, or callables.
    """

    def __init__(self, transforms: list):
        self.transforms = [
            MMSEG_TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms
        ]
        for step in self.transforms:
            if getattr(step, 'cat_max_ratio', 1) < 1:
                print_log(
                    f'ClipConsistent: cat_max_ratio={step.cat_max_ratio} of {type(step).__name__} set to 1',
                    'current',
                )
                step.cat_max_ratio = 1.0

    def __call__(self, results: dict) -> dict | None:
        """Transform a frame."""
        seed = results.get('clip_seed')
        if seed is None:
            return self._run(results)
        with seeded(seed):
            return self._run(results)

    def _run(self, results: dict) -> dict | None:
        for step in self.transforms:
            results = step(results)
            if results is None:
                return None
        return results

    def __repr__(self) -> str:
        return f'ClipConsistent({self.transforms})'
