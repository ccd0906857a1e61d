"""The web app as a user sees it: a real browser, headless, on tiny models."""

import json
import shutil
import tempfile
import time
import zipfile

import av
import pytest
from helpers.runs import ROOT
from helpers.sam2_cases import SAM2, random_weights
from helpers.video_files import write
from helpers.vos_cases import SquaresVideo, tiny_model
from mmengine.config import Config

from mmstremn.adapters.sam2.families import random_tracker
from mmstremn.app.choices import SELECTORS, Models, one_model
from mmstremn.app.page import OUTPUT_NAMES
from mmstremn.app.serving import served
from mmstremn.app.uploads import Limits
from mmstremn.models.segmentation.stream import VOSStream
from mmstremn.utils.palette import encode_palette_png

CHROMIUM = shutil.which('chromium')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no chromium: apt-get install chromium')
T, SIZE = 6, (96, 128)
SQUARES = SquaresVideo(T, SIZE)
MOST_MS = 60_000
SETTLED = """() => {
    const picture = document.querySelector('#viewer img'), before = window.before
    window.before = picture?.src
    return picture?.complete && picture.naturalWidth && picture.src === before
}"""
FILES = {
    *('masks.zip', 'overlay.mp4', 'cutout.webm', 'cutouts.zip', 'coco.json', 'youtube_vis.json'),
    *('labelme.zip', 'objects.csv', 'review.csv', 'slots.png'),
}


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    return write(tmp_path_factory.mktemp('clip') / 'squares.mp4', 'h264', frames=T, make=SQUARES.frame)


@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip('playwright.sync_api')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def sam2(tmp_path_factory):
    """A folder with a small SAM 2."""
    folder = tmp_path_factory.mktemp('models') / 'small'
    tracker, _ = random_tracker(SAM2)
    random_weights(tracker, 0)
    tracker.save_pretrained(folder)
    config = Config.fromfile(ROOT / 'configs/adapters/sam2/sam2.1_tiny.py')
    config.model.checkpoint = str(folder)
    return config


@pytest.fixture(scope='module')
def address(sam2, tmp_path_factory):
    temporary = tmp_path_factory.mktemp('temporary')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, 'tempdir', str(temporary))
        models = Models({'tiny': tiny_model} | one_model(sam2, device='cpu'), 'tiny')
        with served(models, Limits(megabytes=1)) as page:
            yield page.local_url
        assert not list(temporary.iterdir())


class User:
    """Somebody with a page of their own, who sees that nothing is loaded from elsewhere."""

    def __init__(self, browser, address):
        self.page = browser.new_context(viewport=dict(width=1280, height=1400)).new_page()
        self.page.set_default_timeout(MOST_MS)
        self.page.on('request', self._check)
        self.address, self.foreign = address, []
        self.page.goto(address)
        self.page.wait_for_selector('#video')

    def _check(self, request):
        if not request.url.startswith((self.address, 'data:', 'blob:')):
            self.foreign.append(request.url)

    def waits_for(self, text, where='#status'):
        self.page.wait_for_function(
            '([where, text]) => document.querySelector(where)?.innerText.includes(text)', arg=[where, text]
        )

    def drops(self, path):
        self.page.set_input_files('#video input[type=file]', str(path))

    def clicks(self, x, y, answer):
        self.page.evaluate('window.before = null')
        self.page.wait_for_function(SETTLED, polling=700)
        picture = self.page.locator('#viewer img')
        scale = picture.bounding_box()['width'] / SIZE[1]
        picture.click(position=dict(x=x * scale, y=y * scale))
        self.waits_for(answer)

    def draws_box(self, left, top, right, bottom):
        self.clicks(left, top, 'opposite corner')
        self.clicks(right, bottom, 'frames to compute')

    def chooses(self, menu, option):
        self.page.click(f'{menu} input')
        self.page.get_by_role('option', name=option, exact=True).click()

    def goes_to(self, frame):
        self.page.fill('#frame input[type=number]', str(frame))
        self.page.press('#frame input[type=number]', 'Enter')

    def runs(self):
        self.page.click('#run')
        self.waits_for('Done')

    def can(self, button):
        return self.page.is_enabled(button)

    def downloads(self, folder):
        found = {}
        for link in self.page.locator('#files a').all():
            with self.page.expect_download() as event:
                link.click()
            name = event.value.suggested_filename
            event.value.save_as(folder / name)
            found[name] = folder / name
        return found

    def leaves(self):
        self.page.context.close()
        assert not self.foreign


@pytest.fixture
def user(browser, address):
    user = User(browser, address)
    yield user
    user.leaves()


