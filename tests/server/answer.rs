//! The answers of each format, and what faulty servers make of them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::wire::Wire;
use super::{Asked, Fault, WIDTH, vector};

impl Wire {
    /// The answer, or its faulty version.
    pub fn answer(self, asked: &Asked, fault: Option<Fault>) -> Vec<u8> {
        let Asked { inputs, base64, .. } = asked;
        let mut rows: Vec<(usize, Vec<f32>)> = inputs.iter().map(|input| vector(input)).enumerate().collect();
        let indexed = matches!(
            self,
            Self::OpenAi | Self::Azure | Self::Infinity | Self::Voyage | Self::VoyageMultimodal | Self::Jina
        );
        for (place, row) in &mut rows {
            // An input that the model has no vector for.
            if inputs[*place].ends_with("hollow") {
                row[3] = f32::NAN;
            }
        }
        match fault {
            Some(Fault::Few) => drop(rows.pop()),
            Some(Fault::First) => rows.truncate(1),
            Some(Fault::Shuffled) if indexed => rows.reverse(),
            Some(Fault::Twice) if indexed && rows.len() > 1 => rows[1].0 = 0,
            Some(Fault::Twice | Fault::Many) => rows.push(rows[0].clone()),
            Some(Fault::Narrow) => rows.iter_mut().for_each(|(_, row)| row.truncate(WIDTH / 3)),
            Some(Fault::NotANumber) => rows[0].1[3] = f32::NAN,
            Some(Fault::Empty) => rows[0].1.clear(),
            Some(Fault::Huge) => rows[0].1[3] = f32::INFINITY,
            _ => {}
        }
        let bytes = |row: &[f32]| match fault {
            Some(Fault::Doubles) => row.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect::<Vec<u8>>(),
            Some(Fault::BigEndian) => row.iter().flat_map(|value| value.to_be_bytes()).collect(),
            Some(Fault::Halves) => row.iter().flat_map(|value| half(*value).to_le_bytes()).collect(),
            Some(Fault::Bytes) => row.iter().flat_map(|value| ((value * 127.0) as i8).to_le_bytes()).collect(),
            _ => row.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let embedding = |row: &[f32]| match base64 {
            true if fault == Some(Fault::NoBase64) => Value::from("0.1 0.2 *"),
            true if fault == Some(Fault::Hex) => {
                Value::from(bytes(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            true if fault == Some(Fault::UrlSafe) => Value::from(URL_SAFE_NO_PAD.encode(bytes(row))),
            true => Value::from(STANDARD.encode(bytes(row))),
            // JSON has no NaN: null is what some servers make of it.
            false => {
                row.iter().map(|&value| if value.is_infinite() { Value::from(HUGE) } else { value.into() }).collect()
            }
        };
        let embedding = |row: &[f32]| match fault {
            Some(Fault::Tokens) => Value::from(vec![embedding(row); 3]),
            Some(Fault::Nested) => Value::from(vec![embedding(row)]),
            _ => embedding(row),
        };
        let tokens: usize = inputs.iter().map(|input| input.len().div_ceil(4)).sum();
        let tokens = if fault == Some(Fault::Refund) { -1_000_000 } else { tokens as i64 };
        let plain = || rows.iter().map(|(_, row)| embedding(row)).collect::<Vec<Value>>();
        let answer = match self {
            Self::Cohere => {
                let units = if asked.body["input_type"] == "image" {
                    json!({"images": inputs.len()})
                } else {
                    json!({"input_tokens": tokens})
                };
                json!({"id": "1", "embeddings": {"float": plain()},
                    "meta": {"api_version": {"version": "2"}, "billed_units": units}})
            }
            Self::Gemini => {
                json!({"embeddings": rows.iter().map(|(_, row)| json!({"values": embedding(row)})).collect::<Vec<_>>()})
            }
            Self::Tei => Value::from(plain()),
            Self::Ollama => {
                json!({"model": "m", "embeddings": plain(), "total_duration": 1, "load_duration": 1,
                    "prompt_eval_count": tokens})
            }
            Self::Own => {
                let items: Vec<Value> = rows.iter().map(|(_, row)| json!({"v": embedding(row)})).collect();
                json!({"result": {"items": items}, "used": tokens})
            }
            _ => {
                let rows = rows.iter().filter(|(index, _)| !inputs[*index].ends_with("absent"));
                let data = rows.map(|(index, row)| match (fault, *index) {
                    (_, index) if inputs[index].ends_with("vacant") => Value::Null,
                    (Some(Fault::Postponed), index) if inputs[index].ends_with("later") => {
                        json!({"index": index, "error": {"message": "no room, try again in 1s"}})
                    }
                    (_, index) if inputs[index].ends_with("void") => json!({"index": index, "embedding": null}),
                    (_, index) if inputs[index].ends_with("narrow") => {
                        json!({"index": index, "embedding": embedding(&row[..WIDTH / 3])})
                    }
                    (_, index) if inputs[index].ends_with("stated") => {
                        json!({"index": index, "error": {"message": "too long for the model"}})
                    }
                    (_, index) if inputs[index].ends_with("nameless") => {
                        json!({"object": "error", "message": "too short for the model"})
                    }
                    (Some(Fault::From(first)), index) => {
                        json!({"object": "embedding", "index": first + index as i64, "embedding": embedding(row)})
                    }
                    (Some(Fault::NoZero), 0) => json!({"object": "embedding", "embedding": embedding(row)}),
                    (Some(Fault::AllZero), _) => json!({"index": 0, "embedding": embedding(row)}),
                    (_, index) => json!({"object": "embedding", "index": index, "embedding": embedding(row)}),
                });
                let data = data.collect::<Vec<_>>();
                let usage = match fault {
                    Some(Fault::Worded) => json!("3 tokens"),
                    _ => json!({"prompt_tokens": tokens, "total_tokens": tokens}),
                };
                match data.len() < inputs.len() && fault.is_none() {
                    true => json!({"object": "list", "data": data, "usage": usage, "errors": ["a text was refused"]}),
                    false => json!({"object": "list", "data": data, "model": "m", "usage": usage}),
                }
            }
        };
        // What no JSON of Rust's can hold.
        let mark = if fault == Some(Fault::Marked) { "\u{feff}" } else { "" };
        format!("{mark}{answer}").replace(&format!("\"{HUGE}\""), "1e400").into_bytes()
    }
}

/// The bits of the nearest f16 towards 0; what is less than its least normal value is 0.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, exponent) = ((bits >> 16 & 0x8000) as u16, (bits >> 23 & 255) as i32 - 112);
    if exponent <= 0 { sign } else { sign | (exponent as u16) << 10 | (bits >> 13 & 1023) as u16 }
}

/// Stands for a number that f64 cannot hold.
const HUGE: &str = "huge";
