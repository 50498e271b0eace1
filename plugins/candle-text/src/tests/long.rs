//! Long texts, and packs of them.

use candle_core::{Device, Tensor, bail};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Source};
use fusemix_sdk::Host;
use std::cell::Cell;

use super::{families, minilm};
use crate::input::{self, Tokens};
use crate::model::{self, Pass};

#[test]
fn a_batch_has_so_many_tokens_or_one_text() {
    let text = |length| Ok(Tokens { ids: vec![0; length], own: 0..length, truncated: false });
    let texts: Vec<_> = (0..32).flat_map(|index| [text(32_768), text(1 + index)]).collect();
    let packs = input::packs(&texts, &Device::Cpu);
    assert_eq!(packs.iter().map(Vec::len).sum::<usize>(), 64);
    let long = |pack: &input::Pack<'_>| input::tokens(pack) > 512;
    assert!(packs.iter().all(|pack| pack.len() == 1 || !long(pack)));
    assert_eq!(packs.iter().filter(|pack| long(pack)).count(), 32);
    assert!(packs.len() < 36, "{} packs", packs.len());
}

#[test]
fn a_pass_ends_at_the_next_block() {
    let families = families::FAMILIES.map(families::options);
    for options in families.into_iter().chain([minilm()]) {
        let source = Source::locate(&options, &Host::detached()).unwrap();
        let weights = source.checkpoint().unwrap();
        let model = model::load(&source, &weights, candle_core::DType::F32, &Device::Cpu).unwrap();
        let packing = Packing::new(vec![3], &Device::Cpu).unwrap();
        let asked = Cell::new(0);
        let before_block = |done| {
            asked.set(asked.get() + 1);
            if done == 1 { bail!("stopped") } else { Ok(()) }
        };
        let pass = Pass { packing: &packing, layer: Layer::Last, before_block: &before_block };
        let ids = Tensor::new(&[1u32, 2, 3], &Device::Cpu).unwrap();
        assert!(model.forward(&ids, &pass).is_err_and(|error| error.to_string().contains("stopped")));
        assert_eq!(asked.get(), 2, "{options:?}");
    }
}
