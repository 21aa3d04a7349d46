"""What docs/vlms.md says beside the names of VLMs: why embeddings are not compared, and what was compared."""

from __future__ import annotations

_CODEBOOK = "images become words of a codebook, whose embeddings are the language model's own"
_TIMM = "its tower comes from timm"
_INSTRUCTED = "its rows depend on the prompt, which its Q-Former reads, too"
_SAM_FIRST = "its tower is two stacks of blocks, of which the second reads what SAM's makes"
_TWO_LENGTHS = "its tower merges tokens between two blocks, so that hidden states have two lengths"

WHY_NOT = {
    "apertus1p5": _CODEBOOK,
    "chameleon": _CODEBOOK,
    "deepseek_ocr2": _SAM_FIRST,
    "deepseek_vl_hybrid": "it joins two towers, SigLIP and SAM, that read an image at two sizes",
    "dots3_note": "not built: some blocks of its tower are mixtures of experts",
    "emu3": _CODEBOOK,
    "evolla": "it reads proteins, and no images",
    "fast_vlm": _TIMM,
    "florence2": "its tower, DaViT, changes width and resolution from stage to stage",
    "fuyu": "it has no tower: a linear layer embeds patches",
    "gemma3n": _TIMM,
    "gemma4_unified": "it has no tower: linear layers and norms embed patches",
    "git": "not built: it puts its tower's tokens in front of the text, which has no places for them",
    "granite4_vision": "its embeddings have zeros for images, whose rows are added between later layers",
    "idefics": "not built: its language model reads a resampler's latents through cross-attention",
    "inkling_mm_model": "it has no tower: layers without attention fold the pixels of each patch",
    "instructblip": _INSTRUCTED,
    "instructblipvideo": _INSTRUCTED,
    "kosmos-2": "not built: learned queries read its tower through an attention of its language model's kind",
    "kosmos-2.5": "not built: its tower takes patches with their row and column among their pixels",
    "minicpm_ocr": _TWO_LENGTHS,
    "minicpmv4_6": _TWO_LENGTHS,
    "minicpmv4_7": _TWO_LENGTHS,
    "mistral4": "it reads text only",
    "nemotron_h_omni": "not built: it packs images of several sizes for RADIO, which takes one size here",
    "perception_lm": "its tower comes from timm, which needs torchvision; how it cuts images is here",
    "pi0": "not built: it is PaliGemma on the cameras of a robot, beside a model of its actions",
    "pix2struct": "its decoder reads through cross-attention, and questions are drawn into the image",
    "pp_formulanet": "not built: its decoder reads its tower through cross-attention, without a prompt",
    "step3p7": "not built: its tower runs tiles of 504 pixels, and the image whole at 728: two batches",
    "udop": "its rows depend on the words' boxes, to which patches are added",
    "unlimited_ocr": _SAM_FIRST,
    "vision-encoder-decoder": "it is any encoder beside any decoder, which reads it through cross-attention",
}
"""model_type of a VLM -> a fact about it. A VLM that is not here is in the tables of tiny VLMs."""

EQUAL_IN = {
    "blip": "equal: what cross-attention reads",
    "granite_docling": "equal on the coarse path of its connector",
    "mllama": "equal: what cross-attention reads, of tiles that are not padding",
    "molmo2": "equal: what is added to the embeddings of its places in the text",
    "ovis2": "equal, without its indicators between tiles",
}
"""model_type of a VLM whose equality wants a word more -> that."""
