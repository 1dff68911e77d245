"""A bag of words as CLIP's text tower: the mean of the words' embeddings (arXiv:2103.00020, section 2.3: the text encoder of
figure 2's last step; CBOW, Mikolov et al. 2013, arXiv:1301.3781). The linear layer behind it is CLIP's text projection.

B = texts, T = tokens, W = width.
"""

import torch
from torch import Tensor, nn

from training.specs.towers import WordsTower


class BagOfWords(nn.Module):
    """Token ids in, their mean embedding out: order does not count, and a text costs a look-up."""

    def __init__(self, tower: WordsTower) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(tower.vocabulary, tower.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, W): the mean of what stands between start and end, or the end's own embedding where nothing does."""
        end_B1 = tokens_BT.argmax(dim=1, keepdim=True)
        place_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        counts_BT = ((place_T > 0) & (place_T < end_B1)) | ((place_T == end_B1) & (end_B1 <= 1))
        x_BTW = self.token_embedding(tokens_BT) * counts_BT.unsqueeze(2)
        return x_BTW.sum(dim=1) / counts_BT.sum(dim=1, keepdim=True)
