//! Ten steps of each loss, each term and each kind of adapter against PyTorch, on both devices.

use safetensors::SafeTensors;

use super::*;
use crate::fit::Problem;
use crate::fit::fusemix::{Augment, Loss, Start, TargetKind};
use crate::space::{Head, Inlet, Input, Projection};

/// `tests/golden/fusemix_step.safetensors`, within the tests: they also run where there is no repository.
struct Golden(&'static [u8]);

impl Golden {
    fn read() -> Self {
        Self(include_bytes!("../../../../../../tests/golden/fusemix_step.safetensors"))
    }

    /// A tensor's values, and its last dimension.
    fn tensor(&self, name: &str) -> (Vec<f32>, usize) {
        let file = SafeTensors::deserialize(self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        (bytemuck::pod_collect_to_vec::<u8, f32>(tensor.data()), *tensor.shape().last().unwrap())
    }

    fn values(&self, name: &str) -> Vec<f32> {
        self.tensor(name).0
    }

    fn latents(&self, name: &str) -> Arc<dyn Latents> {
        let (values, width) = self.tensor(name);
        Arc::new(Stored { values, width })
    }

    /// The rows that each step takes.
    fn orders(&self, name: &str) -> Vec<Vec<usize>> {
        let (values, width) = self.tensor(name);
        values.chunks(width).map(|rows| rows.iter().map(|&row| row as usize).collect()).collect()
    }

    /// The teacher of both towers.
    fn teacher(&self) -> Vec<Projection> {
        let of = |name: &str| {
            let (weight, width) = self.tensor(&format!("teacher.{name}"));
            let bias = vec![0.0; weight.len() / width];
            Projection { input: Input::plain(width), kernel: None, head: Some(Head { weight, bias }) }
        };
        ["image", "text"].map(of).into()
    }
}

/// Steps with these options, whose losses and first gradients have this ending in the file.
fn steps_are_pytorchs(device: Arc<dyn Device>, ending: &str, options: TrainOptions) {
    let golden = Golden::read();
    let pairs = PairSet {
        towers: [0, 1],
        latents: ["image", "text"].map(|name| golden.latents(name)),
        weight: 1.0,
        items: None,
    };
    let options = TrainOptions { dropout: Some(0.0), ..options };
    let mut towers = towers([19, 35]);
    if ending == ".glu" {
        towers.iter_mut().for_each(|tower| tower.adapter = AdapterKind::Glu);
    }
    let latents = || ["unpaired.image", "unpaired.text"].map(|name| Some(golden.latents(name))).into();
    let unpaired = options.unpaired.map(|_| Unpaired::new(latents(), golden.teacher()));
    let extras = Extras { begun: None, unpaired };
    let mut trainer = Trainer::begin(device, towers, vec![pairs], &options, 0, &extras).unwrap();
    let first = if ending == ".glu" { "glu." } else { "" };
    for (name, parameter) in trainer.network.parameters() {
        let first = if name == "log_temperature" { "" } else { first };
        trainer.device.write(parameter.values(Version::Trained), &golden.values(&format!("{first}{name}")));
    }
    let (lambdas, expected) = (golden.values("lambdas"), golden.values(&format!("losses{ending}")));
    let items = ["image", "text"].map(|name| golden.orders(&format!("unpaired.orders.{name}")));
    for (step, (pairs, &lambda)) in golden.orders("orders").into_iter().zip(&lambdas).enumerate() {
        let plain = |pairs| Draw::plain(0, pairs);
        let unpaired = options.unpaired.map(|_| Box::new(items.each_ref().map(|items| plain(items[step].clone()))));
        let mixed = vec![lambda; 33];
        let batch = match options.augment {
            // The sides take turns, each row with the next one.
            Some(Augment::IMix) => {
                let pairs = (0..66).map(|at| pairs[(at + at / 33) % 33]).collect();
                let [lambdas, others] = if step % 2 == 0 { [mixed, vec![1.0; 33]] } else { [vec![1.0; 33], mixed] };
                Draw { lambdas, others, ..plain(pairs) }
            }
            Some(Augment::M2Mix) => Draw { arcs: mixed, ..plain(pairs[..33].to_vec()) },
            _ => Draw { lambdas: mixed, unpaired, ..plain(pairs) },
        };
        trainer.position.at = 0;
        if step == 0 {
            let names = trainer.network.parameters().into_iter().map(|(name, _)| name);
            let gradients: Vec<Vec<f32>> =
                names.map(|name| golden.values(&format!("gradient{ending}.{name}"))).collect();
            near(&evaluated(&trainer, &batch).1, &gradients, 2e-4);
        }
        trainer.step(&batch, learning_rate(&trainer.options, step, step), &|| true).unwrap();
        let loss = trainer.device.read(trainer.losses.part(0, 1)).unwrap()[0];
        let expected = expected[step];
        assert!((loss - expected).abs() < 1e-4 * expected, "`{ending}`, step {step}: {loss} and not {expected}");
    }
    assert_eq!(expected.len(), 10);
}

/// On the CPU, and on wgpu.
fn on_both(ending: &str, options: TrainOptions) {
    steps_are_pytorchs(Arc::new(Cpu::default()), ending, options.clone());
    if wgpu().is_some() {
        steps_are_pytorchs(Arc::new(Wgpu::open(false, false).unwrap()), ending, options);
    }
}

#[test]
fn the_losses_are_pytorchs() {
    on_both("", options());
    on_both(".sigmoid", TrainOptions { loss: Some(Loss::Sigmoid), ..options() });
}

#[test]
fn without_negatives_that_share_an_item_the_losses_are_pytorchs() {
    let masked = TrainOptions { mask_items: Some(true), ..options() };
    on_both(".masked", masked.clone());
    on_both(".sigmoid.masked", TrainOptions { loss: Some(Loss::Sigmoid), ..masked });
}

#[test]
fn several_positives_a_row_are_pytorchs() {
    let items = TrainOptions { targets: Some(TargetKind::Items), ..options() };
    on_both(".items", items.clone());
    on_both(".sigmoid.items", TrainOptions { loss: Some(Loss::Sigmoid), ..items });
}

#[test]
fn soft_targets_are_pytorchs() {
    let (share, temperature) = (Some(0.4), Some(0.2));
    let soft = TrainOptions { target_share: share, target_temperature: temperature, ..options() };
    let soft = TrainOptions { targets: Some(TargetKind::Similar), ..soft };
    on_both(".similar", soft.clone());
    on_both(".sigmoid.similar", TrainOptions { loss: Some(Loss::Sigmoid), ..soft });
}

#[test]
fn virtual_labels_are_pytorchs() {
    let mixed = TrainOptions { augment: Some(Augment::IMix), mask_items: Some(true), ..options() };
    on_both(".i-mix", mixed.clone());
    on_both(".sigmoid.i-mix", TrainOptions { loss: Some(Loss::Sigmoid), ..mixed });
}

#[test]
fn negatives_on_the_arc_between_embeddings_are_pytorchs() {
    on_both(".m2-mix", TrainOptions { augment: Some(Augment::M2Mix), ..options() });
}

#[test]
fn the_term_over_neighbourhoods_is_pytorchs() {
    on_both(".structure", TrainOptions { structure: Some(5.0), structure_temperature: Some(0.1), ..options() });
}

#[test]
fn the_term_over_items_without_a_pair_is_pytorchs() {
    on_both(".unpaired", TrainOptions { unpaired: Some(0.5), unpaired_batch: Some(27), ..options() });
}

#[test]
fn gated_blocks_are_pytorchs() {
    on_both(".glu", options());
}

#[test]
fn the_terms_do_not_depend_on_tiles_and_micro_batches() {
    let device: Arc<dyn Device> = Arc::new(Cpu::default());
    let golden = Golden::read();
    let options = TrainOptions {
        targets: Some(TargetKind::Similar),
        structure: Some(20.0),
        unpaired: Some(0.5),
        unpaired_batch: Some(100),
        batch: Some(257),
        ..options()
    };
    let widths = [19, 35];
    let found = |micro: usize, side: Option<usize>| {
        let pairs = linear(600, widths);
        let more: Arc<dyn Latents> = Arc::new(Stored { values: random(150 * 35, 3), width: 35 });
        let unpaired = Some(Unpaired::new(vec![None, Some(more)], golden.teacher()));
        let extras = Extras { begun: None, unpaired };
        let options = TrainOptions { micro_batch: Some(micro), ..options.clone() };
        let mut trainer = Trainer::begin(device.clone(), towers(widths), vec![pairs], &options, 3, &extras).unwrap();
        if let Some(side) = side {
            trainer.room.resize(&*device, &trainer.options, 257, side);
        }
        let batch = draws::epoch(1, 0, &trainer.decks(), &trainer.options).remove(0);
        assert_eq!(batch.unpaired.as_ref().unwrap().each_ref().map(|items| items.pairs.len()), [100, 100]);
        evaluated(&trainer, &batch)
    };
    let (loss, gradients) = found(1024, None);
    for (micro, side) in [(64, None), (128, Some(64)), (1024, Some(192))] {
        let (other, others) = found(micro, side);
        assert!((other - loss).abs() <= 1e-5 * loss, "{other} and not {loss}");
        near(&others, &gradients, 1e-4);
    }
}

#[test]
fn adapters_that_go_on_from_a_closed_form_keep_the_neighbourhoods_of_latents() {
    let (device, widths): (Arc<dyn Device>, _) = (Arc::new(Cpu::default()), [19, 35]);
    let sets = [linear(200, widths)];
    let inlet = |(name, width): (&str, usize)| Inlet { name: name.to_owned(), width };
    let inlets: Vec<Inlet> = ["image", "text"].into_iter().zip(widths).map(inlet).collect();
    let problem = Problem { towers: &inlets, fixed: &[false; 2], sets: &sets, stop: &|| false };
    let begun = Start::Cca.begin(&problem, 24).unwrap().unwrap().see(&problem).unwrap();
    let options = TrainOptions { start: Some(Start::Cca), structure: Some(1.0), ..options() };
    let extras = Extras { begun: Some(begun), unpaired: None };
    let trainer = Trainer::begin(device.clone(), towers(widths), sets.to_vec(), &options, 3, &extras).unwrap();
    let batch = draws::epoch(1, 0, &trainer.decks(), &trainer.options).remove(0);
    trainer.gradients(&batch, &|| true);
    for (side, width) in widths.into_iter().enumerate() {
        let rows = &trainer.room.latents[side];
        assert_eq!(rows.width(), width);
        // Of the encoder's latents, mixed and centred, by the definition.
        let mut mixed = vec![0.0; 33 * width];
        for (at, row) in mixed.chunks_exact_mut(width).enumerate() {
            let (mut first, mut second) = (vec![0.0; width], vec![0.0; width]);
            sets[0].latents[side].copy_row(batch.pairs[at], &mut first);
            sets[0].latents[side].copy_row(batch.pairs[33 + at], &mut second);
            let lambda = batch.lambdas[at];
            let pairs = first.iter().zip(&second).map(|(a, b)| lambda * a + (1.0 - lambda) * b);
            row.iter_mut().zip(pairs).for_each(|(out, value)| *out = value);
        }
        let mean = |column: usize| mixed.iter().skip(column).step_by(width).sum::<f32>() / 33.0;
        let means: Vec<f32> = (0..width).map(mean).collect();
        let centred = mixed.chunks_exact(width).flat_map(|row| {
            let row: Vec<f32> = row.iter().zip(&means).map(|(value, mean)| value - mean).collect();
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.into_iter().map(move |value| value / length).collect::<Vec<_>>()
        });
        near(&[device.read(rows.unit((0, 33 * width))).unwrap()], &[centred.collect()], 1e-5);
    }
}
