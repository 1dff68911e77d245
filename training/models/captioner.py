"""Captioner: reads a picture's places, writes its text token by token (VirTex, arXiv:2006.06666, section 3; the transformer
language model of CLIP's figure 2, arXiv:2103.00020).

B = pairs, C = texts, P = places of the image tower's last grid, T = tokens, W = width, V = vocabulary, H = heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.blocks import Block, LayerNorm, initialize_text_blocks
from training.models.linear import Linear
from training.models.tower_model import TowerModel
from training.models.towers import image_tower
from training.specs.captioner import CaptionerSpec


class Look(nn.Module):
    """Attention of the text's tokens to the picture's places (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = Linear(width, width)
        self.kv_proj = Linear(width, 2 * width)
        self.out_proj = Linear(width, width)

    def forward(self, x_BTW: Tensor, places_BPW: Tensor) -> Tensor:
        B, T, W = x_BTW.shape
        q_BHTw = self.q_proj(x_BTW).view(B, T, self.heads, -1).transpose(1, 2)
        kv = self.kv_proj(places_BPW).view(B, -1, 2, self.heads, W // self.heads)
        k_BHPw, v_BHPw = kv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q_BHTw, k_BHPw, v_BHPw)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(B, T, W))
        return out


class WriterBlock(Block):
    """x + attention(norm(x)), then x + look(norm(x), places), then x + mlp(norm(x))."""

    def __init__(self, spec: CaptionerSpec) -> None:
        text = spec.text
        super().__init__(text.width, text.heads, spec.activation, causal=True, hidden=text.hidden, epsilon=text.epsilon)
        self.ln_look = LayerNorm(text.width, text.epsilon)
        self.look = Look(text.width, text.heads)

    def forward(self, x_BTW: Tensor, places_BPW: Tensor) -> Tensor:  # type: ignore[override]  # it reads a picture too
        x_BTW = x_BTW + self.attn(self.ln_1(x_BTW))
        x_BTW = x_BTW + self.look(self.ln_look(x_BTW), places_BPW)
        out: Tensor = x_BTW + self.c_proj(self.activation(self.c_fc(self.ln_2(x_BTW))))
        return out


class Writer(nn.Module):
    """Token ids and a picture's places in; for each token the log-probability of the one behind it out."""

    def __init__(self, spec: CaptionerSpec) -> None:
        super().__init__()
        text = spec.text
        self.token_embedding = nn.Embedding(text.vocabulary, text.width)
        self.positional_embedding = nn.Parameter(torch.empty(text.context, text.width))
        self.blocks = nn.ModuleList(WriterBlock(spec) for _ in range(text.layers))
        self.ln_final = LayerNorm(text.width, text.epsilon)
        self.answers = Linear(text.width, text.vocabulary, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.answers.weight, std=0.02)
        initialize_text_blocks(self, text.width)  # type: ignore[arg-type]  # any module with `blocks` will do
        for block in self.blocks:
            assert isinstance(block, WriterBlock)
            for layer in (block.look.q_proj, block.look.kv_proj, block.look.out_proj):
                nn.init.normal_(layer.weight, std=text.width**-0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens_BT: Tensor, places_BPW: Tensor) -> Tensor:
        """(B, T - 1) float32: log p(token t + 1 | tokens to t, picture), zero behind each text's end; T is the length of
        the batch's longest text, since what follows an end is never asked for."""
        end_B1 = tokens_BT.argmax(dim=1, keepdim=True)
        tokens_BT = tokens_BT[:, : int(end_B1.max()) + 1]
        read_BT, next_BT = tokens_BT[:, :-1], tokens_BT[:, 1:]
        x_BTW = self.token_embedding(read_BT)
        x_BTW = x_BTW + self.positional_embedding[: read_BT.shape[1]].to(x_BTW.dtype)
        for block in self.blocks:
            x_BTW = block(x_BTW, places_BPW)
        asked_BT = torch.arange(read_BT.shape[1], device=tokens_BT.device) < end_B1
        logits_NV = self.answers(self.ln_final(x_BTW[asked_BT])).float()  # no product with the vocabulary for padding
        found_N = -functional.cross_entropy(logits_NV, next_BT[asked_BT], reduction="none")
        return torch.zeros(asked_BT.shape, device=found_N.device).masked_scatter(asked_BT, found_N)


class Captioner(TowerModel):
    """Scores a picture and a text by the text's log-probability."""

    spec: CaptionerSpec

    def __init__(self, spec: CaptionerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.visual = image_tower(spec.image, spec.activation)
        self.image_projection = Linear(spec.image.features, spec.text.width)
        self.text = Writer(spec)

    def image_features(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, W): the mean of the places, which is what this objective trains."""
        return self.visual.places(pixels_B3SS).mean(dim=1)

    def places(self, pixels_B3SS: Tensor) -> Tensor:
        """(B, P, W) as the writer reads them."""
        out: Tensor = self.image_projection(self.visual.places(pixels_B3SS))
        return out

    def forward(self, pixels_B3SS: Tensor, tokens_BT: Tensor) -> Tensor:
        """(B, T - 1): see Writer."""
        out: Tensor = self.text(tokens_BT, self.places(pixels_B3SS))
        return out

    def text_scores(self, pixels_B3SS: Tensor, tokens_CT: Tensor) -> Tensor:
        """(B, C): log p(text | picture), the sum over its tokens; pictures are read once, texts for each of them."""
        places_BPW = self.places(pixels_B3SS)
        rows = [self.text(tokens_CT, each.expand(len(tokens_CT), -1, -1)).sum(dim=1) for each in places_BPW]
        return torch.stack(rows)
