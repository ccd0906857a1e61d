"""A ``python`` whose processes begin with everything imported: forks of one server.

    with served(folder) as python:  # the path of a program
        subprocess.run([python, SCRIPT, ARG, ...])  # as small_python.py runs it; what it starts runs as it is

The server imports torch, mmengine and this library once. For every command it forks a child that takes over
the caller's folder, environment and standard streams, so to the caller it is a process of its own.
"""

import array
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from helpers import small_python

CLIENT = """\
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
command = dict(mode=sys.argv[2], argv=sys.argv[3:], folder=os.getcwd(), environment=dict(os.environ))
message = json.dumps(command).encode()
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', (0, 1, 2)))]
server.sendmsg([len(message).to_bytes(8, 'big')], streams)
server.sendall(message)
sys.exit(int(server.makefile().read() or 1))
"""
MODES = dict(small=small_python.main, plain=small_python.run)
PRELOAD = (
    'mmengine.runner',
    'mmstremn.models',
    'mmstremn.datasets',
    'mmstremn.engine',
    'mmstremn.evaluation',
)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Start a server; gives the program that runs its arguments as ``small_python.py`` does.

    Args:
        folder: For the program and the server's socket.
    """
    client, address = folder / 'client.py', folder / 'socket'
    client.write_text(CLIENT)
    for mode in MODES:
        program = folder / mode
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {client} {address} {mode} "$@"\n')
        program.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(address)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None and server.stdout.readline() == b'ready\n'
        yield str(folder / 'small')
    finally:
        server.kill()
        server.wait()


def serve(address: str) -> None:
    """Fork a child for every command, until the process is killed; what a child starts is forked here too."""
    sys.executable = str(Path(address).with_name('plain'))
    for module in PRELOAD:
        __import__(module)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print('ready', flush=True)
    while True:
        caller, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            caller.sendall(str(run(caller)).encode())
            os._exit(0)
        caller.close()
        while _reaped():
            pass


def _reaped() -> bool:
    """Whether a child that had ended was waited for."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def run(caller: socket.socket) -> int:
    """The exit code of a caller's command, in a child that has its folder, environment and streams."""
    streams = array.array('i')
    header, rights, _, _ = caller.recvmsg(8, socket.CMSG_SPACE(3 * streams.itemsize))
    streams.frombytes(rights[0][2])
    with caller.makefile('rb') as file:
        command = json.loads(file.read(int.from_bytes(header, 'big')))
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    caller.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os._exit(_execute(**command))


def _execute(mode: str, argv: list[str], folder: str, environment: dict[str, str]) -> int:
    """Run a command in this process; an exception is printed as Python does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = [path for path in environment.get('PYTHONPATH', '').split(os.pathsep) if path]
    code: int | str | None = 0
    try:
        MODES[mode](argv)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


if __name__ == '__main__':
    serve(sys.argv[1])
