"""A picture of what a slot memory remembered."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_slot_timeline(timeline: np.ndarray, title: str = '') -> np.ndarray:
    """Draw which frame every slot held after every frame: a row of constant colour is a frame that was kept.

    Args:
        timeline: (T, S) int, the index of the frame in each slot, -1 where empty (left white).
        title: Above the picture.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: ``timeline`` is not two-dimensional or empty.
    """
    timeline = np.asarray(timeline)
    if timeline.ndim != 2 or timeline.size == 0:
        raise ValueError(f'expected a slot timeline of shape (T, S), got {timeline.shape}')
    num_frames, num_slots = timeline.shape
    figure = Figure(figsize=(9, 1.6 + 0.28 * num_slots), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(
        np.ma.masked_less(timeline.T, 0),
        aspect='auto',
        interpolation='nearest',
        cmap='viridis',
        vmin=0,
        vmax=max(num_frames - 1, 1),
        extent=(-0.5, num_frames - 0.5, num_slots - 0.5, -0.5),
    )
    axes.hlines(np.arange(num_slots - 1) + 0.5, -0.5, num_frames - 0.5, colors='white', linewidth=1)
    axes.set(title=title, xlabel='frame', ylabel='slot', yticks=range(num_slots))
    figure.colorbar(image, ax=axes, label='frame held', pad=0.01)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
