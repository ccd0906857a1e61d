"""The web app: objects of a video are marked, segmented and corrected in the browser.

What a user does is in ``workspace``, without Gradio; ``page`` lays it out.
"""

from mmstremn.app.page import build_page, launch

__all__ = ['build_page', 'launch']
