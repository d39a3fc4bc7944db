"""For train_features.py."""
