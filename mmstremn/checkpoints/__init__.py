"""Files of weights: reading, matching to a model, converting from public code, publishing."""
