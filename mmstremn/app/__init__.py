"""The web app: objects of a video are marked, segmented and corrected in the browser.

What a user does is in ``workspace``, without Gradio; ``page`` lays it out, ``serving`` serves it.
"""

from mmstremn.app.page import build_page
from mmstremn.app.serving import launch
from mmstremn.app.uploads import Limits

__all__ = ['Limits', 'build_page', 'launch']
