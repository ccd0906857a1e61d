"""Pictures of masks, of predicted frames and of memories."""

from mmstremn.visualization.film_strip import draw_film_strip
from mmstremn.visualization.overlay import overlay, write_overlay_video
from mmstremn.visualization.prediction_strip import (
    PredictionWriter,
    draw_prediction_strip,
    prediction_writer,
    write_prediction,
)
from mmstremn.visualization.slot_timeline import draw_slot_timeline
from mmstremn.visualization.video_writer import VideoWriter, video_writer, write_video

__all__ = [
    'PredictionWriter',
    'VideoWriter',
    'draw_film_strip',
    'draw_prediction_strip',
    'draw_slot_timeline',
    'overlay',
    'prediction_writer',
    'video_writer',
    'write_overlay_video',
    'write_prediction',
    'write_video',
]
