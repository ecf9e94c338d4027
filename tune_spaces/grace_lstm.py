"""Search spaces of the GRACE networks: pure data, to be read by whichever engine searches.

Each entry is a setting of the model's configuration and how it is drawn: ("choice", [values]), ("uniform", low, high),
("loguniform", low, high) or ("integer", low, high), both ends included.
"""

LOCAL_CONFIG = "sciml.grace.local_lstm:LocalLSTMConfig"

LOCAL = {
    "hidden_size": ("choice", [4, 8, 16, 32]),
    "epochs": ("choice", [40, 60, 120, 200]),
    "learning_rate": ("loguniform", 5e-3, 1e-1),
    "weight_decay": ("loguniform", 1e-2, 3.0),
}
