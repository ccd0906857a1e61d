"""The page of the web app: what is on it, and which method of a workspace each control calls."""

import functools
import html
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import cv2
import gradio as gr
import numpy as np

from mmstremn.apis import OUTPUTS
from mmstremn.apis.model_names import DEFAULT_MODEL, TERMS
from mmstremn.app.choices import AS_TRAINED, MEMORIES, Choice, Models
from mmstremn.app.workspace import DEFAULT_LIMITS, Limits, Progress, Workspace
from mmstremn.app.workspaces import Workspaces
from mmstremn.datasets.io.folders import PICTURES, VIDEOS

SLOTS = [AS_TRAINED, 1, 2, 3, 4, 5, 8, 12, 16, 32]
CHOSEN_OUTPUTS = ['masks', 'overlay', 'coco', 'csv']
RUNS_AT_ONCE = 2  # further users wait in the queue
SWEEP_SECONDS, UPLOADS_STAY = 60, 3600
HELP = (
    '**1** Drop a video. **2** Mark objects: two clicks on the picture are the corners of a box; or use the '
    'brush, or a mask. **3** Run. **4** Go to a frame that is wrong, mark it, run again. **5** Download.'
)
FONTS = dict(font=['system-ui', 'sans-serif'], font_mono=['monospace'])  # nothing is loaded from elsewhere


