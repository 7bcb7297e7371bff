"""Commands around a training: plans, folds, settings, weights."""
