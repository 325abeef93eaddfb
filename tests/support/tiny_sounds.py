"""Tiny real checkpoints that turn a text into sound: real classes and processors, reduced sizes."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from tests.support.tiny import tiny_tokenizer

_LETTERS = string.ascii_lowercase + " ,.?!'"


def _codec(**more: Any) -> Any:
    from transformers import EncodecConfig

    sizes = {
        "hidden_size": 16,
        "num_filters": 4,
        "upsampling_ratios": [4, 2],
        "num_lstm_layers": 1,
        "codebook_size": 64,
        "codebook_dim": 16,
    }
    return EncodecConfig(**sizes | more)


def _fill_codebooks(codec: Any) -> None:
    """Codebooks are learned from data, and zero without any."""
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_(std=0.5)


def _scale(model: Any, factor: float, start: str = "") -> None:
    """Weights are scaled up: at the usual scale a random model hardly looks at its input."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and name.startswith(start):
                weight.mul_(factor)


def tiny_musicgen(path: Path, channels: int = 1) -> Path:
    """MusicGen: a T5 that reads, a decoder of four codebooks, an EnCodec at 8 kHz."""
    import torch
    from transformers import (
        EncodecFeatureExtractor,
        MusicgenConfig,
        MusicgenForConditionalGeneration,
        MusicgenProcessor,
    )

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = MusicgenConfig(
        text_encoder={
            "model_type": "t5",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
        },
        # 8 kHz / 8 = 1,000 frames a second of 4 codebooks of 6 bits: 24 kbit/s.
        audio_encoder=_codec(sampling_rate=8000, target_bandwidths=[24.0]).to_dict(),
        decoder={
            "vocab_size": 64,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "num_codebooks": 4 * channels,
            "audio_channels": channels,
            "pad_token_id": 64,
            "bos_token_id": 64,
        },
    )
    model = MusicgenForConditionalGeneration(config)
    _scale(model, 3, "decoder")
    _scale(model, 3, "enc_to_dec_proj")
    _fill_codebooks(model.audio_encoder)
    model.generation_config.update(
        do_sample=True, guidance_scale=3.0, decoder_start_token_id=64, pad_token_id=64, bos_token_id=64
    )
    model.save_pretrained(path)
    extractor = EncodecFeatureExtractor(feature_size=channels, sampling_rate=8000)
    MusicgenProcessor(extractor, tokenizer).save_pretrained(path)
    return path


def tiny_vits(path: Path, speakers: int = 1, **tokenizer: Any) -> Path:
    """VITS at 16 kHz, of one voice or of several."""
    import torch
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    path.mkdir(parents=True)
    vocabulary = {letter: i for i, letter in enumerate(["<pad>", "<unk>", *_LETTERS])}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    options = {"phonemize": False, **tokenizer}
    VitsTokenizer(str(path / "vocab.json"), **options).save_pretrained(path)
    torch.manual_seed(0)
    config = VitsConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        ffn_dim=32,
        flow_size=16,
        spectrogram_bins=33,
        num_speakers=speakers,
        speaker_embedding_size=8 if speakers > 1 else 0,
        upsample_initial_channel=32,
        upsample_rates=[8, 4],
        upsample_kernel_sizes=[16, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3, 5]],
        duration_predictor_filter_channels=16,
        posterior_encoder_num_wavenet_layers=2,
    )
    model = VitsModel(config)
    _scale(model, 0.1, "decoder.conv_post")
    model.save_pretrained(path)
    return path


