"""The web app as a user sees it: a real browser, headless, on a tiny model."""

import shutil
import time
import zipfile

import pytest
from helpers.video_files import write
from helpers.vos_cases import SquaresVideo, tiny_model

from mmstremn.app.choices import Models
from mmstremn.app.page import served
from mmstremn.models.segmentation.stream import VOSStream

CHROMIUM = shutil.which('chromium')
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no chromium: apt-get install chromium')
T, SIZE = 6, (96, 128)
MOST_MS = 120_000


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    frames = SquaresVideo(T, SIZE)
    return write(tmp_path_factory.mktemp('clip') / 'squares.mp4', 'h264', frames=T, make=frames.frame)


@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip('playwright.sync_api')
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture(scope='module')
def address():
    models = Models(default='tiny', load=lambda name: tiny_model())
    with served(models, quiet=True) as page:
        yield page.local_url


class User:
    """Somebody with a page of their own."""

    def __init__(self, browser, address):
        self.page = browser.new_context().new_page()
        self.page.set_default_timeout(MOST_MS)
        self.page.goto(address)
        self.page.wait_for_selector('#video')

    def waits_for(self, text, where='#status'):
        self.page.wait_for_function(
            '([where, text]) => document.querySelector(where)?.innerText.includes(text)', arg=[where, text]
        )

    def drops(self, path):
        self.page.set_input_files('#video input[type=file]', str(path))

    def draws_box(self, *corners):
        for x, y, answer in (*corners[:2], 'opposite corner'), (*corners[2:], 'frames to compute'):
            picture = self.page.locator('#viewer img')
            scale = picture.bounding_box()['width'] / SIZE[1]
            picture.click(position=dict(x=x * scale, y=y * scale))
            self.waits_for(answer)

    def goes_to(self, frame):
        self.page.fill('#frame input[type=number]', str(frame))
        self.page.press('#frame input[type=number]', 'Enter')

    def downloads(self, folder):
        self.page.click('#download-part button')
        self.page.click('#write')
        self.waits_for('ready')
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


@pytest.fixture
def user(browser, address):
    user = User(browser, address)
    yield user
    user.leaves()


def test_box_run_correct_download(user, clip, tmp_path):
    user.drops(clip)
    user.waits_for(f'squares: {T} frames, 128 x 96')
    user.draws_box(1, 1, 20, 20)
    user.page.click('#run')
    user.waits_for('Done')
    user.page.wait_for_selector('#timeline img')
    user.goes_to(T - 1)
    user.page.wait_for_selector('#held img')
    user.page.click('#absent')
    user.waits_for('frames to compute')
    user.page.click('#run')
    user.waits_for('Done')
    files = user.downloads(tmp_path)
    assert set(files) == {'masks.zip', 'overlay.mp4', 'coco.json', 'objects.csv'}
    assert len(zipfile.ZipFile(files['masks.zip']).namelist()) == T + 1


def test_bad_files_are_told(user, tmp_path):
    (tmp_path / 'bad.mp4').write_bytes(b'no video' * 99)
    user.drops(tmp_path / 'bad.mp4')
    user.page.wait_for_selector('text=bad.mp4: expected a video file')
    user.page.click('#run')
    user.page.wait_for_selector('text=no object is marked')


def test_a_run_is_stopped_while_another_user_works(user, browser, address, clip, monkeypatch):
    other = User(browser, address)
    for person in (user, other):
        person.drops(clip)
        person.waits_for(f'{T} frames')
        person.draws_box(1, 1, 20, 20)
    computed = VOSStream.probabilities
    with monkeypatch.context() as patch:
        patch.setattr(VOSStream, 'probabilities', lambda *given: time.sleep(2) or computed(*given))
        user.page.click('#run')
        user.page.wait_for_selector('#preview img')
        user.page.click('#stop')
        user.waits_for('Stopped')
    other.page.click('#run')
    other.waits_for('Done')
    assert 'Stopped' in user.page.inner_text('#status')
    user.page.wait_for_selector('#preview img', state='hidden')
    other.leaves()
