"""The networks of docs/census.py: small ones of every family of torchvision, timm and transformers, random weights."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import heatproof as hp

Built = tuple[nn.Module, Tensor]
Networks = Iterator[tuple[str, Callable[[], Built]]]
MOST_PARAMETERS = 25e6


def torchvision_networks() -> Networks:
    """The smallest of each family of classification, segmentation and video.

    Detection returns lists of boxes, optical flow takes pairs of pictures, quantized networks have no real weights.
    """
    import torchvision.models as tv

    for part in (tv, tv.segmentation, tv.video):
        families: dict[str, list[str]] = {}
        for name in tv.list_models(module=part):
            families.setdefault(tv.get_model_builder(name).__module__, []).append(name)
        for names in families.values():
            name = min(names, key=_size)

            def built(name: str = name, part: Any = part) -> Built:
                _small_enough(_size(name))
                settings: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
                if part is tv.segmentation:
                    net = tv.get_model(name, weights=None, weights_backbone=None)
                    return _Mean(net).eval(), _noise(2, 3, 64, 64)
                net = tv.get_model(name, weights=None, **settings).eval()
                if part is tv.video:
                    return net, _noise(*((1, 3, 16, 224, 224) if "mvit" in name else (1, 3, 8, 64, 64)))
                side = 224 if "vit" in name else 96
                return net, _noise(2, 3, side, side)

            yield name, built


def _size(name: str) -> int:
    import torchvision.models as tv

    parameters: int = tv.get_model_weights(name).DEFAULT.meta["num_params"]
    return parameters


class _Mean(nn.Module):
    """The mean score of each class over a segmentation."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)["out"].mean((2, 3))
        return scores


def timm_networks() -> Networks:
    """The smallest network of each of timm's files."""
    import timm
    from timm.models import get_pretrained_cfg, list_modules

    for module in list_modules():
        names = timm.list_models(module=module)
        if not names:
            continue
        smallest = sorted(names, key=lambda n: (not re.search(_SMALL, n), len(n)))[:6]

        def built(names: list[str] = smallest) -> Built:
            with torch.device("meta"):
                sizes = {n: _parameters(timm.create_model(n)) for n in names}
            name = min(sizes, key=lambda n: sizes[n])
            _small_enough(sizes[name])
            model = timm.create_model(name).eval()
            cfg = get_pretrained_cfg(name)
            channels, full = (cfg.input_size[0], cfg.input_size[-1]) if cfg is not None else (3, 224)
            for size in (64, 96, 128):
                x = _noise(2, channels, size, size)
                with contextlib.suppress(Exception), torch.no_grad():
                    model(x)
                    return model, x
            return model, _noise(1, channels, full, full)

        yield f"timm/{module}", built


_SMALL = r"test_|nano|atto|pico|femto|tiny|small|_xxs|_xs|_s\b|_s_|_xt|_t_|_t\d|_m0|_b0|_s0|_18|_mini|lite"
TINY = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embed_dim": 32, "embedding_size": 32, "dim": 32,
    "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "encoder_layers": 2, "decoder_layers": 2,
    "num_decoder_layers": 2, "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "d_kv": 8,
    "d_ff": 48, "intermediate_size": 48, "ffn_dim": 48, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "n_inner": 48,
    "moe_intermediate_size": 24, "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "vocab_size": 99, "max_position_embeddings": 64, "n_positions": 64, "num_labels": 3,
    "pad_token_id": 0, "decoder_start_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "image_size": 64, "depth": 2,
    "n_group": 1, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "rotary_dim": 8,
    "v_head_dim": 8,
}  # fmt: skip


def transformers_networks() -> Networks:
    """A tiny configuration of every classifier of texts and pictures; texts are explained from their embedding on."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    transformers.logging.set_verbosity_error()
    for table, of_texts in (
        (auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, True),
        (auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES, False),
    ):
        for kind, names in table.items():
            name = names if isinstance(names, str) else names[0]

            def built(kind: str = kind, name: str = name, of_texts: bool = of_texts) -> Built:
                config = _tiny(transformers.CONFIG_MAPPING[kind]())
                with torch.device("meta"):
                    _small_enough(_parameters(getattr(transformers, name)(config)))
                net = getattr(transformers, name)(config).eval()
                if not of_texts:
                    channels = getattr(config, "num_channels", 3)
                    side = getattr(config, "image_size", 64)
                    side = side if isinstance(side, int) else 64
                    bound = hp.Bound(net, output="logits")
                    return bound, _noise(2, channels, side, side)
                table = net.get_input_embeddings()
                at = next(n for n, module in net.named_modules() if module is table)
                ids = torch.randint(3, 90, (2, 7))
                ids[:, -1] = 2
                bound = hp.Bound(net, at=at, given={"input_ids": ids}, output="logits")
                return bound, bound.inputs()

            yield f"transformers/{kind}{'' if of_texts else ' (pictures)'}", built


_WIDTHS = ("embed_dim", "dim", "hidden_size", "num_hidden_layers", "num_heads")


def _tiny(config: Any) -> Any:
    import transformers

    of_stages = any(isinstance(getattr(config, name, None), list | tuple) for name in ("depths", "num_heads"))
    for part in vars(config).values():
        if isinstance(part, transformers.PreTrainedConfig):
            _tiny(part)
    for name, value in TINY.items():
        with contextlib.suppress(Exception):
            if isinstance(getattr(config, name), int | None) and not (of_stages and name in _WIDTHS):
                setattr(config, name, value)
    with contextlib.suppress(Exception):
        if isinstance(config.depths, list | tuple):
            config.depths = [1] * len(config.depths)
    with contextlib.suppress(Exception):
        if config.layer_types is not None:  # one layer of each kind
            config.layer_types = sorted(set(config.layer_types), key=config.layer_types.index)[-2:]
            config.layer_types = (2 * config.layer_types)[:2]
    with contextlib.suppress(Exception):
        if config.qk_rope_head_dim:
            config.num_key_value_heads = config.num_attention_heads
    return config


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _small_enough(parameters: int) -> None:
    if parameters > MOST_PARAMETERS:
        raise ValueError("too many parameters")


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape)


LIBRARIES: dict[str, Callable[[], Networks]] = {
    "torchvision": torchvision_networks,
    "timm": timm_networks,
    "transformers": transformers_networks,
}
