"""One LSTM for all units: monthly inputs and static attributes in, storage in units of the unit's scale out."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciml.core.errors import ConfigError


@dataclass(frozen=True)
class GlobalLSTMConfig:
    """Sizes and regularisation of the network.

    hidden_size: width of the LSTM. embedding_size: width of the attributes' embedding. dropout: share of hidden units
    and of the head's inputs dropped in training. input_noise: standard deviation added to the (standardised) inputs in
    training, since the products that drive a unit are themselves uncertain. history: months that a prediction sees.
    """

    hidden_size: int = 64
    embedding_size: int = 16
    dropout: float = 0.3
    input_noise: float = 0.1
    history: int = 24

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.embedding_size, self.history) < 1:
            raise ConfigError(f"{self}: sizes and history must be at least 1")
        if not 0 <= self.dropout < 1 or self.input_noise < 0:
            raise ConfigError(f"{self}: dropout must lie in [0, 1) and input noise must not be negative")


class GlobalLSTM(nn.Module):
    """(batch, month, feature), (batch, attribute) -> (batch, month - history + 1): each value has a full history.

    The head also sees the inputs of its month directly, so that what is linear in them need not pass the gates.
    """

    def __init__(self, features: int, attributes: int, config: GlobalLSTMConfig) -> None:
        super().__init__()
        self.config = config
        width = features + config.embedding_size
        self.embed = nn.Sequential(nn.Linear(attributes, config.embedding_size), nn.Tanh())
        self.lstm = nn.LSTM(width, config.hidden_size, batch_first=True)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size + width, 1)

    def forward(self, inputs: Tensor, attributes: Tensor) -> Tensor:
        if self.training and self.config.input_noise > 0:
            inputs = inputs + self.config.input_noise * torch.randn_like(inputs)
        embedded = self.embed(attributes)[:, None].expand(-1, inputs.shape[1], -1)
        step = torch.cat([inputs, embedded], dim=-1)
        hidden, _ = self.lstm(step)
        ready = slice(self.config.history - 1, None)
        return self.head(torch.cat([self.drop(hidden[:, ready]), self.drop(step[:, ready])], dim=-1)).squeeze(-1)