def tiny_speecht5(path: Path) -> Path:
    """SpeechT5: a tokenizer of letters, voices of 8 numbers, 450 positions."""
    import sentencepiece
    import torch
    from transformers import (
        SpeechT5Config,
        SpeechT5FeatureExtractor,
        SpeechT5ForTextToSpeech,
        SpeechT5Processor,
        SpeechT5Tokenizer,
    )

    path.mkdir(parents=True)
    spm = path / "spm_char.model"
    with spm.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([_LETTERS.replace(" ", " a"), "The Quick Brown Fox"]),
            model_writer=file,
            model_type="char",
            vocab_size=50,
            hard_vocab_limit=False,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            minloglevel=2,
        )
    tokenizer = SpeechT5Tokenizer(str(spm))
    SpeechT5Processor(SpeechT5FeatureExtractor(num_mel_bins=16), tokenizer).save_pretrained(path)
    torch.manual_seed(0)
    config = SpeechT5Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16,
        speech_decoder_postnet_layers=2,
        speaker_embedding_dim=8,
    )
    model = SpeechT5ForTextToSpeech(config)
    _scale(model, 3)
    with torch.no_grad():  # a random model that goes on for a while
        model.speech_decoder_postnet.prob_out.bias.fill_(-2)
    model.save_pretrained(path)
    return path


def tiny_hifigan(path: Path) -> Path:
    """The vocoder of SpeechT5, at 16 kHz."""
    import torch
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    torch.manual_seed(0)
    config = SpeechT5HifiGanConfig(
        model_in_dim=16,
        upsample_initial_channel=32,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3, 5]],
    )
    model = SpeechT5HifiGan(config)
    _scale(model, 5)
    model.save_pretrained(path)
    return path


def tiny_bark(path: Path) -> Path:
    """Bark: semantic, coarse and fine models, an EnCodec at 24 kHz, and one preset of a voice ("anna").
    The ids of its control tokens are constants, so the vocabularies stay large."""
    import numpy as np
    import torch
    from transformers import BarkConfig, BarkModel, BarkProcessor, GenerationConfig
    from transformers.models.bark import generation_configuration_bark as settings

    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(0)
    config = BarkConfig(
        semantic_config={**sizes, "input_vocab_size": 129600, "output_vocab_size": 10048},
        coarse_acoustics_config={**sizes, "input_vocab_size": 12096, "output_vocab_size": 12096},
        fine_acoustics_config={**sizes, "input_vocab_size": 1056, "output_vocab_size": 1056},
        codec_config=_codec(codebook_size=1024, target_bandwidths=[240.0]).to_dict(),
    )
    model = BarkModel(config)
    for part in ("semantic", "coarse", "fine"):
        _scale(model, 5, part)
    _fill_codebooks(model.codec_model)
    parts = {
        "semantic_config": settings.BarkSemanticGenerationConfig(do_sample=True, eos_token_id=10000),
        "coarse_acoustics_config": settings.BarkCoarseGenerationConfig(do_sample=True),
        "fine_acoustics_config": settings.BarkFineGenerationConfig(temperature=0.5),
    }
    model.generation_config = GenerationConfig(
        sample_rate=24000, codebook_size=1024, **{key: part.to_dict() for key, part in parts.items()}
    )
    model.save_pretrained(path)
    rng = np.random.default_rng(0)
    (path / "speaker_embeddings").mkdir()
    names = {}
    for key, shape, most in (
        ("semantic", (20,), 10000),
        ("coarse", (2, 30), 1024),
        ("fine", (8, 30), 1024),
    ):
        names[f"{key}_prompt"] = f"speaker_embeddings/anna_{key}_prompt.npy"
        np.save(path / names[f"{key}_prompt"], rng.integers(0, most, shape))
    speakers = {"repo_or_path": str(path), "anna": names}
    (path / "speaker_embeddings_path.json").write_text(json.dumps(speakers))
    BarkProcessor(tokenizer).save_pretrained(path)
    return path


def tiny_wav2vec2(path: Path) -> Path:
    """A Wav2Vec2 with a CTC head and random weights that hears letters."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    path.mkdir(exist_ok=True)
    (path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )
    model = Wav2Vec2ForCTC(config)
    torch.nn.init.normal_(model.lm_head.weight, std=3.0)  # else it hears one letter for ever
    model.save_pretrained(path)
    Wav2Vec2Processor(
        feature_extractor=Wav2Vec2FeatureExtractor(), tokenizer=Wav2Vec2CTCTokenizer(path / "vocab.json")
    ).save_pretrained(path)
    return path
