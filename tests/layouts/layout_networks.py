"""Small networks whose layers lay out positions in all the ways that are about."""

import torch
from torch import nn
from torch.nn import functional as F


def seeded(build, seed=0):
    """A network in float64 and eval mode, with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double().eval()


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Pooling(nn.Module):
    """Convolutions in any number of directions, the mean over positions, and a linear layer."""

    def __init__(self, dims, channels=2, width=5, labels=4):
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
        self.features = nn.Sequential(conv(channels, 3, 3), nn.ReLU(), conv(3, width, 2, stride=2), nn.ReLU())
        self.fc = nn.Linear(width, labels)

    def forward(self, x):
        return self.fc(self.features(x).flatten(2).mean(2))


class Tokens(nn.Module):
    """Overlapping patches as tokens between a class token and registers; one attention; the class token is read."""

    def __init__(self, width=6, registers=2, labels=4):
        super().__init__()
        self.patches = nn.Conv2d(2, width, 3, stride=2)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.last = nn.Parameter(torch.randn(1, registers, width))
        self.before, self.mix, self.after = nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, labels)

    def forward(self, x):
        return self.behind(self.before(self.tokens(x)))

    def tokens(self, x):
        patches = self.patches(x).flatten(2).mT
        ends = (one.expand(len(x), -1, -1) for one in (self.first, self.last))
        return torch.cat([next(ends), patches, next(ends)], 1)

    def behind(self, tokens):
        mixed = tokens + torch.softmax(tokens @ tokens.mT, 2) @ self.mix(tokens)
        return self.head(self.after(mixed)[:, 0])


class Mixer(nn.Module):
    """Patches cut by hand, a linear embedding, and linear layers along tokens and along channels in turn."""

    def __init__(self, tokens, width=6, labels=4):
        super().__init__()
        self.embed, self.norm = nn.Linear(2 * 4, width), nn.LayerNorm(width)
        self.along = nn.Sequential(nn.Linear(tokens, 7), nn.GELU(), nn.Linear(7, tokens))
        self.across, self.head = nn.Linear(width, width), nn.Linear(width, labels)
        self.block = nn.Identity()

    def forward(self, x):
        n, c, height, width = x.shape
        patches = x.view(n, c, height // 2, 2, width // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 4 * c)
        h = self.embed(patches)
        h = h + self.along(self.norm(h).transpose(1, 2)).transpose(1, 2)
        return self.head((h + self.across(h)).mean(1))


class Windows(nn.Module):
    """Attention inside windows of a map with channels last, shifted and padded, as in Swin."""

    def __init__(self, width=6, labels=4):
        super().__init__()
        self.patches, self.norm = nn.Conv2d(2, width, 2, stride=2), nn.LayerNorm(width)
        self.value, self.out, self.head = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, labels)

    def forward(self, x):
        h = self.patches(x).permute(0, 2, 3, 1)
        return self.head((h + self.attended(self.norm(h))).mean((1, 2)))

    def attended(self, h):
        n, height, width, k = h.shape
        padded = F.pad(h, (0, 0, 0, -width % 2, 0, -height % 2)).roll((-1, -1), (1, 2))
        rows, columns = padded.shape[1] // 2, padded.shape[2] // 2
        windows = padded.view(n, rows, 2, columns, 2, k).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, k)
        windows = self.out(torch.softmax(windows @ windows.mT, -1) @ self.value(windows))
        joined = windows.view(n, rows, columns, 2, 2, k).permute(0, 1, 3, 2, 4, 5).reshape(padded.shape)
        return joined.roll((1, 1), (1, 2))[:, :height, :width]


class Sequences(nn.Module):
    """Embedded tokens (N, T, E), something that reads them, and the mean over tokens."""

    def __init__(self, way, width):
        super().__init__()
        self.way = way
        self.layer = {
            "linear": lambda: nn.Linear(width, 5),
            "lstm": lambda: nn.LSTM(width, 5, batch_first=True),
            "time first": lambda: nn.LSTM(width, 5),
            "encoder": lambda: nn.TransformerEncoderLayer(width, 2, 8, batch_first=True),
            "attention": lambda: nn.MultiheadAttention(width, 2, batch_first=True),
            "convolution": lambda: nn.Conv1d(width, 5, 3, padding=1),
            # Kim's convolutions over n words, as those of an image with as many columns as the embedding has numbers.
            "words": lambda: nn.Conv2d(1, 5, (3, width), padding=(1, 0)),
        }[way]()
        self.last, self.fc = nn.ReLU(), nn.Linear(width if way in ("encoder", "attention") else 5, 4)

    def forward(self, x):
        return self.fc(self.last(self.read(x)).mean(0 if self.way == "time first" else 1))

    def read(self, x):
        if self.way == "convolution":
            return self.layer(x.mT).mT
        if self.way == "words":
            return self.layer(x[:, None])[..., 0].mT
        if self.way == "time first":
            return self.layer(x.transpose(0, 1))[0]
        out = self.layer(x, x, x) if self.way == "attention" else self.layer(x)
        return out[0] if isinstance(out, tuple) else out
