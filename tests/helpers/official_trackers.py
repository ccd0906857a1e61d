"""Compare trackers with sessions of transformers: ``python tests/helpers/official_trackers.py --out FILE``.

Small trackers of each family with random weights run in a session of transformers and here, with SAM 2's own
rule of memory, in float32 and in float64, with the weights of the tests and with larger ones, in which
rounding is amplified. Written is the largest difference of mask logits of each.
"""

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.sam2_cases import SCALE, TRACKERS, Session, frames, processor_of, prompts, random_weights
from mmstremn.adapters.sam2 import Sam2Segmentor

FRAMES, SEEDS, LARGER = 40, 5, 4 / 3
CASES = ((torch.float32, 1.0), (torch.float32, LARGER), (torch.float64, LARGER))


def largest_difference(
    name: str,
    seed: int,
    dtype: torch.dtype,
    number: int,
    present: float | None = None,
    larger: float = 1.0,
) -> float:
    """Prompts of all kinds, a new object at frame 7, corrections at 12 and 20, saved and loaded at 18.

    Args:
        name: Of a small tracker.
        seed: Of its weights and of the frames.
        dtype: Of the computation.
        number: Of frames.
        present: Bias of the presence score; None: that of the other cases.
        larger: Times the weights.
    """
    model = Sam2Segmentor(tracker=TRACKERS[name])
    random_weights(model.tracker, seed, larger * SCALE)
    if present is not None:
        model.tracker.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(present)
    model.tracker.to(dtype)
    theirs = Session(model.tracker, processor_of(TRACKERS[name]['model_type']), dtype)
    ours, given, largest = model.new_stream(), prompts(), 0.0
    for index, frame in enumerate(frames(number, seed)):
        expected = theirs.step(frame, **given.get(index, {}))
        ours.step(frame, **given.get(index, {}))
        largest = max(largest, (ours.logits - expected).abs().max().item())
        if index == 17:
            with tempfile.TemporaryDirectory() as folder:
                ours.save(f'{folder}/stream.safetensors')
                ours = model.load_stream(f'{folder}/stream.safetensors')
    assert ours.object_ids == [1, 2, 3, 4]
    return largest


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description='Compare trackers with sessions of transformers')
    parser.add_argument('--out', type=Path, required=True, help='file of the record')
    args = parser.parse_args()
    rows = []
    for (dtype, larger), name, seed in itertools.product(CASES, TRACKERS, range(SEEDS)):
        largest = float(f'{largest_difference(name, seed, dtype, FRAMES, larger=larger):.1e}')
        rows.append(
            dict(tracker=name, seed=seed, dtype=str(dtype), weights=round(larger, 3), largest=largest)
        )
        print(json.dumps(rows[-1]), flush=True)
    import transformers

    versions = dict(torch=torch.__version__, transformers=transformers.__version__)
    record = dict(
        command='python tests/helpers/official_trackers.py --out results/logs/trackers_equality.json',
        frames=FRAMES,
        versions=versions,
        rows=rows,
    )
    args.out.write_text(json.dumps(record, indent=1) + '\n')


if __name__ == '__main__':
    main()
