"""Video prediction: predictor, encoders, decoders, losses, streams."""
