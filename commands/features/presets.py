"""The presets of `train_features.py`; docs/features.md names their sources."""

_PACE = {"save_every": 100_000, "preview_every": 50_000, "log_every": 5_000}

# lightly's settings for CIFAR-10 where the papers have none.
PRESETS: dict[str, dict[str, object]] = {
    "simclr": {"objective": "nt_xent", "temperature": 0.5, **_PACE},
    "moco": {
        "objective": "moco",
        "temperature": 0.1,
        "norm": "group",
        "queue_size": 4096,
        "momentum": 0.99,
        **_PACE,
    },
    "nnclr": {
        "objective": "nnclr",
        "temperature": 0.1,
        "hidden_channels": 2048,
        "embedding_channels": 256,
        "queue_size": 4096,
        **_PACE,
    },
    "supcon": {"objective": "sup_con", "temperature": 0.1, **_PACE},
    "supervised": {
        "objective": "cross_entropy",
        "least_area": 0.5,
        "jitter": 0.0,
        "grey": 0.0,
        **_PACE,
    },
}
