"""Run the rows of a comparison, each in processes of its own, and run one again to check it."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmengine.registry import DefaultScope

from mmstremn.comparison.leaderboard import write_comparison
from mmstremn.comparison.plan import plan
from mmstremn.comparison.row_files import Row, read_rows
from mmstremn.comparison.scores import compared_scores
from mmstremn.comparison.setup import make_setup
from mmstremn.engine.progress import StagedProgress
from mmstremn.registry import DATASETS, SCOPE

TEST_COST = 2.0  # of a video, in training iterations, roughly: for the time left
LOG_TAIL = 15


class RowError(RuntimeError):
    """A row failed; the message ends with the last lines of its log."""


def run_rows(
    rows: list[Row],
    out: Path,
    progress: StagedProgress,
    jobs: int,
    threads: int,
    drop_checkpoints: bool = False,
) -> list[str]:
    """Run what is not finished, and write the leaderboard of the folder after every row.

    Args:
        rows: Of :func:`plan`.
        out: Folder of the comparison.
        progress: Its bar runs meanwhile.
        jobs: Rows at a time.
        threads: Of every row.
        drop_checkpoints: Remove what was trained after its test.

    Returns:
        A message for every row that failed.
    """
    waiting, lock, failures = (
        [row for row in rows if not (row.folder / 'row.json').is_file()],
        threading.Lock(),
        [],
    )
    test_cost = TEST_COST * num_test_videos(rows[0]) if waiting else 0

    def run(row: Row) -> None:
        try:
            run_row(row, threads, progress, drop_checkpoints)
        except RowError as error:
            failures.append(str(error))
            return
        with lock:
            write_comparison(read_rows(out), out)

    if read_rows(out):
        write_comparison(read_rows(out), out)
    with (
        progress.running(sum(training_cost(row) + test_cost for row in waiting) or 1),
        ThreadPoolExecutor(jobs) as pool,
    ):
        try:
            list(pool.map(run, waiting))
        finally:
            pool.shutdown(cancel_futures=True)
    return failures


def training_cost(row: Row) -> float:
    """Iterations that training takes as a whole."""
    return row.cfg.train_cfg.max_iters if row.job['setup']['train'] else 0


def num_test_videos(row: Row) -> int:
    with DefaultScope.overwrite_default_scope(row.cfg.get('default_scope', SCOPE)):
        return len(DATASETS.build(row.cfg.test_dataloader.dataset))


def run_row(row: Row, threads: int, progress: StagedProgress, drop_checkpoints: bool = False) -> None:
    """Train the row if that is not done yet, and test it.

    Raises:
        RowError: The process of one of the phases failed.
    """
    trained = row.folder / 'trained.json'
    for phase, verb, cost in (('train', 'training', 1.0), ('test', 'testing', TEST_COST)):
        if phase == 'train' and (trained.is_file() or not row.job['setup']['train']):
            continue
        with progress.stage(f'{verb} {row.name}', cost) as report:
            code = run_phase(phase, row.folder, threads, report)
        if code != 0:
            tail = '\n  '.join(
                (row.folder / 'log.txt').read_text('utf-8', errors='replace').splitlines()[-LOG_TAIL:]
            )
            raise RowError(
                f'{row.name}: {verb} failed with exit code {code}, see {row.folder / "log.txt"}:\n  {tail}'
            )
    if drop_checkpoints:
        for path in (row.folder / 'train').glob('*.pth'):
            path.unlink()


def run_phase(phase: str, folder: Path, threads: int, report: Callable[[int], None]) -> int:
    """The exit code of the process that trains or tests a row; if this process ends, that one does at its
    next step."""
    command = [sys.executable, '-m', 'mmstremn.comparison.run_row', phase, str(folder)]
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), PYTHONPATH=path)
    with (
        open(folder / 'log.txt', 'ab') as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, bufsize=0) as process,
    ):
        while steps := process.stdout.read(64):
            report(len(steps))
    return process.returncode


def check_row(
    out: Path, name: str, tolerance: float, progress: StagedProgress, weights: str | None = None
) -> tuple[dict, dict, list[str]]:
    """Run a row of ``leaderboard.json`` again, in a temporary folder.

    Args:
        out: Folder with the ``leaderboard.json``; it needs nothing else.
        name: ``MEMORY`` (its first seed) or ``MEMORY:SEED``.
        tolerance: Largest difference of any figure.
        progress: Its bar runs meanwhile.
        weights: Where the start or the tested checkpoint is now, if elsewhere.

    Returns:
        The row there, the row now, and a line for each score that differs by more than the tolerance.

    Raises:
        FileNotFoundError: There is no leaderboard, config or checkpoint.
        KeyError: The leaderboard has no such row.
        ValueError: The checkpoint is another.
        RowError: The row fails.
    """
    committed = find_row(out / 'leaderboard.json', name)
    setup = committed['setup']
    given = {'start' if setup['train'] else 'checkpoint': weights or setup['weights']}
    now = make_setup(
        setup['config'], setup['cfg_options'], setup['iters'], **given, allow_missing=setup['allow_missing']
    )
    if now['weights_sha256'] != setup['weights_sha256']:
        raise ValueError(
            f'checkpoint {now["weights"]}: SHA-256 {now["weights_sha256"]}, expected that of the '
            'leaderboard, '
            f'{setup["weights_sha256"]}'
        )
    with tempfile.TemporaryDirectory(prefix='check_row_') as folder:
        memories = {committed['memory']: committed['memory_config']}
        (row,) = plan(now, memories, [committed['seed']], Path(folder), committed['command'])
        with progress.running(training_cost(row) + TEST_COST * num_test_videos(row)):
            run_row(row, committed['threads'], progress)
        again = json.loads((row.folder / 'row.json').read_text('utf-8'))
    differences = [
        f'{key}: {again[key]:.6f}, expected {committed[key]:.6f} within {tolerance:g}'
        for key in compared_scores(committed)
        if not abs(again[key] - committed[key]) <= tolerance
    ]
    return committed, again, differences


def find_row(path: Path, name: str) -> dict:
    """The row ``MEMORY`` or ``MEMORY:SEED`` of a leaderboard.

    Raises:
        FileNotFoundError: There is no leaderboard.
        KeyError: There is no such row; the message names those that are.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected the leaderboard of a comparison')
    rows = json.loads(path.read_text('utf-8'))['rows']
    memory, _, seed = name.partition(':')
    for row in rows:
        if row['memory'] == memory and seed in ('', str(row['seed'])):
            return row
    there = ', '.join(f'{row["memory"]}:{row["seed"]}' for row in rows)
    raise KeyError(f"--check-row: '{name}' is not in {path}; there are: {there}")
