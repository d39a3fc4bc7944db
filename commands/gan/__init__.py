"""The parts of `train_gan.py`: options, presets, networks, pictures, settings by images seen."""
