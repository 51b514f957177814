"""Training: networks, data sets, augmentation, stage training, export (extra: ``train``)."""
