//! Tests on the real weights of Whisper tiny and real sounds, as fetched by `./check`.

use super::*;

#[test]
fn latents_are_those_of_transformers() {
    let model = root().join("target/assets/whisper-tiny");
    assert!(model.is_dir(), "{} is not there; run ./check, which fetches it", model.display());
    let names: Vec<String> = serde_json::from_slice(&read(&golden().join("whisper_tiny.json"))).unwrap();
    let sounds: Vec<Vec<u8>> = names.iter().map(|name| read(&root().join("target/assets/stamps").join(name))).collect();
    let expected = expected(&golden().join("whisper_tiny.safetensors"));
    let expected = expected["last"].to_dtype(candle_core::DType::F32).unwrap().to_vec2::<f32>().unwrap();
    let latents = latents(&Options::default().with("model", model.to_str()), &sounds);
    assert!(latents.len() == 20 && expected.len() == 20);
    for (name, (latent, expected)) in names.iter().zip(latents.iter().zip(&expected)) {
        let cosine = cosine(latent, expected);
        assert!(cosine > 0.999, "{name}: {cosine}");
    }
}
