"""Search space of our network of stellar parameters: pure data, entries as in `grace_lstm`."""

SPACE = {
    "width": ("choice", [128, 192, 256, 384]),
    "blocks": ("integer", 1, 4),
    "inner": ("choice", [128, 256, 384]),
    "steps": ("integer", 1, 2),
    "learning_rate": ("loguniform", 5e-4, 1e-2),
    "weight_decay": ("loguniform", 1e-6, 1e-2),
    "batch_size": ("choice", [256, 512, 1024, 2048]),
}
