"""Pictures of masks and of memories."""

from mmstremn.visualization.film_strip import draw_film_strip
from mmstremn.visualization.overlay import overlay, write_overlay_video
from mmstremn.visualization.slot_timeline import draw_slot_timeline

__all__ = ['draw_film_strip', 'draw_slot_timeline', 'overlay', 'write_overlay_video']
