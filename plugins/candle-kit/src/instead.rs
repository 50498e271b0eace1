//! Advice for a model of a family that a plugin does not support.

/// `known` are the families that this plugin supports; `model_type` is none of them.
pub fn instead(model_type: &str, known: &str) -> String {
    let (items, plugins) = match model_type {
        "clip" | "siglip" => ("pictures and texts", "\"candle-image\"` or `\"candle-text\""),
        "clap" => ("sounds and texts", "\"candle-audio\"` or `\"candle-text\""),
        "siglip2" => {
            return "this plugin does not support SigLIP 2 of any resolution (NaFlex), whose texts `plugin = \
                    \"candle-text\"` supports; SigLIP 2 of a fixed resolution is a `siglip`"
                .into();
        }
        "dinov2"
        | "dinov2_with_registers"
        | "vit"
        | "convnext"
        | "convnextv2"
        | "efficientnet"
        | "clip_vision_model"
        | "siglip_vision_model" => ("pictures", "\"candle-image\""),
        "whisper" | "clap_audio_model" => ("sounds", "\"candle-audio\""),
        "bert" | "roberta" | "xlm-roberta" | "camembert" | "distilbert" | "mpnet" | "modernbert" | "qwen3" | "new"
        | "gte" | "nomic_bert" | "clip_text_model" | "siglip_text_model" | "siglip2_text_model" | "clap_text_model" => {
            ("texts", "\"candle-text\"")
        }
        _ => return format!("this plugin supports: {known}"),
    };
    format!("that is a model for {items}; set `plugin = {plugins}`")
}
