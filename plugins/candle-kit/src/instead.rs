//! Advice for a model of a family that a plugin does not support.

/// `known` are the families that this plugin supports; `model_type` is none of them.
pub fn instead(model_type: &str, known: &str) -> String {
    let (items, plugin) = match model_type {
        "clip_text_model" | "siglip_text_model" => {
            return "the text towers of CLIP and SigLIP are not supported".into();
        }
        "clip" | "siglip" | "clip_vision_model" | "siglip_vision_model" => {
            return "the picture towers of CLIP and SigLIP are supported by `plugin = \"candle-image\"`; the text \
                    towers are not supported"
                .into();
        }
        "dinov2" | "dinov2_with_registers" | "vit" | "convnext" | "convnextv2" | "efficientnet" => {
            ("pictures", "candle-image")
        }
        "whisper" | "clap" | "clap_audio_model" => ("sounds", "candle-audio"),
        "bert" | "roberta" | "xlm-roberta" | "camembert" | "distilbert" | "mpnet" | "modernbert" | "qwen3" | "new"
        | "gte" | "nomic_bert" => ("texts", "candle-text"),
        _ => return format!("this plugin supports: {known}"),
    };
    format!("that is a model for {items}; set `plugin = \"{plugin}\"`")
}
