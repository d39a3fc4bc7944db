"""What belongs to `train_gan.py`: options, presets, and the settings at each moment of a run."""
