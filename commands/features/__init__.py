"""What train_features.py needs: options, pictures, networks, measurements, sheets."""
