//! What each varied key does to recall, averaged over what else is varied.

use serde::Serialize;
use std::collections::BTreeMap;

use super::table::Board;
use crate::eval::{Interval, Sample};

/// What a varied key does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepEffect {
    /// The name of its axis.
    pub axis: String,
    /// Variations that each value is averaged over: those of the others' values that all of its values have.
    pub over: usize,
    /// Its values.
    pub values: Vec<SweepEffectValue>,
}

/// A value of a varied key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepEffectValue {
    /// The value.
    pub value: String,
    /// The mean recall over the other keys, in percent, with the interval over queries.
    pub recall: Interval,
    /// That less the first value's, query by query; none of the first.
    pub apart: Option<Interval>,
}

/// A place on all axes but one, with the variant.
type Context<'a> = (Vec<Option<usize>>, Option<&'a String>);

impl Board<'_> {
    /// The effect of each key that is varied beside others.
    pub(super) fn effects(&self) -> Vec<SweepEffect> {
        (0..self.sweep.axes.len()).filter_map(|axis| self.effect(axis)).collect()
    }

    fn effect(&self, axis: usize) -> Option<SweepEffect> {
        let mut contexts: BTreeMap<Context<'_>, BTreeMap<usize, usize>> = BTreeMap::new();
        for (number, variation) in self.sweep.variations.iter().enumerate() {
            let Some(value) = variation.at[axis] else { continue };
            let mut others = variation.at.clone();
            others[axis] = None;
            contexts.entry((others, variation.variant.as_ref())).or_default().insert(value, number);
        }
        let all: Vec<usize> = (0..self.sweep.axes[axis].values.len()).collect();
        let is_whole = |of: &&BTreeMap<usize, usize>| {
            of.len() == all.len() && of.values().all(|&number| self.identity(number).is_some())
        };
        let whole: Vec<&BTreeMap<usize, usize>> = contexts.values().filter(is_whole).collect();
        let identity = self.identity(*whole.first()?.values().next()?);
        // Of a single one, the table tells as much.
        let is_comparable = whole.iter().flat_map(|of| of.values()).all(|&number| self.identity(number) == identity);
        if all.len() < 2 || whole.len() < 2 || !is_comparable {
            return None;
        }
        let averaged = |value: &usize| {
            let samples: Vec<Sample> = whole.iter().filter_map(|of| self.sample(of[value])).collect();
            Sample::averaged(&samples.iter().collect::<Vec<_>>())
        };
        let samples: Vec<Sample> = all.iter().map(averaged).collect::<Option<_>>()?;
        let value = |(at, sample): (usize, &Sample)| SweepEffectValue {
            value: self.sweep.axes[axis].values[at].clone(),
            recall: sample.interval(),
            apart: (at > 0).then(|| sample.less(&samples[0]).interval()),
        };
        let values = samples.iter().enumerate().map(value).collect();
        Some(SweepEffect { axis: self.sweep.axes[axis].name.clone(), over: whole.len(), values })
    }
}
