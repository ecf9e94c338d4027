"""Search space of the local LSTM: pure data, to be read by whichever engine searches.

Each entry is a setting of the model and how it is drawn: ("choice", [values]), ("uniform", low, high), ("loguniform",
low, high) or ("integer", low, high), both ends included; ("subsets", n) draws all predictors or all without up to n.
"""

SPACE = {
    "features": ("subsets", 1),
    "lags": ("choice", [23, 35]),
    "members": ("choice", [8, 16]),
    "hidden_size": ("choice", [8, 16]),
    "epochs": ("choice", [120, 200]),
    "learning_rate": ("loguniform", 2e-2, 4e-2),
    "weight_decay": ("loguniform", 5e-1, 2.0),
}
