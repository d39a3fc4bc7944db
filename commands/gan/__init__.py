"""What belongs to `train_gan.py`: options, presets, networks, pictures, settings by images seen."""
