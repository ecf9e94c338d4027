"""Networks: the loss, the plain training loop and its checkpoint, many small LSTMs at once, the global LSTM."""
