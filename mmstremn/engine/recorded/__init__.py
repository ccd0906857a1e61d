"""Recorded features: what a frozen segmentor makes of sequences, from which edited videos are composed."""
