"""What the studies of trained models share: their arguments, the videos, and one model with several
memories."""

import argparse
import copy
import dataclasses
from collections.abc import Sequence

import numpy as np
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope
from torch import Tensor

from mmstremn.apis import init_segmentor
from mmstremn.checkpoints.matching import checkpoint_weights, fitting_weights, without_backbone_weights
from mmstremn.checkpoints.reading import check_checkpoint_file, read_checkpoint
from mmstremn.comparison.memory_file import choose_memories, load_memories
from mmstremn.comparison.plan import set_memory
from mmstremn.comparison.scores import SCORES
from mmstremn.comparison.setup import load_base
from mmstremn.evaluation import boundary_f_measure, region_similarity
from mmstremn.memory import Entry
from mmstremn.models import VOSegmentor
from mmstremn.models.key_encoder import FrameFeatures
from mmstremn.models.segmentation.inference import predict_video
from mmstremn.registry import DATASETS
from mmstremn.structures import VOSDataSample
from mmstremn.structures.video import VOID, Video


def add_study_arguments(parser: argparse.ArgumentParser, split: str) -> None:
    """The model, its memories and the videos; ``split`` is the default one."""
    parser.add_argument('config', help='config of a model with a memory')
    parser.add_argument('checkpoint', help='weights of the model; a memory takes those that it shares')
    parser.add_argument(
        '--memories', nargs='+', default=['all'], metavar='NAME', help="names of the memory file, or 'all'"
    )
    parser.add_argument(
        '--memory-file',
        default=SCORES['DAVISMetric'].memory_file,
        help='config with a dict `memories` (default: %(default)s)',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='parameters that the checkpoint lacks stay random and are named',
    )
    parser.add_argument('--split', default=split, help='of test_dataloader.dataset (default: %(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')


def read_arguments(args: argparse.Namespace) -> tuple[Config, dict[str, dict], list[Video]]:
    """The base config, the chosen entries of the memory file by name, and the videos.

    Raises:
        FileNotFoundError, KeyError, ValueError: A file or a name is unknown or not what it should be.
    """
    cfg, memories = (
        load_base(args.config, args.cfg_options),
        choose_memories(load_memories(args.memory_file), args.memories),
    )
    check_checkpoint_file(args.checkpoint)
    return cfg, memories, study_videos(cfg, args.split)


def study_videos(cfg: Config, split: str) -> list[Video]:
    """The whole videos of a split of the config's test data."""
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, split=split, test_mode=True))
    return [dataset[index]['inputs'] for index in range(len(dataset))]


def model_with_memory(
    cfg: Config, entry: dict, checkpoint: str, allow_missing: bool = False
) -> tuple[VOSegmentor, list[str]]:
    """A config's model with another memory and the weights of a checkpoint that was trained with any.

    Args:
        cfg: Of the model; it is left as it is.
        entry: Of the memory file.
        checkpoint: File or URL.
        allow_missing: Parameters that it lacks stay random.

    Returns:
        The model in evaluation mode, and the names of the parameters that the checkpoint lacks or has in
        another shape.

    Raises:
        RuntimeError: Parameters are missing.
    """
    cfg = copy.deepcopy(cfg)
    set_memory(cfg, entry)
    cfg.model = without_backbone_weights(cfg.model)
    model = init_segmentor(cfg)
    weights, missing = fitting_weights(checkpoint_weights(read_checkpoint(checkpoint)), model, allow_missing)
    model.load_state_dict(weights, strict=False)
    return model, missing


def predicted(model: VOSegmentor, video: Video) -> VOSDataSample:
    """What ``predict_video`` says of a video."""
    sample = VOSDataSample(metainfo=dict(video_name=video.name))
    predict_video(model, video, sample)
    return sample


def frame_scores(video: Video, masks: Sequence[np.ndarray]) -> np.ndarray:
    """J and F of every frame, the mean over the objects that were prompted before it.

    Args:
        video: T frames (H, W).
        masks: T predicted masks (H, W) uint8 ids.

    Returns:
        (T, 2) float, NaN for the first and the last frame, as in the DAVIS protocol, and where there is no
        truth.
    """
    scores = np.full((video.num_frames, 2), np.nan)
    for index in range(1, video.num_frames - 1):
        truth, ids = video.mask(index), _prompted_before(video, index)
        if truth is None or not len(ids):
            continue
        true, predicted = truth == ids, masks[index] == ids
        void = np.broadcast_to(truth == VOID, true.shape)
        measures = [
            measure(true, predicted, void=void) for measure in (region_similarity, boundary_f_measure)
        ]
        scores[index] = np.mean(measures, 1)
    return scores


def _prompted_before(video, index):
    """(O, 1, 1) uint8 ids of the objects that were given before a frame."""
    given = [mask for frame, mask in video.prompts.items() if frame < index]
    ids = np.setdiff1d(np.unique(given), (0, VOID)) if given else np.zeros(0)
    return ids.astype(np.uint8)[:, None, None]


def _repeat(tensor: Tensor | None, rows: int) -> Tensor | None:
    return None if tensor is None else tensor.expand(rows, *[-1] * (tensor.dim() - 1))


def repeat_entry(entry: Entry, rows: int) -> Entry:
    """An entry of one sample as a batch, without extras."""
    tensors = {name: _repeat(getattr(entry, name), rows) for name in ('key', 'value', 'shrinkage')}
    return dataclasses.replace(entry, **tensors, extras={})


def repeat_features(features: FrameFeatures, rows: int) -> FrameFeatures:
    """The features of one frame as a batch."""
    query = features.query
    query = dataclasses.replace(query, key=_repeat(query.key, rows), selection=_repeat(query.selection, rows))
    return dataclasses.replace(
        features,
        image=_repeat(features.image, rows),
        maps=[_repeat(stage, rows) for stage in features.maps],
        shrinkage=_repeat(features.shrinkage, rows),
        query=query,
        present=_repeat(features.present, rows),
    )
