"""Runs of the tools in processes of their own, which can be killed at any point."""

import itertools
import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / 'tests/data'
TINY = DATA / 'tiny.py'
SMALL_VOS = DATA / 'small_vos.py'

_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload(
    ['mmengine.runner', 'mmstremn.engine.launch', 'mmstremn.engine', 'mmstremn.models']
)


def run_tool(
    tool: str,
    argv: Sequence,
    kill: tuple[str, str] | None = None,
    frozen_random: bool = False,
    output: Path | None = None,
) -> int:
    """The exit code of ``tools/<tool>.py`` run with ``argv``, in a fork of a server that has imported torch
    already.

    Args:
        tool: ``'train'`` or ``'test'``.
        argv: Arguments.
        kill: Where the process kills itself, see :func:`kill_at`.
        frozen_random: Do not restore random states (a control: the run must then differ).
        output: Gets what is printed and logged.
    """
    args = (tool, [str(arg) for arg in argv], kill, frozen_random, output, dict(os.environ))
    process = _context.Process(target=_run, args=args)
    process.start()
    process.join()
    return process.exitcode


def _run(tool, argv, kill, frozen_random, output, environment):
    os.environ.update(environment)  # the server has that of its start
    sys.path.insert(0, str(DATA))
    if output is not None:
        with open(output, 'wb') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    if kill is not None:
        kill_at(*kill)
    if frozen_random:
        import mmstremn.engine.hooks.checkpoint as module

        module.set_random_state = lambda state: None
    code = runpy.run_path(str(ROOT / f'tools/{tool}.py'))['main'](argv)
    sys.exit(code if isinstance(code, int) else 0)


def kill_at(event: str, what: str) -> None:
    """Let this process kill itself.

    Args:
        event: ``'iteration'``, ``'SIGTERM'`` or ``'SIGINT'`` (after the update of an iteration, before any
            hook), ``'half written'`` (half of a file is on the disk), ``'before rename'``, ``'after
            rename'``, ``'before removal'``, ``'copy'`` or ``'flush'`` (before that one of them), or
            ``'disk full'``.
        what: The iteration, the name of the file, the number of the copy or flush, or the bytes that a file
            can have at most.
    """
    if event in ('iteration', 'SIGTERM', 'SIGINT'):
        _patch_call_hook(int(what), getattr(signal, event, signal.SIGKILL))
    elif event == 'disk full':
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing raises an OSError
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(what), int(what)))
    elif event == 'half written':
        _patch(os, 'fsync', lambda handle: _halve(handle) if _name(handle) == f'{what}.partial' else False)
    elif event == 'before rename':
        _patch(os, 'replace', lambda source, target: Path(target).name == what)
    elif event == 'after rename':
        _patch(os, 'replace', lambda source, target: Path(target).name == what, afterwards=True)
    elif event == 'before removal':
        _patch(os, 'remove', lambda path: Path(path).name == what)
    elif event in ('copy', 'flush'):
        calls = itertools.count()
        module, function = (shutil, 'copyfile') if event == 'copy' else (os, 'fsync')
        _patch(module, function, lambda *args: next(calls) == int(what))
    else:
        raise ValueError(event)


def _patch(module, function, condition, afterwards=False):
    original = getattr(module, function)

    def patched(*args):
        hit = condition(*args)
        if hit and not afterwards:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, function, patched)


def _patch_call_hook(iteration, number):
    from mmengine.runner import Runner

    original = Runner.call_hook

    def patched(self, name, **kwargs):
        if name == 'after_train_iter' and self.iter == iteration:
            if number == signal.SIGINT:  # ignored by children of a shell's background jobs
                signal.signal(number, signal.default_int_handler)
            os.kill(os.getpid(), number)
        original(self, name, **kwargs)

    Runner.call_hook = patched


def _name(handle):
    return Path(os.readlink(f'/proc/self/fd/{handle}')).name


def _halve(handle):
    os.ftruncate(handle, os.fstat(handle).st_size // 2)
    return True


def run_script(name: str, *argv, **variables) -> str:
    """The output of ``tools/<name>`` (a shell script), which must succeed."""
    path = os.pathsep.join([str(DATA), str(ROOT)])
    environment = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=path, **variables)
    command = [str(ROOT / 'tools' / name), *(str(arg) for arg in argv)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def largest_difference(first: dict, second: dict) -> float:
    """Between two dictionaries of tensors; printed, so that ``pytest -s`` shows the figures."""
    assert first.keys() == second.keys()
    largest = max(float((first[key] - second[key]).abs().max()) for key in first)
    print(f'largest difference {largest:.1e}')
    return largest
