"""Randomness as a pure function of the seed and the images seen."""

import hashlib

import torch


def seed_for(seed: int, images_seen: int, purpose: str) -> int:
    """Return a 63-bit seed that depends only on the three arguments."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{images_seen}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_for(
    device: torch.device, seed: int, images_seen: int, purpose: str
) -> torch.Generator:
    """Return a fresh generator on `device` for `purpose` at `images_seen`."""
    return torch.Generator(device).manual_seed(seed_for(seed, images_seen, purpose))
