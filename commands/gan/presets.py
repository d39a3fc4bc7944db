"""The presets of `train_gan.py`; docs/gans.md names their sources."""

from models.gan import R3GAN_WIDTHS


def _r3gan(width: str, **more: object) -> dict[str, object]:
    """Huang et al. 2024: relativistic loss, R1 and R2 at every step, settings annealed by a cosine.

    Widths are the paper's; r1 and r2 are its gamma. The paper's augmentation is StyleGAN2-ADA's.
    """
    widths = dict(R3GAN_WIDTHS[width])
    row = {
        "generator": "r3gan",
        "discriminator": "r3gan",
        "latent_channels": 64,
        "flip": True,
        "discriminator_channels": widths["base_channels"],
        **widths,
        "objective": "relativistic",
        "schedule": "cosine",
        "schedule_images": 20_000_000,
        "learning_rate": 2e-4,
        "learning_rate_end": 5e-5,
        "betas": (0.0, 0.9),
        "beta2_end": 0.99,
        "penalty_end": 0.1,
        "ema_halflife_images": 0.0,
        "augment": "colour,translation,cutout",
        "augment_probability": 0.0,
        **_pace(500_000, 100_000, 10_000),
    }
    return row | more


def _pace(save: int, preview: int, log: int) -> dict[str, int]:
    """Return the images between checkpoints, previews and log lines."""
    return {"save_every": save, "preview_every": preview, "log_every": log}


_VANILLA = {
    "objective": "minimax",
    "learning_rate": 2e-4,
    "betas": (0.5, 0.999),
    "batch_size": 100,
    "latent_channels": 100,
    "total_images": 5_000_000,
    **_pace(50_000, 20_000, 5_000),
}
_DCGAN = {
    "generator": "dcgan",
    "discriminator": "dcgan",
    "latent_channels": 100,
    "base_channels": 64,
    "discriminator_channels": 64,
    "crop_size": 64,
    "objective": "non_saturating",
    "learning_rate": 2e-4,
    "betas": (0.5, 0.999),
    "batch_size": 64,
    "total_images": 5_000_000,
    **_pace(50_000, 20_000, 5_000),
}
_SNGAN = {
    "generator": "sngan",
    "discriminator": "sngan",
    "latent_channels": 128,
    "base_channels": 256,
    "discriminator_channels": 128,
    "objective": "hinge",
    "discriminator_steps": 5,
    "learning_rate": 2e-4,
    "betas": (0.0, 0.9),
    "batch_size": 64,
    "schedule": "linear",
    "schedule_images": 32_000_000,
    "learning_rate_end": 0.0,
    "total_images": 32_000_000,
    **_pace(200_000, 50_000, 10_000),
}
_PROGRESSIVE = {
    "generator": "progressive",
    "discriminator": "progressive",
    "latent_channels": 512,
    "base_channels": 8192,
    "discriminator_channels": 8192,
    "most_channels": 512,
    "crop_size": 1024,
    "flip": True,
    "objective": "wgan",
    "gradient_penalty": 10.0,
    "drift": 1e-3,
    "learning_rate": 1e-3,
    "betas": (0.0, 0.99),
    "ema_halflife_images": 10_000,
    "batch_size": 4,
    "total_images": 12_000_000,
    **_pace(200_000, 40_000, 4_000),
}
PRESETS = {
    "r3gan": _r3gan(
        "base",
        crop_size=64,
        r1=2.0,
        r2=2.0,
        augment_probability_end=0.3,
        ema_halflife_end=500_000,
        batch_size=256,
        total_images=50_000_000,
    ),
    "r3gan_32": _r3gan(
        "base",
        crop_size=32,
        r1=0.05,
        r2=0.05,
        augment_probability_end=0.55,
        ema_halflife_end=5_000_000,
        batch_size=512,
        total_images=50_000_000,
    ),
    "r3gan_tiny": _r3gan(
        "tiny",
        crop_size=32,
        r1=0.5,
        r2=0.5,
        augment_probability_end=0.3,
        ema_halflife_end=10_000,
        schedule_images=500_000,
        batch_size=32,
        total_images=500_000,
        **_pace(20_000, 10_000, 2_000),
    ),
    "vanilla": {
        "generator": "mlp",
        "discriminator": "mlp",
        "base_channels": 1200,
        "discriminator_channels": 240,
        **_VANILLA,
    },
    "vanilla_conv": {**_DCGAN, **_VANILLA, "crop_size": 32},
    "dcgan": _DCGAN,
    "dcgan_tiny": _DCGAN
    | {
        "crop_size": 32,
        "base_channels": 32,
        "discriminator_channels": 32,
        "discriminator_norm": "none",
        "conditioning": "projection",
        "r1": 1.0,
        "schedule": "cosine",
        "schedule_images": 20_000,
        "learning_rate": 1e-3,
        "learning_rate_end": 1e-4,
        "betas": (0.0, 0.99),
        "ema_halflife_images": 1_000,
        "batch_size": 16,
        "total_images": 20_000,
        **_pace(4_000, 2_000, 1_000),
    },
    "sngan": _SNGAN,
    "wgan_gp": _SNGAN
    | {
        "spectral_norm": False,
        "objective": "wgan",
        "gradient_penalty": 10.0,
        "schedule": "constant",
        "schedule_images": 0,
        "learning_rate_end": None,
        "learning_rate": 1e-4,
        "total_images": 64_000_000,
    },
    "progressive": _PROGRESSIVE
    | {
        "batch_size_at": (
            *((4, 128), (8, 128), (16, 128), (32, 64)),
            *((64, 32), (128, 16), (256, 8), (512, 4)),
        ),
        "learning_rate_at": ((1024, 1.5e-3),),
    },
    "progressive_paper": _PROGRESSIVE
    | {
        "batch_size": 16,
        "batch_size_at": ((256, 14), (512, 6), (1024, 3)),
        "deviation_group": 16,
        "stable_images": 800_000,
        "fade_images": 800_000,
        "rampup_images": 40_000,
        "ema_halflife_images": 0.0,
        "ema_decay": 0.999,
        "total_images": 19_000_000,
    },
    "progressive_cifar10": _PROGRESSIVE
    | {
        "base_channels": 4096,
        "discriminator_channels": 4096,
        "most_channels": 128,
        "latent_channels": 128,
        "crop_size": 32,
        "flip": False,
        "gradient_target": 750.0,
        "stable_images": 400_000,
        "fade_images": 400_000,
        "batch_size": 16,
        "deviation_group": 16,
        "ema_halflife_images": 0.0,
        "ema_decay": 0.999,
        "total_images": 20_000_000,
    },
}