def test_box_run_correct_and_download_everything(user, clip, tmp_path):
    assert not user.can('#run') and not user.can('#stop') and not user.can('#absent')
    user.drops(clip)
    user.waits_for(f'squares: {T} frames, 128 x 96')
    user.page.fill('#label textarea, #label input', 'a <b>cup')
    user.page.press('#label textarea, #label input', 'Enter')
    user.waits_for('a <b>cup', '#legend')
    user.draws_box(1, 1, 20, 20)
    user.runs()
    user.page.wait_for_selector('#timeline img')
    user.goes_to(T - 1)
    user.waits_for(f'frame {T - 1}', '#held')
    user.page.click('#absent')
    user.waits_for('frames to compute')
    user.runs()
    user.page.click('#download-part button')
    for name in OUTPUT_NAMES.values():
        user.page.get_by_label(name, exact=True).check()
    user.page.click('#write')
    user.waits_for('ready')
    files = user.downloads(tmp_path)
    assert set(files) == FILES
    assert len(zipfile.ZipFile(files['masks.zip']).namelist()) == T + 1
    assert 'a <b>cup' in files['coco.json'].read_text()
    assert len(json.loads(files['youtube_vis.json'].read_text())['videos']) == 1
    assert len(zipfile.ZipFile(files['labelme.zip']).namelist()) == 2 * T + 1
    for name in ('overlay.mp4', 'cutout.webm'):
        with av.open(str(files[name])) as container:
            assert sum(1 for _ in container.decode(video=0)) == T


def test_two_memories_side_by_side_and_objects_that_come_and_go(user, clip, tmp_path):
    user.drops(clip)
    user.waits_for(f'{T} frames')
    user.draws_box(1, 1, 20, 20)
    user.page.click('#add')
    user.waits_for('object 2', '#legend')
    (tmp_path / 'mask.png').write_bytes(encode_palette_png(SQUARES.mask(0)))
    user.page.get_by_role('tab', name='Mask').click()
    with user.page.expect_file_chooser() as chooser:
        user.page.click('#mask')
    chooser.value.set_files(tmp_path / 'mask.png')
    user.waits_for('object 3', '#legend')
    user.runs()
    user.page.click('#memory-part button')
    user.chooses('#memory', next(iter(SELECTORS)))
    user.waits_for(f'{T} frames to compute')
    user.chooses('#slots', '2')
    user.waits_for(f'{T} frames to compute')
    user.runs()
    assert not user.page.is_visible('#other img')
    user.chooses('#compared', 'tiny, as trained')
    user.page.wait_for_selector('#other img')
    user.page.wait_for_selector('#other-timeline img')
    user.waits_for('tiny, as trained', '#other')
    user.waits_for(f'tiny, {next(iter(SELECTORS))}, 2 slots', '#viewer')
    user.goes_to(T - 1)
    user.page.wait_for_function('document.querySelectorAll("#held img").length == 2')
    user.page.click('#remove')
    user.page.wait_for_function('!document.querySelector("#legend").innerText.includes("object 3")')


def test_bad_files_are_told_and_a_good_one_is_taken_then(user, clip, tmp_path):
    (tmp_path / 'bad.mp4').write_bytes(b'no video' * 99)
    (tmp_path / 'text.txt').write_text('no video')
    (tmp_path / 'big.mp4').write_bytes(bytes(2_000_000))
    user.waits_for('at most 1 MB', '#video')
    user.drops(tmp_path / 'text.txt')
    user.page.wait_for_selector('text=Invalid file type')
    user.drops(tmp_path / 'big.mp4')
    user.page.wait_for_selector('text=exceed the maximum allowed size')
    user.drops(tmp_path / 'bad.mp4')
    user.waits_for('bad.mp4: expected a video file')
    assert not user.can('#run')
    user.drops(clip)
    user.waits_for(f'{T} frames')


def test_a_run_is_stopped_while_another_user_works(user, browser, address, clip, monkeypatch):
    other = User(browser, address)
    for person in (user, other):
        person.drops(clip)
        person.waits_for(f'{T} frames')
        person.draws_box(1, 1, 20, 20)
    computed = VOSStream.probabilities
    with monkeypatch.context() as patch:
        patch.setattr(VOSStream, 'probabilities', lambda *given: time.sleep(1) or computed(*given))
        user.page.click('#run')
        user.page.wait_for_selector('#preview img')
        user.page.click('#stop')
        user.waits_for('Stopped')
    other.runs()
    assert 'Stopped' in user.page.inner_text('#status')
    user.page.wait_for_selector('#preview img', state='hidden')
    user.runs()
    other.leaves()


def test_points_where_the_model_takes_them(user, clip):
    user.drops(clip)
    user.waits_for(f'{T} frames')
    points = user.page.get_by_role('tab', name='Points')
    assert not points.is_visible()
    user.page.click('#memory-part button')
    user.chooses('#model', 'sam2.1_tiny')
    points.click()
    user.page.get_by_label('beside it').check()
    user.clicks(100, 80, 'click on the object first')
    user.page.get_by_label('on the object').check()
    user.clicks(10, 10, f'frame 0: 1. {T} frames to compute')
    user.page.get_by_label('beside it').check()
    user.clicks(100, 80, 'frame 0: 2.')
    user.page.click('#undo')
    user.waits_for('frame 0: 1.')
    user.runs()
    user.page.wait_for_selector('#timeline img')
    user.goes_to(3)
    user.clicks(100, 80, 'frame 3: 1. 4 frames to compute')  # beside what the run found there
    user.page.click('#undo')
    user.waits_for('frame 3: 0. Nothing is left')
    user.chooses('#model', 'tiny')
    points.wait_for(state='hidden')
    user.runs()
