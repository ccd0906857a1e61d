"""Serving the page, with its temporary files."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import gradio as gr
from mmengine.config import Config

from mmstremn.apis.model_names import DEFAULT_MODEL
from mmstremn.app.choices import Choice, Models, one_model, shipped_models
from mmstremn.app.page import CSS, SWEEP_SECONDS, build_page
from mmstremn.app.uploads import DEFAULT_LIMITS, Limits
from mmstremn.app.workspace import Workspace
from mmstremn.app.workspaces import Workspaces

FONTS = dict(font=['system-ui', 'sans-serif'], font_mono=['monospace'])  # nothing is loaded from elsewhere
OWN_ADDRESSES = ('127.0.0.1', 'localhost', '::1')


def launch(
    host: str = '127.0.0.1',
    port: int = 7860,
    model: str | Config = DEFAULT_MODEL,
    weights: str | None = None,
    device: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Serve the app until the process is interrupted; temporary files are removed then.

    Args:
        host: Address to listen on. On any but the computer's own, everyone who reaches it can use the app.
        port: Of the address.
        model: That is chosen first: a name of :func:`~mmstremn.apis.named_models`, or the config of another
            one, which is in the menu beside those.
        weights: Of a config; None: it says where they are.
        device: The first GPU if there is one, else the CPU, by default.
        limits: Of uploads.

    Raises:
        FileNotFoundError: There is no such model, or there are no such weights.
        OSError: The port cannot be used.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    first = one_model(model, weights, device)
    models = Models(first | shipped_models(device), default=next(iter(first)))
    models.get(Choice(models.default))
    with served(models, limits, server_name=host, server_port=port) as page:
        print(f'The app is at {page.local_url} until it is interrupted (Ctrl-C)', flush=True)
        if host not in OWN_ADDRESSES:
            print(f'Everyone who reaches {host} can use it: there is no password', flush=True)
        page.block_thread()


@contextmanager
def served(models: Models, limits: Limits = DEFAULT_LIMITS, **options) -> Iterator[gr.Blocks]:
    """The page while it is served by threads of this process.

    Args:
        models: Those that users choose from.
        limits: Of uploads.
        options: Of Gradio's ``launch``.

    Raises:
        OSError: The port cannot be used.
    """
    ended = Event()
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    with tempfile.TemporaryDirectory(prefix='mmstremn-app-', ignore_cleanup_errors=True) as folder:
        uploads, users = Path(folder, 'uploads'), Path(folder, 'users')
        uploads.mkdir()
        users.mkdir()
        os.environ['GRADIO_TEMP_DIR'] = str(uploads)
        workspaces = Workspaces(lambda: Workspace(models, limits, users))
        page = build_page(workspaces, models, limits)
        sweeper = Thread(target=_sweep, args=(workspaces, ended), daemon=True)
        sweeper.start()
        try:
            _begin(page, limits, options)
            yield page
        finally:
            ended.set()
            page.close(verbose=False)
            workspaces.close()


def _begin(page: gr.Blocks, limits: Limits, options: dict) -> None:
    try:
        page.launch(
            prevent_thread_lock=True,
            quiet=True,
            max_file_size=limits.megabytes * 1_000_000,
            footer_links=[],
            ssr_mode=False,
            theme=gr.themes.Default(**FONTS),
            css=CSS,
            **options,
        )
    except OSError as error:
        host, port = (options.get(name) for name in ('server_name', 'server_port'))
        raise OSError(f'{host}:{port} cannot be used: expected a free port of this computer') from error


def _sweep(workspaces: Workspaces, ended: Event) -> None:
    while not ended.wait(SWEEP_SECONDS):
        workspaces.sweep()
