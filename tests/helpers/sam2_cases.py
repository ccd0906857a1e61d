"""Small trackers of transformers with random weights, and videos with prompts of all kinds."""

import numpy as np
import torch
from mmengine.config import Config

from helpers.runs import ROOT

SIDE = 64
SCALE = 0.3  # of weights, times one over the root of their inputs
SAM2, EDGETAM, SAM3 = (
    Config.fromfile(ROOT / f'configs/adapters/sam2/{name}.py').model.tracker.to_dict()
    for name in ('random_small', 'random_small_edgetam', 'random_small_sam3')
)
TRACKERS = dict(sam2=SAM2, edgetam=EDGETAM, sam3=SAM3)
PRESENT = 0.2  # of the bias of presence


def random_weights(model: torch.nn.Module, seed: int, scale: float = SCALE) -> None:
    """Weights large enough that memory, prompts and presence make a difference; zeros become numbers too."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            embedding = any(part in name for part in ('embed', 'token', 'encoding', 'pointer'))
            parameter.data.copy_(noise * (0.3 if embedding else scale / parameter[0].numel() ** 0.5))
        elif 'bias' in name:
            parameter.data.copy_(noise * 0.05)
    for name, buffer in model.named_buffers():
        if name.endswith('positional_embedding'):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    model.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(PRESENT)


def frames(number: int, seed: int, size: tuple[int, int] = (48, 72)) -> list[np.ndarray]:
    """Frames (H, W, 3) in which three discs move before a textured ground."""
    generator = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    ground = generator.integers(0, 90, (height, width, 3))
    made = []
    for t in range(number):
        frame = ground + generator.integers(0, 20, ground.shape)
        for disc in range(3):
            y, x = height * (disc + 1) / 4 + 4 * np.sin(t / 5 + disc), width * (0.2 + 0.3 * disc) + t / 3
            frame[(rows - y) ** 2 + (columns - x) ** 2 < 64] = (200, 60 * disc, 250 - 80 * disc)
        made.append(frame.clip(0, 255).astype(np.uint8))
    return made


def disc(size: tuple[int, int], y: float, x: float, radius: float = 8) -> np.ndarray:
    """(H, W) bool."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def prompts(size: tuple[int, int] = (48, 72)) -> dict[int, dict]:
    """By frame: a mask, points and a box at frame 0, a new object at 7, a correction at 12, a mask at 20."""
    first, late = (np.where(disc(size, y, x), number, 0) for y, x, number in ((12, 14, 1), (30, 20, 1)))
    return {
        0: dict(
            masks=first.astype(np.uint8), points={2: [(36, 24, 1), (10, 40, 0)]}, boxes={3: (45, 25, 70, 46)}
        ),
        7: dict(points={4: [(20, 20, 1)]}),
        12: dict(points={2: [(38, 25, 1), (60, 40, 0), (5, 5, 0)]}),
        20: dict(masks=late.astype(np.uint8)),
    }


class Session:
    """The same streaming calls over a session of transformers.

    Args:
        tracker: The model of transformers, as it is.
        processor: Its processor.
        dtype: Of the computation.
    """

    def __init__(self, tracker, processor, dtype: torch.dtype = torch.float32):
        self.tracker, self.processor = tracker, processor
        if 'EdgeTam' in type(tracker).__name__:
            self._mend_scores()
        self._single_frame = type(tracker)._run_single_frame_inference
        tracker._run_single_frame_inference = self._refined
        self.session = processor.init_video_session(dtype=dtype)
        self.index = 0

    def step(self, frame: np.ndarray, masks=None, points=None, boxes=None) -> torch.Tensor:
        """(O, h, w) mask logits."""
        pixels = self.processor.image_processor(frame, return_tensors='pt').pixel_values
        spoken, add = [], self._add
        pointed = {**(boxes or {}), **(points or {})}
        self.bases = {} if masks is None else {i: masks == i for i in pointed if (masks == i).any()}
        if masks is not None:
            ids = [int(i) for i in np.unique(masks[masks > 0])]
            spoken += add(ids, input_masks=[masks == i for i in ids])
        for number in sorted({**(boxes or {}), **(points or {})}):
            given = {}
            if points and number in points:
                rows = points[number]
                given.update(input_points=[[[list(map(float, row[:2])) for row in rows]]])
                given.update(input_labels=[[[row[2] for row in rows]]])
            if boxes and number in boxes:
                given.update(input_boxes=[[list(map(float, boxes[number]))]])
            spoken += add([number], original_size=frame.shape[:2], **given)
        # Each call of the processor forgets the objects of the one before it.
        self.session.obj_with_new_inputs = spoken
        output = self.tracker(self.session, frame=pixels[0])
        self.index += 1
        return output.pred_masks[:, 0]

    def _refined(self, **given) -> dict:
        """As in SAM 2's demo: points beside the logits that the same frame had before, those of a mask."""
        base = self.bases.get(self.session.obj_idx_to_id(given['obj_idx']))
        if base is not None:
            mask = torch.from_numpy(base)[None, None].float()
            mask = torch.nn.functional.interpolate(mask, (SIDE, SIDE), mode='bilinear', antialias=True) >= 0.5
            masked = given | dict(mask_inputs=mask.to(self.session.dtype), point_inputs=None)
            before = self._single_frame(self.tracker, **masked)
            given['prev_sam_mask_logits'] = before['pred_masks'].clamp(-32, 32)
        return self._single_frame(self.tracker, **given)

    def _mend_scores(self) -> None:
        """EdgeTAM of transformers 5.23 cannot join the scores of a mask (1, 1) and of others (1, 1, 1)."""
        original = type(self.tracker)._use_mask_as_output

        def mended(*args):
            output = original(self.tracker, *args)
            output.object_score_logits = output.object_score_logits[..., None]
            return output

        self.tracker._use_mask_as_output = mended

    def _add(self, ids: list[int], **given) -> list[int]:
        self.processor.add_inputs_to_inference_session(self.session, self.index, list(ids), **given)
        return ids


def processor_of(model_type: str):
    """The processor of a family at the size of the small trackers."""
    import transformers

    size = dict(height=SIDE, width=SIDE)
    image = transformers.Sam3ImageProcessor if 'sam3' in model_type else transformers.Sam2ImageProcessor
    name = {'sam2_video': 'Sam2Video', 'edgetam_video': 'Sam2Video', 'sam3_tracker_video': 'Sam3TrackerVideo'}
    processor = getattr(transformers, f'{name[model_type]}Processor')
    return processor(image(size=size), transformers.Sam2VideoVideoProcessor(size=size))
