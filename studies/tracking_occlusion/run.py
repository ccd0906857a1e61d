"""Identity switches with and without memory::

    python studies/tracking_occlusion/run.py --out FILE.json --plot FILE.png

mmdet's two track heads, each in a MemoryTrackHead, are trained on generated videos; then mmdet's own trackers
and MemoryTracker with several selectors and numbers of slots get the same detections (made from the truth
with noise) and the same embeddings of other videos. Scored by mmdet's MOTChallengeMetric (TrackEval), and by
whether an object that was away has its identity when it returns.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.structures import InstanceData
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the repository: studies are not installed

from mmstremn.adapters.mmcv_ops_stub import install

install()

from mmdet.evaluation import MOTChallengeMetric  # noqa: E402
from mmdet.models.trackers import MaskTrackRCNNTracker, QuasiDenseTracker  # noqa: E402
from mmdet.structures import DetDataSample, TrackDataSample  # noqa: E402

from mmstremn.adapters.mmdet import MemoryTracker, MemoryTrackHead  # noqa: E402
from mmstremn.registry import build  # noqa: E402
from studies.tracking_occlusion.scenes import SIZE, make_video  # noqa: E402

RETAIN = 40  # frames after which a track is forgotten, for all trackers
CHANNELS = 64
EXTRACTOR = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
    out_channels=3,
    featmap_strides=[4, 8],
)
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, ignore_iof_thr=-1)
TRAIN = dict(
    assigner=ASSIGNER,
    sampler=dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True),
)
HEADS = {
    'MaskTrack R-CNN': dict(
        type='RoITrackHead',
        roi_extractor=EXTRACTOR,
        embed_head=dict(type='RoIEmbedHead', num_fcs=2, in_channels=3, fc_out_channels=CHANNELS),
        train_cfg=TRAIN,
    ),
    'QDTrack': dict(
        type='QuasiDenseTrackHead',
        roi_extractor=EXTRACTOR,
        embed_head=dict(
            type='QuasiDenseEmbedHead',
            num_fcs=1,
            in_channels=3,
            fc_out_channels=CHANNELS,
            embed_channels=CHANNELS,
            loss_track=dict(type='MultiPosCrossEntropyLoss', loss_weight=0.25),
            loss_track_aux=dict(
                type='MarginL2Loss', neg_pos_ub=3, pos_margin=0, neg_margin=0.1, hard_mining=True
            ),
        ),
        train_cfg=TRAIN,
    ),
}
THEIRS = {
    'MaskTrack R-CNN': lambda: MaskTrackRCNNTracker(num_frames_retain=RETAIN),
    'QDTrack': lambda: QuasiDenseTracker(memo_tracklet_frames=RETAIN),
}
MEMORIES = {
    'memory, 1 slot': ('FIFOSelector', 1),
    'fifo, 2 slots': ('FIFOSelector', 2),
    'fifo, 5 slots': ('FIFOSelector', 5),
    'fifo, 20 slots': ('FIFOSelector', 20),
    'lru, 5 slots': ('LRUSelector', 5),
    'most similar, 5 slots': ('MostSimilarSelector', 5),
    'diversity, 5 slots': ('DiversitySelector', 5),
    'learned, 5 slots': (None, 5),
}
MEASURES = {'IDSW': 'identity switches', 'IDF1': 'IDF1', 'AssA': 'AssA', 'kept': 'identity kept on return'}


class Embedder(nn.Module):
    """A track head with a memory; its features are the picture itself, averaged over 4 and over 8 pixels."""

    def __init__(self, head: dict):
        super().__init__()
        self.track_head = MemoryTrackHead(head)
        for layer in self.track_head.head.modules():
            if isinstance(layer, nn.Linear):  # small similarities at first
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, images: np.ndarray) -> list[torch.Tensor]:
        """Maps (B, 3, H / 4, W / 4) and (B, 3, H / 8, W / 8) of images (B, H, W, 3)."""
        images = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 120) / 60
        return [nn.functional.avg_pool2d(images, stride) for stride in EXTRACTOR['featmap_strides']]


def train(kind: str, seed: int, iterations: int) -> Embedder:
    """An embedder trained on pairs of frames, with the truth's boxes as the detector's proposals."""
    torch.manual_seed(seed)
    rng = np.random.default_rng((seed, 1))
    model = Embedder(HEADS[kind]).train()
    videos = [make_video(10_000 + 100 * seed + index, length=30) for index in range(16)]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=iterations)
    for _ in range(iterations):
        pairs = [_pair(rng, videos[rng.integers(len(videos))]) for _ in range(2)]
        paints = [_repaint(rng) for _ in pairs]
        key, reference = (
            model(np.stack([paint(pair[place].image) for pair, paint in zip(pairs, paints, strict=True)]))
            for place in (0, 1)
        )
        proposals = [[InstanceData(priors=_boxes(pair[place])) for pair in pairs] for place in (0, 1)]
        if kind == 'QDTrack':
            for one in proposals[1]:
                one.bboxes = one.pop('priors')
        others = proposals[:1] if kind != 'QDTrack' else proposals
        losses = model.track_head.loss(key, reference, *others, [_sample(*pair) for pair in pairs])
        loss = sum(value for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _pair(rng, video: list) -> tuple:
    """Two frames with objects, up to 4 frames apart: an embedding learns what looks alike, not which looks go
    together."""
    while True:
        first = int(rng.integers(len(video)))
        second = int(np.clip(first + rng.integers(-4, 5), 0, len(video) - 1))
        if len(video[first].ids) and len(video[second].ids) and first != second:
            return video[first], video[second]


def _repaint(rng):
    """A change of colours, the same for both frames of a pair: channels in another order, some of them
    inverted."""
    order, inverted = rng.permutation(3), rng.random(3) < 0.5
    return lambda image: np.where(
        inverted, 240 - image[..., order].astype(np.float32), image[..., order]
    ).astype(np.float32)


def _boxes(seen) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([seen.boxes, seen.found[:, :4]]))


def _sample(key, reference) -> TrackDataSample:
    samples = []
    for seen in (key, reference):
        truth = InstanceData(
            bboxes=torch.from_numpy(seen.boxes),
            labels=torch.zeros(len(seen.ids), dtype=torch.long),
            instances_ids=torch.from_numpy(seen.ids) + 1,
        )
        samples.append(DetDataSample(metainfo=dict(img_shape=SIZE), gt_instances=truth))
    sample = TrackDataSample(metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1]))
    sample.video_data_samples = samples
    return sample


def trackers_of(kind: str, model: Embedder):
    """Name, tracker and model of each row; the memory of the head is replaced for all but the learned one."""
    yield f'mmdet ({type(THEIRS[kind]()).__name__})', THEIRS[kind]()
    learned = model.track_head.memory.memory
    for name, (selector, slots) in MEMORIES.items():
        if selector is None:
            model.track_head.memory.memory = learned
        else:
            memory = dict(type='SlotMemory', num_slots=slots, selector=dict(type=selector))
            model.track_head.memory.memory = build(
                memory, key_channels=CHANNELS, value_channels=CHANNELS
            ).eval()
        yield name, MemoryTracker(num_frames_retain=RETAIN)
    model.track_head.memory.memory = learned


@torch.no_grad()
def evaluate(model: Embedder, tracker, videos: list, features: list) -> dict:
    """The measures of one tracker on some videos whose maps were computed before."""
    metric = MOTChallengeMetric(benchmark='MOT15')  # MOT15: all objects count, none is preprocessed away
    kept, ids, begin = [], [], time.process_time()
    for number, (video, maps) in enumerate(zip(videos, features, strict=True)):
        tracker.reset()
        samples = [_follow(model, tracker, number, index, video, maps[index]) for index in range(len(video))]
        metric.process({}, [dict(video_data_samples=samples)])
        kept += returns_kept(video, samples)
        ids.append(sum(len(sample.pred_track_instances.instances_id) for sample in samples))
    seconds = time.process_time() - begin
    with open(os.devnull, 'w') as null, contextlib.redirect_stdout(null):
        scores = metric.evaluate()
    scores = {name.split('/')[-1]: float(value) for name, value in scores.items()}
    frames = sum(map(len, videos))
    return {name: scores[name] for name in ('IDSW', 'IDF1', 'AssA', 'HOTA', 'MOTA', 'FP', 'FN')} | dict(
        kept=float(np.mean(kept)), returned=len(kept), milliseconds=1000 * seconds / frames, outputs=sum(ids)
    )


def _follow(model, tracker, number: int, index: int, video: list, maps) -> DetDataSample:
    """The sample of a frame with what the tracker says."""
    seen = video[index]
    found = torch.from_numpy(seen.found)
    sample = DetDataSample(
        metainfo=dict(
            frame_id=index,
            video_id=number,
            img_path=os.path.join(f'video{number}', 'img', f'{index}.png'),
            ori_shape=SIZE,
            scale_factor=(1.0, 1.0),
            ori_video_length=len(video),
            instances=[
                dict(instance_id=int(one) + 1, bbox=box.tolist(), mot_conf=1, category_id=1, visibility=1.0)
                for one, box in zip(seen.ids, seen.boxes, strict=True)
            ],
        )
    )
    masks = torch.zeros(
        len(found), 1, 1, dtype=torch.bool
    )  # MaskTrackRCNNTracker wants masks; nobody looks at them
    labels = torch.zeros(len(found), dtype=torch.long)
    sample.pred_instances = InstanceData(bboxes=found[:, :4], scores=found[:, 4], labels=labels, masks=masks)
    model = SimpleNamespace(track_head=model.track_head)
    sample.pred_track_instances = unique(tracker.track(model=model, img=None, feats=maps, data_sample=sample))
    return sample


def unique(found: InstanceData) -> InstanceData:
    """The surest box of each identity: MaskTrackRCNNTracker may give two boxes the same one, which TrackEval
    refuses."""
    found, seen = found[found.scores.argsort(descending=True)], set()
    first = [
        place for place, one in enumerate(found.instances_id.tolist()) if not (one in seen or seen.add(one))
    ]
    return found[torch.tensor(first, dtype=torch.long)]


def returns_kept(video: list, samples: list) -> list[bool]:
    """For each time that an object was not found for 5 frames or more: has it its identity when it is found
    again?"""
    last, kept = {}, []
    for index, (seen, sample) in enumerate(zip(video, samples, strict=True)):
        for number, identity in _matched(seen, sample.pred_track_instances).items():
            if number in last and index - last[number][0] > 5:
                kept.append(identity == last[number][1])
            last[number] = index, identity
    return kept


def _matched(seen, found) -> dict[int, int]:
    """The identity that each object has, by the box that overlaps it most (IoU 0.5 or more)."""
    from torchvision.ops import box_iou

    if not len(found) or not len(seen.ids):
        return {}
    overlap = box_iou(torch.from_numpy(seen.boxes), found.bboxes)
    best, place = overlap.max(1)
    return {
        int(number): int(found.instances_id[where])
        for number, iou, where in zip(seen.ids, best, place, strict=True)
        if iou >= 0.5
    }


def run_seed(kind: str, seed: int, args) -> list[dict]:
    """The rows of one head and one seed, on videos in which objects return in an earlier look and in the last
    one."""
    begin = time.process_time()
    model = train(kind, seed, args.iterations)
    print(f'{kind}, seed {seed}: trained in {time.process_time() - begin:.0f} s of CPU time', flush=True)
    rows = []
    for returns in ('earlier', 'last'):
        videos = [
            make_video(100 * seed + index, args.frames, returns=returns) for index in range(args.videos)
        ]
        with torch.no_grad():
            features = [[model(seen.image[None]) for seen in video] for video in videos]
        for name, tracker in trackers_of(kind, model):
            row = evaluate(model, tracker, videos, features)
            rows.append(dict(head=kind, returns=returns, tracker=name, seed=seed) | row)
    print(f'{kind}, seed {seed}: {time.process_time() - begin:.0f} s of CPU time', flush=True)
    return rows


def summarise(rows: list[dict]) -> list[dict]:
    """Mean and standard deviation over the seeds."""
    table = {}
    for row in rows:
        table.setdefault((row['head'], row['returns'], row['tracker']), []).append(row)
    summary = []
    for (head, returns, tracker), group in table.items():
        line = dict(head=head, returns=returns, tracker=tracker, seeds=len(group))
        for name in (*MEASURES, 'HOTA', 'MOTA', 'milliseconds'):
            values = [row[name] for row in group]
            line[name] = float(np.mean(values))
            line[f'{name}_std'] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        summary.append(line)
    return summary


def markdown(summary: list[dict], head: str, returns: str) -> str:
    """One table."""
    lines = [
        '| tracker | identity switches | IDF1 | AssA | kept on return | ms a frame |',
        '|---|---|---|---|---|---|',
    ]
    for line in summary:
        if (line['head'], line['returns']) == (head, returns):
            cells = [f'{line["IDSW"]:.1f} ± {line["IDSW_std"]:.1f}']
            cells += [
                f'{100 * line[name]:.1f} ± {100 * line[f"{name}_std"]:.1f}'
                for name in ('IDF1', 'AssA', 'kept')
            ]
            lines.append(f'| {line["tracker"]} | {" | ".join(cells)} | {line["milliseconds"]:.1f} |')
    return '\n'.join(lines)


def plot(summary: list[dict], file: Path) -> None:
    """Identity switches of every tracker, a panel for each head."""
    figure = Figure(figsize=(10, 4.5), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, head in zip(figure.subplots(1, len(HEADS)), HEADS, strict=True):
        for place, returns in enumerate(('earlier', 'last')):
            lines = [line for line in summary if (line['head'], line['returns']) == (head, returns)][::-1]
            where = np.arange(len(lines)) + 0.4 * (0.5 - place)
            values, errors = [line['IDSW'] for line in lines], [line['IDSW_std'] for line in lines]
            axes.barh(where, values, 0.38, xerr=errors, capsize=2, label=f'returns in {returns} look')
            axes.set_yticks(np.arange(len(lines)), [line['tracker'] for line in lines])
        axes.set(title=head, xlabel='identity switches')
        axes.grid(axis='x', alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', ncols=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata=dict(Software=None))


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Identity switches with and without memory')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--iterations', type=int, default=600, help='of training each head')
    parser.add_argument('--videos', type=int, default=3, help='of each kind and seed')
    parser.add_argument('--frames', type=int, default=80)
    parser.add_argument('--out', required=True, metavar='FILE', type=Path, help='JSON of all rows')
    parser.add_argument('--plot', metavar='FILE', type=Path)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    args = parse_args(argv)
    rows = [row for seed in range(args.seeds) for kind in HEADS for row in run_seed(kind, seed, args)]
    summary = summarise(rows)
    packages = ('torch', 'onedl-mmdetection', 'onedl-mmcv', 'trackeval')
    settings = {name: value for name, value in vars(args).items() if not isinstance(value, Path)}
    report = dict(
        settings=settings, versions={name: version(name) for name in packages}, summary=summary, rows=rows
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + '\n')
    if args.plot is not None:
        plot(summary, args.plot)
    for head in HEADS:
        for returns in ('earlier', 'last'):
            print(f'\n{head}, objects return in {returns} look\n\n{markdown(summary, head, returns)}')
    return report


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    logging.disable(logging.INFO)
    main(sys.argv[1:])
