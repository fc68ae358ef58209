"""Vision-language models: backbones as presets, adapters on top of them, quantised weights."""
