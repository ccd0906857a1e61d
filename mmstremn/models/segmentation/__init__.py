"""Video object segmentation: segmentor, encoders, decoders, losses, streams."""
