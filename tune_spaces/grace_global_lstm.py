"""Search space of the global LSTM: pure data, to be read by whichever engine searches. Entries as in `grace_lstm`."""

SPACE = {
    "features": ("subsets", 1),
    "hidden_size": ("choice", [16, 32, 64]),
    "dropout": ("uniform", 0.0, 0.5),
    "input_noise": ("uniform", 0.0, 0.3),
    "history": ("choice", [12, 24]),
    "steps": ("choice", [300, 600, 1200]),
    "learning_rate": ("loguniform", 1e-3, 2e-2),
    "weight_decay": ("loguniform", 1e-3, 1.0),
}
