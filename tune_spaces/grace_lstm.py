"""Search space of the local LSTM: pure data, to be read by whichever engine searches.

Each entry is a setting of the model and how it is drawn: ("choice", [values]), ("uniform", low, high), ("loguniform",
low, high) or ("integer", low, high), both ends included; ("subsets", n) draws all predictors or all without up to n.
"""

SPACE = {
    "features": ("subsets", 1),
    "lags": ("choice", [2, 5, 11, 23]),
    "members": ("choice", [4, 8]),
    "hidden_size": ("choice", [4, 8, 16]),
    "epochs": ("choice", [40, 80, 120]),
    "learning_rate": ("loguniform", 5e-3, 1e-1),
    "weight_decay": ("loguniform", 1e-1, 1e1),
}
