"""More networks for the table of support, as timm and transformers build them, small and with random weights."""

from collections.abc import Callable
from typing import Any

import torch
from networks import BUILDERS, revive
from torch import Tensor, nn

from heatproof.models import Bound

# Side in pixels, and what the network is built with.
TIMM: dict[str, tuple[int, dict[str, Any]]] = {
    **dict.fromkeys(
        (
            "cait_xxs24_224", "beit_base_patch16_224", "deit3_small_patch16_224", "swinv2_cr_tiny_ns_224",
            "vit_tiny_patch16_224", "mixer_s16_224", "resmlp_12_224", "gmlp_s16_224",
            "visformer_tiny", "eva02_tiny_patch14_224",
        ),
        (64, {"img_size": 64}),
    ),
    **dict.fromkeys(
        (
            "poolformer_s12", "mobilevit_s", "edgenext_xx_small", "pvt_v2_b0", "convnextv2_atto",
            "nfnet_l0", "eca_nfnet_l0", "regnety_002", "hrnet_w18_small", "dla34", "res2net50_26w_4s", "repvgg_a0",
            "ghostnet_100", "mnasnet_050", "tf_efficientnet_lite0", "fastvit_t8", "repvit_m0_9", "resnest14d",
            "skresnet18", "selecsls42b", "cspresnet50", "vovnet39a", "lcnet_050", "tinynet_e", "inception_next_tiny",
            "starnet_s1", "mobilenetv4_conv_small", "davit_tiny",
        ),
        (64, {}),
    ),
    "levit_128s": (224, {}),
    "efficientformer_l1": (224, {}),
    "crossvit_9_240": (240, {}),
    "botnet26t_256": (128, {"img_size": 128}),
    "maxvit_nano_rw_256": (64, {"img_size": 64}),
    "coatnet_nano_rw_224": (64, {"img_size": 64}),
}  # fmt: skip
LANGUAGE = {
    "roberta": ("RobertaConfig", "RobertaForSequenceClassification", "roberta.embeddings.word_embeddings"),
    "distilbert": (
        "DistilBertConfig", "DistilBertForSequenceClassification", "distilbert.embeddings.word_embeddings"),
    "electra": ("ElectraConfig", "ElectraForSequenceClassification", "electra.embeddings.word_embeddings"),
    "gpt2": ("GPT2Config", "GPT2ForSequenceClassification", "transformer.wte"),
    "llama": ("LlamaConfig", "LlamaForSequenceClassification", "model.embed_tokens"),
    "mistral": ("MistralConfig", "MistralForSequenceClassification", "model.embed_tokens"),
    "qwen2": ("Qwen2Config", "Qwen2ForSequenceClassification", "model.embed_tokens"),
    "opt": ("OPTConfig", "OPTForSequenceClassification", "model.decoder.embed_tokens"),
}  # fmt: skip
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 50,
}  # fmt: skip
OTHERWISE: dict[str, dict[str, Any]] = {
    **{name: {**SMALL, "num_key_value_heads": 1} for name in ("mistral", "qwen2")},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "vocab_size": 50},
    "electra": {**SMALL, "embedding_size": 16},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 32,
             "bos_token_id": 1, "eos_token_id": 2},
    "opt": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24, "vocab_size": 50,
        "word_embed_proj_dim": 16, "max_position_embeddings": 32,
    },
}  # fmt: skip
PICTURES = {
    "vit": ("ViTConfig", "ViTForImageClassification", {**SMALL, "image_size": 32, "patch_size": 8}),
    "swinv2": (
        "Swinv2Config", "Swinv2ForImageClassification",
        {"image_size": 32, "patch_size": 4, "embed_dim": 12, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}),
    "convnextv2": (
        "ConvNextV2Config", "ConvNextV2ForImageClassification",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32}),
    "segformer": (
        "SegformerConfig", "SegformerForImageClassification",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_encoder_blocks": 2, "num_attention_heads": [1, 2],
         "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2]}),
    "resnet": ("ResNetConfig", "ResNetForImageClassification", {"embedding_size": 8, "hidden_sizes": [8, 16],
                                                                "depths": [1, 1]}),
}  # fmt: skip


def _timm(name: str) -> tuple[nn.Module, Tensor]:
    import timm

    size, settings = TIMM[name]
    x = torch.randn(2, 3, size, size)
    return revive(timm.create_model(name, pretrained=False, **settings), x), x


def _language(name: str) -> tuple[nn.Module, Tensor]:
    import transformers

    config, network, at = LANGUAGE[name]
    settings = {**OTHERWISE.get(name, SMALL), "pad_token_id": 0, "num_labels": 3}
    net = getattr(transformers, network)(getattr(transformers, config)(**settings)).eval()
    for parameter in net.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(5)
    ids = torch.randint(1, 50, (2, 7))
    attended = torch.ones_like(ids)
    bound = Bound(net, at=at, given={"input_ids": ids, "attention_mask": attended}, output="logits")
    return bound, bound.inputs()


def _pictures(name: str) -> tuple[nn.Module, Tensor]:
    import transformers

    config, network, settings = PICTURES[name]
    net = getattr(transformers, network)(getattr(transformers, config)(num_labels=3, **settings)).eval()
    x = torch.randn(2, 3, 32, 32)
    return revive(Bound(net, output="logits"), x), x


def _builders(kind: Callable[[str], tuple[nn.Module, Tensor]], names: Any, source: str) -> dict[str, Any]:
    return {f"{name} ({source})": (lambda name=name: kind(name)) for name in names}


MORE = {
    **_builders(_timm, TIMM, "timm"),
    **_builders(_language, LANGUAGE, "transformers"),
    **_builders(_pictures, PICTURES, "transformers"),
}
EVERY = {**BUILDERS, **MORE}


def build_any(name: str) -> tuple[nn.Module, Tensor]:
    """The network in eval mode and two inputs, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, x = EVERY[name]()
        return model, x
