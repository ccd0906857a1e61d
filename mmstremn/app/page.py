"""The page of the web app: what is on it, and which method of a workspace each control calls."""

import functools
import html
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np

from mmstremn.apis.model_names import TERMS
from mmstremn.app.choices import AS_TRAINED, GROWING, Choice, Models, takes_points
from mmstremn.app.uploads import DEFAULT_LIMITS, Limits
from mmstremn.app.workspace import Progress, Workspace
from mmstremn.app.workspaces import Workspaces
from mmstremn.datasets.io.folders import PICTURES, VIDEOS
from mmstremn.utils.palette import DAVIS_PALETTE

SLOTS = [AS_TRAINED, 1, 2, 3, 4, 5, 8, 12, 16, 32]
OUTPUT_NAMES = {
    'masks': 'Masks (palette PNG)',
    'overlay': 'Overlay (mp4)',
    'cutout': 'Objects, transparent (WebM)',
    'cutout-png': 'Objects, transparent (PNG)',
    'coco': 'COCO (JSON)',
    'youtube-vis': 'YouTube-VIS (JSON)',
    'labelme': 'Labelme (JSON)',
    'csv': 'Areas and boxes (CSV)',
    'review': 'Frames to check (CSV)',
    'slots': 'Slot timeline (PNG)',
}
CHOSEN_OUTPUTS = ['masks', 'overlay', 'coco', 'csv']
SWEEP_SECONDS, UPLOADS_STAY = 60, 3600
BOX, POINTS, BRUSH, MASK = 'box', 'points', 'brush', 'mask'
ON, BESIDE = 'on the object', 'beside it'
HELP = (
    '**1** Drop a video. **2** Mark the object in the picture. **3** Run. **4** Go to a frame that is wrong, '
    'mark the object there, run again. **5** Download.'
)
CSS = """
:is(#viewer, #other, #preview) img { max-height: 62vh }
#viewer img { cursor: crosshair }
#held .grid-wrap { padding-top: 2.2em }
.fault { color: #dc2626; font-weight: 600 }
.object { display: inline-block; margin-right: 1em }
.object span { display: inline-block; width: .8em; height: .8em; margin-right: .3em; border-radius: 2px }
"""
FAULTS = (ValueError, OSError, ImportError, RuntimeError)


class At(NamedTuple):
    """Where a user is on the page.

    Attributes:
        frame: The frame that is shown.
        k: Id of the object that marks are of.
        tool: What marks are made with.
        compared: The name of the choice whose results are shown beside.
    """

    frame: int
    k: int | None
    tool: str
    compared: str | None

    @property
    def object(self) -> int:
        """The id.

        Raises:
            ValueError: No object is chosen.
        """
        if self.k is None:
            raise ValueError('no object is chosen: add one first')
        return int(self.k)


def build_page(workspaces: Workspaces, models: Models, limits: Limits = DEFAULT_LIMITS) -> gr.Blocks:
    """The page, ready for ``launch``.

    Args:
        workspaces: Gives each user their own.
        models: Those in the menu.
        limits: Of uploads, which are told.
    """
    return _Page(workspaces, models, limits).blocks


