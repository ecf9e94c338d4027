"""Search spaces of the global LSTM: pure data, to be read by whichever engine searches. Entries as in `grace_lstm`.

SPACE is of mascons; BASINS of a basin table, whose network has its own settings.
"""

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

BASINS = {
    "features": ("subsets", 1),
    "hidden_size": ("choice", [32, 64]),
    "dropout": ("uniform", 0.1, 0.5),
    "input_noise": ("uniform", 0.0, 0.3),
    "history": ("choice", [12, 24]),
    "epochs": ("choice", [6, 13, 20]),
    "learning_rate": ("loguniform", 1e-3, 1e-2),
    "weight_decay": ("loguniform", 1e-4, 1.0),
}