def launch(
    host: str = '127.0.0.1',
    port: int = 7860,
    model: str = DEFAULT_MODEL,
    device: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Serve the app until the process is interrupted; temporary files are removed then.

    Args:
        host: Address to listen on. On any but the computer's own, everyone who reaches it can use the app.
        port: Of the address.
        model: That is chosen first: a name of :func:`~mmstremn.apis.named_models`.
        device: The first GPU if there is one, else the CPU, by default.
        limits: Of uploads.

    Raises:
        FileNotFoundError: There is no such model.
        OSError: The port is in use.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    models = Models(device, model)
    models.get(Choice(model))
    with served(models, limits, server_name=host, server_port=port) as page:
        page.block_thread()


@contextmanager
def served(models: Models, limits: Limits = DEFAULT_LIMITS, **options) -> Iterator[gr.Blocks]:
    """The page while it is served by threads of this process.

    Args:
        models: Those that users choose from.
        limits: Of uploads.
        options: Of Gradio's ``launch``.
    """
    ended = Event()
    with tempfile.TemporaryDirectory(prefix='mmstremn-app-', ignore_cleanup_errors=True) as folder:
        uploads, users = Path(folder, 'uploads'), Path(folder, 'users')
        uploads.mkdir()
        users.mkdir()
        os.environ['GRADIO_TEMP_DIR'] = str(uploads)
        workspaces = Workspaces(lambda: Workspace(models, limits, users))
        page = build_page(workspaces, models)
        sweeper = Thread(target=_sweep, args=(workspaces, ended), daemon=True)
        sweeper.start()
        try:
            page.launch(
                prevent_thread_lock=True,
                max_file_size=limits.megabytes * 1_000_000,
                footer_links=[],
                ssr_mode=False,
                theme=gr.themes.Default(**FONTS),
                **options,
            )
            yield page
        finally:
            ended.set()
            page.close(verbose=False)
            workspaces.close()


def _sweep(workspaces: Workspaces, ended: Event) -> None:
    while not ended.wait(SWEEP_SECONDS):
        workspaces.sweep()


def build_page(workspaces: Workspaces, models: Models) -> gr.Blocks:
    """The page, ready for ``launch``.

    Args:
        workspaces: Gives each user their own.
        models: Those in the menu.
    """
    return _Page(workspaces, models).blocks


class _Page:
    """Controls, and what they do. Handlers take a workspace and values of controls, and give new values."""

    def __init__(self, workspaces: Workspaces, models: Models):
        self._workspaces = workspaces
        cache = (SWEEP_SECONDS, UPLOADS_STAY)
        with gr.Blocks(title='mmstremn', analytics_enabled=False, delete_cache=cache) as self.blocks:
            gr.Markdown(HELP)
            self.corner = gr.State()
            self.brushing = gr.State(False)
            with gr.Row():
                with gr.Column(scale=3):
                    self._add_viewer()
                with gr.Column(scale=1, min_width=320):
                    self._add_objects()
                    self._add_memory(models)
                    self._add_downloads()
            self._add_timeline()
            gr.Markdown(f'Weights that come with mmstremn: {TERMS}.')
            self._connect()

    # What is on the page.

    def _add_viewer(self) -> None:
        self.file = gr.File(
            label='Video', file_types=list(VIDEOS), height=110, elem_id='video', interactive=True
        )
        with gr.Row():
            self.viewer = gr.Image(
                label='Frame', interactive=False, buttons=['fullscreen'], format='jpeg', elem_id='viewer'
            )
            self.other = gr.Image(label='Compared', visible=False, buttons=[], format='jpeg')
            self.preview = gr.Image(
                label='Computing', visible=False, buttons=[], format='jpeg', elem_id='preview'
            )
        self.frame = gr.Slider(0, 1, 0, step=1, label='Frame', interactive=False, elem_id='frame')
        with gr.Row():
            self.run = gr.Button('Run', variant='primary', elem_id='run')
            self.stop = gr.Button('Stop', elem_id='stop')
        self.status = gr.HTML('No video is open.', elem_id='status')

    def _add_objects(self) -> None:
        with gr.Group():
            self.object = gr.Dropdown([], label='Object', elem_id='object', interactive=True)
            self.label = gr.Textbox(label='Name of a new object', max_lines=1, elem_id='label')
            with gr.Row():
                self.add = gr.Button('New object', size='sm', elem_id='add')
                self.remove = gr.Button('Remove object', size='sm', elem_id='remove')
        with gr.Tabs():
            with gr.Tab('Box') as self.box_tab:
                gr.Markdown('Click two opposite corners of a box around the object.')
                self.absent = gr.Button('Not in this frame', size='sm', elem_id='absent')
                self.forget = gr.Button('Undo all marks of this frame', size='sm', elem_id='forget')
            with gr.Tab('Brush', elem_id='brush-tab') as self.brush_tab:
                self.editor = gr.ImageEditor(
                    label='Paint',
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=gr.Brush(colors=['#ff3030'], color_mode='fixed'),
                    elem_id='editor',
                )
                with gr.Row():
                    self.paint = gr.Button('Add to object', size='sm', elem_id='paint')
                    self.erase = gr.Button('Erase from object', size='sm', elem_id='erase')
            with gr.Tab('Mask'):
                self.mask = gr.UploadButton(
                    'Load a mask of this frame', size='sm', file_types=list(PICTURES), elem_id='mask'
                )

    def _add_memory(self, models: Models) -> None:
        with gr.Accordion('Memory', open=False, elem_id='memory-part'):
            self.model = gr.Dropdown(models.names, value=models.default, label='Model')
            self.memory = gr.Dropdown(list(MEMORIES), value=AS_TRAINED, label='Memory', elem_id='memory')
            self.slots = gr.Dropdown(SLOTS, value=AS_TRAINED, label='Slots', elem_id='slots')
            self.compared = gr.Dropdown(
                [], label='Compare with an earlier run', elem_id='compared', interactive=True
            )

    def _add_downloads(self) -> None:
        with gr.Accordion('Download', open=False, elem_id='download-part'):
            self.outputs = gr.CheckboxGroup(list(OUTPUTS), value=CHOSEN_OUTPUTS, show_label=False)
            self.write = gr.Button('Write files', size='sm', elem_id='write')
            self.files = gr.File(
                file_count='multiple', label='Files', interactive=False, visible=False, elem_id='files'
            )

    def _add_timeline(self) -> None:
        self.held = gr.Gallery(
            label='Frames that the memory holds here',
            columns=8,
            fit_columns=False,
            height=170,
            visible=False,
            allow_preview=False,
            buttons=[],
            object_fit='contain',
            format='jpeg',
            elem_id='held',
        )
        self.timeline = gr.Image(
            label='Slot timeline', interactive=False, visible=False, buttons=[], elem_id='timeline'
        )

    # What controls do.

    def _connect(self) -> None:
        frame, k = self.frame, self.object
        where = [frame, k, self.brushing, self.compared]
        self._on(self.file.upload, self._open, [self.file])
        self._on(frame.change, self._scrub, where, trigger_mode='always_last', show_progress='hidden')
        self._on(self.compared.input, self._scrub, where, show_progress='hidden')
        self._on(self.viewer.select, self._click, [*where, self.corner], selects=True)
        self._on(self.held.select, self._go_to_held, [frame], selects=True)
        self._on(self.brush_tab.select, self._begin_brush, [frame])
        self.box_tab.select(lambda: False, outputs=self.brushing, api_visibility='private')
        self._on(self.add.click, self._add_object, [self.label])
        self._on(self.label.submit, self._add_object, [self.label])
        self._on(self.remove.click, self._remove_object, where)
        self._on(self.absent.click, self._mark_absent, where)
        self._on(self.forget.click, self._forget, where)
        self._on(self.paint.click, functools.partial(self._paint, 'add'), [self.editor, *where])
        self._on(self.erase.click, functools.partial(self._paint, 'erase'), [self.editor, *where])
        self._on(self.mask.upload, self._load_mask, [self.mask, *where])
        self._on(self.write.click, self._write, [self.outputs])
        self._on(self.stop.click, self._stop, [], show_progress='hidden')
        self.run.click(
            self._run,
            [*where, self.model, self.memory, self.slots],
            self._all(),
            show_progress='hidden',
            concurrency_limit=RUNS_AT_ONCE,
            api_visibility='private',
        )
        self.blocks.unload(self._leave)

    def _all(self) -> set:
        return {value for value in vars(self).values() if isinstance(value, gr.components.Component)}

    def _on(self, event, method: Callable, inputs: list, selects: bool = False, **options) -> None:
        """Let an event call a method with the user's workspace."""

        def call(request: gr.Request, *values):
            with _told():
                return method(self._workspaces.get(request.session_hash), *values)

        def call_selected(event: gr.SelectData, request: gr.Request, *values):
            with _told():
                return method(self._workspaces.get(request.session_hash), event.index, *values)

        options = dict(show_progress='minimal', show_progress_on=self.status, concurrency_limit=8) | options
        event(call_selected if selects else call, inputs, self._all(), api_visibility='private', **options)

    def _leave(self, request: gr.Request) -> None:
        self._workspaces.leave(request.session_hash)

    def _open(self, workspace: Workspace, path: str) -> dict:
        try:
            video = workspace.open(path)
        except ValueError as error:
            raise gr.Error(str(error)) from error
        k = workspace.add_object()
        size = f'{video.num_frames} frames, {video.size[1]} x {video.size[0]}'
        return self._shown(workspace, 0) | {
            self.file: None,
            self.frame: gr.Slider(0, max(1, video.num_frames - 1), value=0, interactive=True),
            self.object: _objects(workspace, k),
            self.corner: None,
            self.files: gr.File(value=None, visible=False),
            self.status: f'{html.escape(video.name)}: {size}. Mark an object.',
        }

    def _scrub(self, workspace: Workspace, frame: int, k: int, brushing: bool, compared: str) -> dict:
        if workspace.video is None:
            return {self.corner: None}
        return self._view(workspace, frame, brushing, compared) | {self.corner: None}

    def _view(self, workspace: Workspace, frame: int, brushing: bool = False, compared: str | None = None):
        """The pictures of a frame."""
        picture = workspace.picture(frame)
        earlier = {str(choice): choice for choice in workspace.choices}.get(compared or '')
        held = [(held.picture, f'frame {held.frame}') for held in workspace.held(frame)]
        return {
            self.viewer: picture,
            self.other: gr.Image(
                value=None if earlier is None else workspace.picture(frame, earlier),
                label=str(earlier),
                visible=earlier is not None,
            ),
            self.held: gr.Gallery(value=held, visible=bool(held)),
            self.editor: _canvas(picture) if brushing else gr.skip(),
        }

    def _shown(self, workspace: Workspace, frame: int, brushing: bool = False, compared: str | None = None):
        """All that depends on the results."""
        timeline = workspace.timeline()
        names = [str(choice) for choice in workspace.choices if choice != workspace.choice]
        compared = compared if compared in names else None
        return self._view(workspace, frame, brushing, compared) | {
            self.timeline: gr.Image(value=timeline, visible=timeline is not None),
            self.compared: gr.Dropdown(names, value=compared),
            self.preview: gr.Image(value=None, visible=False),
        }

    def _marked(self, workspace: Workspace, frame: int, brushing: bool, compared: str | None) -> dict:
        status = f'{workspace.pending} frames to compute: press Run.'
        return self._view(workspace, frame, brushing, compared) | {self.status: status, self.corner: None}

    def _click(
        self, workspace: Workspace, place: list[int], frame: int, k: int, brushing: bool, compared, corner
    ) -> dict:
        if corner is None:
            picture = workspace.picture(frame)
            cv2.drawMarker(picture, tuple(place), (255, 255, 255), cv2.MARKER_CROSS, 30, 2)
            return {self.viewer: picture, self.corner: place, self.status: 'Click the opposite corner.'}
        workspace.mark_box(frame, _number(k), workspace.box_in_video([*corner, *place]))
        return self._marked(workspace, frame, brushing, compared)

    def _go_to_held(self, workspace: Workspace, place: int, frame: int) -> dict:
        return {self.frame: workspace.held(frame)[place].frame}

    def _begin_brush(self, workspace: Workspace, frame: int) -> dict:
        if workspace.video is None:
            return {self.brushing: True}
        return {self.brushing: True, self.editor: _canvas(workspace.picture(frame))}

    def _paint(
        self, mode: str, workspace: Workspace, painted: dict, frame: int, k: int, brushing: bool, compared
    ) -> dict:
        workspace.mark(frame, _number(k), painted_mask(painted, _size(workspace)), mode)
        return self._marked(workspace, frame, True, compared)

    def _mark_absent(self, workspace: Workspace, frame: int, k: int, brushing: bool, compared) -> dict:
        workspace.mark(frame, _number(k), np.zeros(_size(workspace), bool))
        return self._marked(workspace, frame, brushing, compared)

    def _forget(self, workspace: Workspace, frame: int, k: int, brushing: bool, compared) -> dict:
        workspace.forget(frame)
        return self._marked(workspace, frame, brushing, compared)

    def _load_mask(
        self, workspace: Workspace, path: str, frame: int, k: int, brushing: bool, compared
    ) -> dict:
        found = workspace.load_masks(frame, path)
        shown = self._marked(workspace, frame, brushing, compared)
        return shown | {self.object: _objects(workspace, found[0])}

    def _add_object(self, workspace: Workspace, label: str) -> dict:
        k = workspace.add_object(label)
        return {self.object: _objects(workspace, k), self.label: '', self.corner: None}

    def _remove_object(self, workspace: Workspace, frame: int, k: int, brushing: bool, compared) -> dict:
        workspace.remove_object(_number(k))
        left = next(iter(workspace.labels), None)
        return self._marked(workspace, frame, brushing, compared) | {self.object: _objects(workspace, left)}

    def _stop(self, workspace: Workspace) -> dict:
        workspace.cancel()
        return {}

    def _run(
        self, frame: int, k: int, brushing: bool, compared, model, memory, slots, request: gr.Request
    ) -> Iterator[dict]:
        with _told():
            workspace = self._workspaces.get(request.session_hash)
            workspace.choose(Choice(model, memory, None if slots == AS_TRAINED else int(slots)))
            yield {self.status: 'Computing ...'}
            for progress in workspace.run():
                if progress.picture is not None:
                    preview = gr.Image(value=progress.picture, label=f'Frame {progress.index}', visible=True)
                    yield {self.preview: preview, self.status: _bar(progress)}
            yield self._shown(workspace, frame, brushing, compared) | {self.status: _summary(workspace)}

    def _write(self, workspace: Workspace, names: list[str]) -> dict:
        paths = [str(path) for path in workspace.write(names)]
        return {self.files: gr.File(value=paths, visible=True), self.status: 'The files are ready.'}


@contextmanager
def _told() -> Iterator[None]:
    """Shows errors of the input to the user."""
    try:
        yield
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        raise gr.Error(str(error)) from error


def _objects(workspace: Workspace, k: int | None) -> Any:
    return gr.Dropdown([(label, key) for key, label in workspace.labels.items()], value=k)


def _number(k: int | None) -> int:
    if k is None:
        raise ValueError('no object is chosen: add one first')
    return int(k)


def _size(workspace: Workspace) -> tuple[int, int]:
    if workspace.video is None:
        raise ValueError('no video is open: drop one first')
    return workspace.video.size


def _canvas(picture: np.ndarray) -> dict:
    return dict(background=picture, layers=[], composite=None)


def painted_mask(painted: dict | None, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where a value of Gradio's ImageEditor is painted, in the size of the video.

    Raises:
        ValueError: Nothing is painted.
    """
    layers = [] if painted is None else painted['layers']
    mask = np.zeros(size, bool)
    for layer in layers:
        alpha = np.ascontiguousarray(layer[..., 3])
        mask |= cv2.resize(alpha, size[::-1], interpolation=cv2.INTER_LINEAR) >= 128
    if not mask.any():
        raise ValueError('nothing is painted: paint over the object first')
    return mask


def _bar(progress: Progress) -> str:
    speed = progress.done / max(progress.seconds, 1e-3)
    bar = f'<progress max="{progress.total}" value="{progress.done}" style="width: 100%"></progress><br>'
    left = f'{speed:.1f} a second, {progress.seconds_left:.0f} s left'
    return f'{bar}{progress.done} of {progress.total} frames, {left}'


def _summary(workspace: Workspace) -> str:
    if workspace.pending:
        return f'Stopped: {workspace.pending} frames are left. Run goes on.'
    frames = ', '.join(f'{frame} ({confidence:.2f})' for confidence, frame, _ in workspace.review())
    return f'Done. Look at these frames first (confidence): {frames}'