class _Page:
    """Controls, and what they do. Handlers take a workspace, a place on the page and values of controls, and
    give new values."""

    def __init__(self, workspaces: Workspaces, models: Models, limits: Limits):
        self._workspaces, self._models = workspaces, models
        cache = (SWEEP_SECONDS, UPLOADS_STAY)
        with gr.Blocks(title='mmstremn', analytics_enabled=False, delete_cache=cache) as self.blocks:
            gr.Markdown(HELP)
            self.corner, self.version = gr.State(), gr.State(0)
            self.tool = gr.State(POINTS if self._points_first() else BOX)
            with gr.Row():
                with gr.Column(scale=3):
                    self._add_viewer(limits)
                    self._add_timeline()
                with gr.Column(scale=1, min_width=320):
                    self._add_objects()
                    self._add_memory()
                    self._add_downloads()
            gr.Markdown(f'Weights that come with mmstremn: {TERMS}.')
            self._connect()

    # What is on the page.

    def _add_viewer(self, limits: Limits) -> None:
        self.file = gr.File(
            label=f'Video (at most {limits.megabytes} MB)',
            file_types=list(VIDEOS),
            height=130,
            elem_id='video',
            interactive=True,
        )
        with gr.Row():
            self.viewer = gr.Image(
                label='Frame', interactive=False, buttons=['fullscreen'], format='jpeg', elem_id='viewer'
            )
            self.editor = gr.ImageEditor(
                label='Paint over the object',
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=['#ff3030'], color_mode='fixed'),
                visible=False,
                elem_id='editor',
            )
            self.other = gr.Image(visible=False, buttons=[], format='jpeg', elem_id='other')
            self.preview = gr.Image(visible=False, buttons=[], format='jpeg', elem_id='preview')
        self.frame = gr.Slider(0, 1, 0, step=1, label='Frame', interactive=False, elem_id='frame')
        with gr.Row():
            self.run = gr.Button('Run', variant='primary', interactive=False, elem_id='run')
            self.stop = gr.Button('Stop', interactive=False, elem_id='stop')
        self.status = gr.HTML('No video is open.', elem_id='status')
        self.review = gr.Radio(
            [], label='Look at these frames first (confidence)', visible=False, elem_id='review'
        )

    def _add_timeline(self) -> None:
        self.held = gr.Gallery(
            label='Frames that the memory holds here',
            columns=6,
            fit_columns=False,
            height=190,
            visible=False,
            allow_preview=False,
            buttons=[],
            object_fit='contain',
            format='jpeg',
            elem_id='held',
        )
        with gr.Row():
            bare = dict(interactive=False, visible=False, buttons=[], show_label=False)
            self.timeline = gr.Image(elem_id='timeline', **bare)
            self.other_timeline = gr.Image(elem_id='other-timeline', **bare)

    def _add_objects(self) -> None:
        off = dict(size='sm', interactive=False)
        with gr.Group():
            self.object = gr.Dropdown([], label='Object', elem_id='object', interactive=False)
            self.label = gr.Textbox(label='Its name', max_lines=1, elem_id='label', interactive=False)
            with gr.Row():
                self.add = gr.Button('New', min_width=80, elem_id='add', **off)
                self.remove = gr.Button('Remove', min_width=80, elem_id='remove', **off)
        self.legend = gr.HTML(elem_id='legend')
        with gr.Tabs(selected=self.tool.value) as self.tabs:
            with gr.Tab('Points', id=POINTS, visible=self._points_first()) as self.points_tab:
                self.on = gr.Radio([ON, BESIDE], value=ON, label='Click on a point that is', elem_id='on')
                self.undo = gr.Button('Undo the last point', elem_id='undo', **off)
            with gr.Tab('Box', id=BOX) as self.box_tab:
                gr.Markdown('Click on two opposite corners of a box around the object.')
            with gr.Tab('Brush', id=BRUSH) as self.brush_tab:
                gr.Markdown('Paint in the picture, then:')
                with gr.Row():
                    self.paint = gr.Button('Add to object', min_width=80, elem_id='paint', **off)
                    self.erase = gr.Button('Erase from object', min_width=80, elem_id='erase', **off)
            with gr.Tab('Mask', id=MASK) as self.mask_tab:
                gr.Markdown('A picture of masks, of the size of the video, for this frame.')
                self.mask = gr.UploadButton('Load a mask', file_types=list(PICTURES), elem_id='mask', **off)
        self.absent = gr.Button('The object is not in this frame', elem_id='absent', **off)
        self.forget = gr.Button('Undo all marks of this frame', elem_id='forget', **off)

    def _points_first(self) -> bool:
        return takes_points(self._models.get(Choice(self._models.default)))

    def _add_memory(self) -> None:
        models = self._models
        with gr.Accordion('Model and memory', open=False, elem_id='memory-part'):
            self.model = gr.Dropdown(models.names, value=models.default, label='Model', elem_id='model')
            self.memory = gr.Dropdown(
                models.memories(models.default), value=AS_TRAINED, label='Memory', elem_id='memory'
            )
            self.slots = gr.Dropdown(SLOTS, value=AS_TRAINED, label='Slots', elem_id='slots')
            self.compared = gr.Dropdown(
                [('no other', '')],
                value='',
                label='Compare with an earlier run',
                elem_id='compared',
                interactive=False,
            )

    def _add_downloads(self) -> None:
        with gr.Accordion('Download', open=False, elem_id='download-part'):
            choices = [(name, key) for key, name in OUTPUT_NAMES.items()]
            self.outputs = gr.CheckboxGroup(
                choices, value=CHOSEN_OUTPUTS, show_label=False, elem_id='outputs'
            )
            self.write = gr.Button('Write files', size='sm', interactive=False, elem_id='write')
            self.files = gr.File(
                file_count='multiple', label='Files', interactive=False, visible=False, elem_id='files'
            )

    # What controls do.

    def _connect(self) -> None:
        on, choice = self._on, [self.model, self.memory, self.slots]
        on(self.file.upload, self._open, [self.file])
        looks = [self.frame.change, self.version.change, self.tool.change, self.compared.input]
        on(looks, self._view, trigger_mode='always_last', show_progress='hidden')
        on([self.version.change, self.compared.input], self._results, show_progress='hidden')
        clicked = [self.corner, self.on]
        on(self.viewer.select, self._click, clicked, selects=True, trigger_mode='multiple')
        on(self.held.select, self._go_to_held, selects=True)
        on(self.review.input, lambda workspace, at, frame: {self.frame: frame}, [self.review])
        for tool, tab in self._tools().items():
            tab.select(functools.partial(str, tool), outputs=self.tool, api_visibility='private')
        on(self.object.input, self._pick, show_progress='hidden')
        on(self.add.click, self._add_object)
        on([self.label.submit, self.label.blur], self._rename, [self.label], show_progress='hidden')
        on(self.remove.click, self._remove_object)
        on(self.undo.click, self._undo_point)
        on(self.absent.click, self._mark_absent)
        on(self.forget.click, self._forget)
        on(self.paint.click, functools.partial(self._paint, 'add'), [self.editor])
        on(self.erase.click, functools.partial(self._paint, 'erase'), [self.editor])
        on(self.mask.upload, self._load_mask, [self.mask])
        on(self.model.input, self._choose_model, [self.model])
        on([self.memory.input, self.slots.input], self._choose, choice)
        on(self.stop.click, self._stop, show_progress='hidden')
        on(self.run.click, self._run, choice, show_progress='hidden', streams=True)
        on(self.write.click, self._write, [self.outputs], show_progress='hidden', streams=True)
        self.blocks.unload(self._leave)

    def _tools(self) -> dict[str, gr.Tab]:
        return {BOX: self.box_tab, POINTS: self.points_tab, BRUSH: self.brush_tab, MASK: self.mask_tab}

    def _all(self) -> set:
        parts = (gr.components.Component, gr.Tab, gr.Tabs)
        return {value for value in vars(self).values() if isinstance(value, parts)}

    def _on(
        self,
        events: Callable | list[Callable],
        method: Callable,
        inputs: list | None = None,
        selects: bool = False,
        streams: bool = False,
        **options,
    ) -> None:
        """Let events call a method with the user's workspace and place.

        Args:
            events: Of controls.
            method: Gives new values of controls.
            inputs: Controls whose values it is given too.
            selects: It is given the place of a click before these.
            streams: It is a generator.
            options: Of Gradio's ``on``.
        """

        def call(request: gr.Request, *values):
            return self._answer(method, request, *values)

        def call_selected(event: gr.SelectData, request: gr.Request, *values):
            place = list(values[:4])
            return self._answer(method, request, *place, event.index, *values[4:])

        def call_streaming(request: gr.Request, *values):
            try:
                yield from method(self._workspaces.get(request.session_hash), At(*values[:4]), *values[4:])
            except FAULTS as error:
                yield self._fault(error)
            yield self._changed()

        defaults = dict(show_progress='minimal', show_progress_on=self.status, concurrency_limit=None)
        gr.on(
            events,
            call_streaming if streams else call_selected if selects else call,
            [self.frame, self.object, self.tool, self.compared, *(inputs or [])],
            self._all(),
            api_visibility='private',
            **(defaults | options),
        )

    def _answer(self, method: Callable, request: gr.Request, *values) -> dict:
        try:
            changes = method(self._workspaces.get(request.session_hash), At(*values[:4]), *values[4:])
        except FAULTS as error:
            changes = self._fault(error)
        return changes or {self.corner: gr.skip()}

    def _fault(self, error: Exception) -> dict:
        message = html.escape(str(error))
        gr.Warning(message, title='Error')
        status = f'<span class="fault">{message}</span>'
        return {self.status: status, self.file: None, self.mask: None, self.corner: None}

    def _leave(self, request: gr.Request) -> None:
        self._workspaces.leave(request.session_hash)

    # What is shown.

    def _changed(self) -> dict:
        """Lets all that depends on marks and results be shown anew, for where the user is then."""
        return {self.version: time.monotonic_ns()}

    def _controls(self, workspace: Workspace, busy: bool = False) -> dict:
        """Which controls can be used."""
        is_open, ready = workspace.video is not None, not busy and bool(workspace.choices)
        buttons = (self.add, self.remove, self.undo, self.paint, self.erase, self.absent)
        return {
            **{button: gr.Button(interactive=is_open) for button in buttons},
            self.mask: gr.UploadButton(interactive=is_open),
            self.run: gr.Button(interactive=not busy and workspace.pending > 0),
            self.stop: gr.Button(interactive=busy),
            self.write: gr.Button(interactive=ready and workspace.choice in workspace.choices),
        }

    def _objects(self, workspace: Workspace, k: int | None) -> dict:
        names = [(label, key) for key, label in workspace.labels.items()]
        legend = [
            f'<div class="object"><span style="background: rgb{tuple(DAVIS_PALETTE[key].tolist())}"></span>'
            f'{html.escape(label)}</div>'
            for label, key in names
        ]
        return {
            self.object: gr.Dropdown(names, value=k, interactive=True),
            self.label: gr.Textbox('' if k is None else workspace.labels[k], interactive=True),
            self.legend: ''.join(legend),
        }

    def _view(self, workspace: Workspace, at: At) -> dict:
        """The pictures of a frame."""
        if workspace.video is None:
            return {}
        picture, earlier = workspace.picture(at.frame), _named(workspace, at.compared)
        held = [(held.picture, f'frame {held.frame}') for held in workspace.held(at.frame)]
        brushing = at.tool == BRUSH
        return {
            self.viewer: gr.Image(
                picture, visible=not brushing, label='Frame' if earlier is None else str(workspace.choice)
            ),
            self.editor: gr.ImageEditor(_canvas(picture) if brushing else None, visible=brushing),
            self.other: gr.Image(
                None if earlier is None else workspace.picture(at.frame, earlier),
                label=str(earlier),
                visible=earlier is not None,
            ),
            self.held: gr.Gallery(value=held, visible=bool(held)),
            self.forget: gr.Button(interactive=at.frame in workspace.keyframes),
            self.corner: None,
        }

    def _results(self, workspace: Workspace, at: At) -> dict:
        """What depends on the results and not on the frame."""
        if workspace.video is None:
            return {}
        names = [str(choice) for choice in workspace.choices if choice != workspace.choice]
        gone = dict(value='') if at.compared and at.compared not in names else {}
        earlier, review = _named(workspace, at.compared), workspace.review()
        return {
            **self._controls(workspace, busy=workspace.is_busy),
            self.timeline: _timeline(workspace, workspace.choice),
            self.other_timeline: _timeline(workspace, earlier),
            self.compared: gr.Dropdown([('no other', ''), *names], interactive=bool(names), **gone),
            self.review: gr.Radio(
                [(f'{frame} ({confidence:.2f})', frame) for confidence, frame, _ in review],
                value=None,
                visible=bool(review),
            ),
        }

    def _marked(self, workspace: Workspace, told: str = '') -> dict:
        return self._changed() | {self.status: told + _left(workspace), self.corner: None}

    def _pointed(self, workspace: Workspace, at: At) -> dict:
        number = workspace.num_points(at.frame, at.object)
        name = html.escape(workspace.labels[at.object])
        return self._marked(workspace, f'Points of {name} in frame {at.frame}: {number}. ')

    def _menus(self, workspace: Workspace) -> dict:
        """Which model and memory is chosen, and what it can do."""
        choice, points = workspace.choice, workspace.takes_points
        memories = self._models.memories(choice.model)
        return {
            self.model: choice.model,
            self.memory: gr.Dropdown(memories, value=choice.memory, interactive=len(memories) > 1),
            self.slots: gr.Dropdown(
                value=AS_TRAINED if choice.slots is None else choice.slots,
                interactive=len(memories) > 1 and choice.memory != GROWING,
            ),
            self.points_tab: gr.Tab(visible=points),
        }

    # The video and its frames.

    def _open(self, workspace: Workspace, at: At, path: str) -> dict:
        video = workspace.open(path)
        size = f'{video.num_frames} frames, {video.size[1]} x {video.size[0]}'
        return {
            **self._changed(),
            **self._objects(workspace, workspace.add_object()),
            self.file: None,
            self.frame: gr.Slider(0, max(1, video.num_frames - 1), value=0, interactive=video.num_frames > 1),
            self.files: gr.File(value=None, visible=False),
            self.status: f'{html.escape(video.name)}: {size}. Mark an object.',
        }

    def _go_to_held(self, workspace: Workspace, at: At, place: int) -> dict:
        return {self.frame: workspace.held(at.frame)[place].frame}

    # Objects and marks.

    def _pick(self, workspace: Workspace, at: At) -> dict:
        return self._objects(workspace, at.object)

    def _add_object(self, workspace: Workspace, at: At) -> dict:
        return self._objects(workspace, workspace.add_object())

    def _rename(self, workspace: Workspace, at: At, label: str) -> dict:
        if at.k is None or workspace.labels.get(at.k) == label:
            return {}
        workspace.rename(at.k, label)
        return self._objects(workspace, at.k)

    def _remove_object(self, workspace: Workspace, at: At) -> dict:
        workspace.remove_object(at.object)
        left = next(iter(workspace.labels), None) or workspace.add_object()
        return self._marked(workspace) | self._objects(workspace, left)

    def _click(
        self, workspace: Workspace, at: At, place: list[int] | None, corner: list[int] | None, on: str
    ) -> dict:
        if place is None or at.tool == MASK:
            return {}
        if at.tool == POINTS:
            x, y = workspace.in_video(place)
            workspace.mark_point(at.frame, at.object, x, y, on == ON)
            return self._pointed(workspace, at)
        if corner is None:
            picture = workspace.picture(at.frame)
            cv2.drawMarker(picture, tuple(place), (255, 255, 255), cv2.MARKER_CROSS, 30, 2)
            return {self.viewer: picture, self.corner: place, self.status: 'Click the opposite corner.'}
        workspace.mark_box(at.frame, at.object, workspace.in_video([*corner, *place]))
        return self._marked(workspace)

    def _undo_point(self, workspace: Workspace, at: At) -> dict:
        workspace.undo_point(at.frame, at.object)
        return self._pointed(workspace, at)

    def _paint(self, mode: str, workspace: Workspace, at: At, painted: dict | None) -> dict:
        workspace.mark(at.frame, at.object, painted_mask(painted, _size(workspace)), mode)
        return self._marked(workspace)

    def _mark_absent(self, workspace: Workspace, at: At) -> dict:
        workspace.mark(at.frame, at.object, np.zeros(_size(workspace), bool))
        return self._marked(workspace)

    def _forget(self, workspace: Workspace, at: At) -> dict:
        workspace.forget(at.frame)
        return self._marked(workspace)

    def _load_mask(self, workspace: Workspace, at: At, path: str) -> dict:
        found = workspace.load_masks(at.frame, path)
        return self._marked(workspace) | self._objects(workspace, found[0]) | {self.mask: None}

    # Models, runs, downloads.

    def _choose_model(self, workspace: Workspace, at: At, model: str) -> dict:
        return self._choose(workspace, at, model, AS_TRAINED, AS_TRAINED)

    def _choose(self, workspace: Workspace, at: At, model: str, memory: str, slots: str | int) -> dict:
        try:
            workspace.choose(_choice(model, memory, slots))
            told: dict = {}
        except FAULTS as error:
            told = self._fault(error)
        if at.tool == POINTS and not workspace.takes_points:
            told.update({self.tool: BOX, self.tabs: gr.Tabs(selected=BOX)})
        if workspace.video is None:
            return self._menus(workspace) | told
        return self._menus(workspace) | self._marked(workspace) | told

    def _stop(self, workspace: Workspace, at: At) -> dict:
        workspace.cancel()
        return {}

    def _run(self, workspace: Workspace, at: At, model: str, memory: str, slots: str | int) -> Iterator[dict]:
        workspace.choose(_choice(model, memory, slots))
        yield {self.status: 'Computing ...'} | self._controls(workspace, busy=True)
        for progress in workspace.run():
            shown = {self.status: _bar(progress, 'Other users are served first ...')}
            if progress.picture is not None:
                label = f'Computing: frame {progress.index}'
                shown[self.preview] = gr.Image(progress.picture, label=label, visible=True)
            yield shown
        left = workspace.pending
        status = f'Stopped: {left} frames are left, Run goes on.' if left else 'Done.'
        yield {self.status: status, self.preview: gr.Image(None, visible=False)}

    def _write(self, workspace: Workspace, at: At, names: list[str]) -> Iterator[dict]:
        yield {self.status: 'Writing ...'} | self._controls(workspace, busy=True)
        for progress in workspace.write(names):
            yield {self.status: _bar(progress)}
        paths = [str(path) for path in workspace.files]
        status = 'The files are ready.' if paths else 'Stopped: no file was written.'
        yield {self.files: gr.File(paths, visible=bool(paths)), self.status: status}


def _choice(model: str, memory: str, slots: str | int) -> Choice:
    return Choice(model, memory, None if slots == AS_TRAINED else int(slots))


def _named(workspace: Workspace, name: str | None) -> Choice | None:
    """The other choice with results of a name."""
    return {str(choice): choice for choice in workspace.choices if choice != workspace.choice}.get(name or '')


def _timeline(workspace: Workspace, choice: Choice | None) -> gr.Image:
    picture = None if choice is None else workspace.timeline(choice)
    return gr.Image(picture, visible=picture is not None)


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


def _bar(progress: Progress, waiting: str = '') -> str:
    if not progress.done:
        return waiting
    speed = progress.done / max(progress.seconds, 1e-3)
    bar = f'<progress max="{progress.total}" value="{progress.done}" style="width: 100%"></progress><br>'
    left = f'{speed:.1f} a second, {progress.seconds_left:.0f} s left'
    return f'{bar}{progress.done} of {progress.total} frames, {left}'


def _left(workspace: Workspace) -> str:
    if not workspace.keyframes:
        return 'No object is marked.'
    left = workspace.pending
    return f'{left} frames to compute: press Run.' if left else 'Nothing is left to compute.'
