"""Search space of our super-resolution network: pure data, entries as in `grace_lstm`."""

SPACE = {
    "width": ("choice", [32, 48, 64, 96]),
    "blocks": ("integer", 2, 8),
    "learning_rate": ("loguniform", 5e-4, 5e-3),
    "weight_decay": ("loguniform", 1e-4, 1e-1),
    "batch_size": ("choice", [8, 16, 32]),
}
