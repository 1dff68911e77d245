"""CLIP's text tower: a causal transformer, read at the end token (arXiv:2103.00020, section 2.4).

B = texts, T = tokens, W = width.
"""

import torch
from torch import Tensor, nn

from training.models.blocks import LayerNorm, Transformer, initialize_text_blocks
from training.models.ragged import ragged
from training.specs.base import Activation
from training.specs.towers import TextTower


class TextTransformer(nn.Module):
    """Token ids in, the normed end token out. The end token has the highest id, so argmax finds it."""

    def __init__(self, tower: TextTower, activation: Activation) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(tower.vocabulary, tower.width)
        self.positional_embedding = nn.Parameter(torch.empty(tower.context, tower.width))
        self.transformer = Transformer(
            tower.width, tower.layers, tower.heads, activation, causal=True, hidden=tower.hidden, epsilon=tower.epsilon
        )
        self.ln_final = LayerNorm(tower.width, tower.epsilon)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        initialize_text_blocks(self.transformer, tower.width)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Features (B, W) of texts padded with 0 after their end token.

        Attention is causal, so what stands after an end token is never read: the batch is cut to its longest text, and what
        is left of the padding is not computed either (most of CLIP's 77 places).
        """
        end_B = tokens_BT.argmax(dim=1)
        longest = int(end_B.max()) + 1
        x_BTW = self.token_embedding(tokens_BT[:, :longest])
        x_BTW = x_BTW + self.positional_embedding[:longest].to(x_BTW.dtype)
        short = ragged(end_B, longest)
        if short is None:
            x_BTW = self.transformer(x_BTW)
            last_BW = x_BTW[torch.arange(len(end_B), device=end_B.device), end_B]
        else:
            x_NW = self.transformer(short.packed(x_BTW), short)
            last_BW = x_NW[(end_B + 1).cumsum(0) - 1]
        # Norms act on each token alone, so norming the end token only is enough.
        out: Tensor = self.ln_final(last_BW)
        return out
