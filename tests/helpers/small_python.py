"""What ``python`` is when a command of the documentation is tested: the same, with every config made small.

    python tests/helpers/small_python.py SCRIPT ARG ...
    python tests/helpers/small_python.py -m MODULE ARG ...

Configs keep their structure: models get the smallest backbone and no pretrained weights, data a few small
videos, training two iterations. A checkpoint that is named and does not exist is the last one of its folder
or, if there is none, random weights of the config that is named before it.
"""

import runpy
import sys
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

ITERATIONS = 2
SIZE = (64, 64)
CONFIGS = Path(__file__).parents[2] / 'configs'
LOADER = dict(num_workers=0, persistent_workers=False, batch_size=2)
TRACKER = Config.fromfile(
    CONFIGS / 'adapters/sam2/random_small.py', use_environment_variables=False, import_custom_modules=False
).model.tracker.to_dict()
SMALL = dict(
    TimmBackbone=dict(model_name='test_resnet', pretrained=False, checkpoint=None),
    MaskDecoder=dict(channels=(16, 16, 16)),
    SyntheticVOSDataset=dict(num_videos=2, num_frames=14, size=SIZE),
    LongSyntheticVOSDataset=dict(lengths=(14,), num_frames=60, size=SIZE),
    SyntheticActionDataset=dict(num_clips=8),
    MovingDigitsDataset=dict(max_clips=4),
    OccludedDigitsDataset=dict(max_clips=4),
    Sam2Segmentor=dict(checkpoint=None, tracker=TRACKER),
)
SMALL_TRANSFORM = dict(RandomResizedCrop=dict(size=SIZE), Resize=dict(size=SIZE[0]))
from_file = Config.fromfile


def small_config(*args, **kwargs) -> Config:
    """``Config.fromfile`` with everything made small."""
    cfg = from_file(*args, **kwargs)
    _shrink(cfg._cfg_dict)
    cfg.load_from = None
    if 'max_iters' in (cfg.get('train_cfg') or {}):
        from mmstremn.engine.launch import set_max_iters

        set_max_iters(cfg, ITERATIONS)
    return cfg


def _shrink(node: dict) -> None:
    """Make a config and everything in it small."""
    for key, value in node.items():
        for child in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(child, dict):
                _shrink(child)
        if key.endswith('_dataloader') and value:
            value.update(LOADER)
        elif key in ('interval', 'val_interval', 'val_begin'):
            node[key] = 1
    node.update(SMALL.get(node.get('type'), {}))
    if node.get('type') == 'ClipTransform':
        node.update(SMALL_TRANSFORM.get(node['name'], {}))


def find_checkpoint(path: Path, config: str) -> None:
    """Make sure that ``path`` exists."""
    made = sorted(path.parent.glob('*.pth'), key=lambda file: file.stat().st_mtime)
    path.parent.mkdir(parents=True, exist_ok=True)
    if made:
        path.write_bytes(made[-1].read_bytes())
        return
    from mmstremn.checkpoints.weight_files import write_weights
    from mmstremn.registry import MODELS

    cfg = small_config(config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmstremn'):
        model = MODELS.build(ConfigDict(cfg.model))
    write_weights(path, model.state_dict(), {})


def main(argv: list[str]) -> None:
    """Run what ``argv`` says."""
    Config.fromfile = staticmethod(small_config)
    config = None
    for arg in argv:
        if arg.endswith('.py') and arg.startswith('configs/') and config is None:
            config = arg
        if arg.endswith('.pth') and not Path(arg).is_file():
            find_checkpoint(Path(arg), config)
    run(argv)


def run(argv: list[str]) -> None:
    """Run a script, or a module behind ``-m``, as Python does."""
    if argv[0] == '-m':
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv = argv
        sys.path[0] = str(Path(argv[0]).parent)
        runpy.run_path(argv[0], run_name='__main__')


if __name__ == '__main__':
    main(sys.argv[1:])
