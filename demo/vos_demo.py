"""Segment a video from the mask of its first frame: ``python demo/vos_demo.py VIDEO --mask FIRST.png``.

This is ``mmstremn segment --direction forward`` for those who work in the repository. The folder gets
``overlay.mp4``, ``masks/<frame>.png`` (palette PNGs with the ids of the given masks) and, of a memory with
slots, ``slots.png``.
"""

import sys
from pathlib import Path

try:
    from mmstremn.cli import main as run
except ImportError as error:
    from mmstremn.versions import what_to_install

    sys.exit(f'vos_demo: {error}. {what_to_install(error)}')

OUTPUTS = ('masks', 'overlay', 'slots')


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    has_out = any(part.partition('=')[0] == '--out' for part in argv)
    if argv and not has_out and not argv[0].startswith('-'):
        name = Path(argv[0]).name or Path(argv[0]).absolute().name
        argv += ['--out', str(Path('work_dirs/vos_demo') / name)]
    outputs = [part for name in OUTPUTS for part in ('--output', name)]
    return run(['segment', *argv, '--direction', 'forward', *outputs], 'vos_demo')


if __name__ == '__main__':
    sys.exit(main())
