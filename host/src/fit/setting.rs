//! A method with its options, whichever it is.

use std::sync::Arc;

use super::closed_form::ClosedForm;
use super::fusemix::{self, TrainOptions};
use super::{FitError, Problem};
use crate::device::Device;
use crate::space::Map;
use crate::stop::Stop;

/// A method with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// One in closed form.
    ClosedForm(ClosedForm),
    /// Adapters that are trained.
    Fusemix(Box<TrainOptions>),
    /// Several, whose embeddings stand side by side, with their weights.
    Joint(Vec<(f32, Setting)>),
}

/// What a training needs beside its options.
#[derive(Clone)]
pub struct Engine {
    /// The device that it runs on.
    pub device: Arc<dyn Device>,
    /// The seed of all that is random.
    pub seed: u64,
    /// The flag that ends a measurement between two fits.
    pub stop: Stop,
}

impl Setting {
    /// The map of all towers.
    pub(crate) fn map(&self, problem: &Problem<'_>, engine: &Engine) -> Result<Map, FitError> {
        match self {
            Self::ClosedForm(method) => method.map(problem),
            Self::Fusemix(options) => fusemix::fit(problem, options, engine),
            Self::Joint(parts) => {
                let fitted = parts.iter().map(|(weight, part)| Ok((*weight, part.map(problem, engine)?)));
                Ok(Map::joint(fitted.collect::<Result<_, FitError>>()?))
            }
        }
    }

    /// True if adapters are trained on the device.
    pub fn trains(&self) -> bool {
        match self {
            Self::ClosedForm(_) => false,
            Self::Fusemix(_) => true,
            Self::Joint(parts) => parts.iter().any(|(_, part)| part.trains()),
        }
    }

    /// The name of the method.
    pub fn method(&self) -> &'static str {
        match self {
            Self::ClosedForm(ClosedForm::KernelCca(_)) => "kernel-cca",
            Self::ClosedForm(ClosedForm::Cca(_)) => "cca",
            Self::ClosedForm(ClosedForm::Ridge(_)) => "ridge",
            Self::ClosedForm(ClosedForm::Procrustes(_)) => "procrustes",
            Self::ClosedForm(ClosedForm::Asif(_)) => "asif",
            Self::Fusemix(_) => "fusemix",
            Self::Joint(_) => "joint",
        }
    }

    /// The method in a line, with the options that are not its defaults.
    pub fn describe(&self) -> String {
        let (options, usual) = match self {
            Self::ClosedForm(method) => (serde_json::to_value(method), serde_json::to_value(method.usual())),
            Self::Fusemix(options) => (serde_json::to_value(options), serde_json::to_value(TrainOptions::default())),
            Self::Joint(parts) => {
                let part = |(weight, part): &(f32, Self)| format!("{weight:.2} {}", part.describe());
                return parts.iter().map(part).collect::<Vec<_>>().join(" + ");
            }
        };
        let table = |value: serde_json::Result<serde_json::Value>| {
            value.ok().and_then(|value| value.as_object().cloned()).unwrap_or_default()
        };
        let (options, usual) = (table(options), table(usual));
        let options = options.iter().filter(|(key, value)| !value.is_null() && usual.get(*key) != Some(value));
        let line = options.map(|(key, value)| match value.as_str() {
            Some(text) => format!(" {key}={text}"),
            None => format!(" {key}={}", value.as_f64().map_or_else(|| value.to_string(), |n| (n as f32).to_string())),
        });
        self.method().to_owned() + &line.collect::<String>()
    }
}
