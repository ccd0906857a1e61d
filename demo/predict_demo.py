"""Predict how a clip goes on: ``python demo/predict_demo.py CLIP --checkpoint FILE``.

This is ``mmstremn predict`` for those who work in the repository, by default with STReMN on Moving Digits and
what its training left. The folder gets ``prediction.png`` (true frames above the predicted ones) and
``prediction.mp4`` (the input and then the prediction, beside the clip itself).
"""

import sys
from pathlib import Path

try:
    from mmstremn.cli import main as run
except ImportError as error:
    from mmstremn.versions import what_to_install

    sys.exit(f'predict_demo: {error}. {what_to_install(error)}')

CONFIG = 'prediction/stremn_moving_digits.py'


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    has_out = any(part.partition('=')[0] == '--out' for part in argv)
    if argv and not has_out and not argv[0].startswith('-'):
        name = Path(argv[0]).name or Path(argv[0]).absolute().name
        argv += ['--out', str(Path('work_dirs/predict_demo') / name)]
    return run(['predict', '--config', CONFIG, *argv], 'predict_demo')  # the last of two configs counts


if __name__ == '__main__':
    sys.exit(main())
