//! `metrics.jsonl`: the metrics of a fit, one line per epoch and one per evaluation on the validation pairs.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::eval::Retrieval;
use crate::fit::fusemix::EpochMetrics;

/// A line: of an epoch, or of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Epochs that are done.
    pub epoch: usize,
    /// Steps that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// The mean loss of the epoch's steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The temperature after the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The learning rate of the epoch's last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Pairs drawn per second of wall-clock time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs_per_second: Option<f64>,
    /// The mean of R@1, R@5 and R@10 on the validation pairs, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_recall: Option<f64>,
    /// The same by direction and depth.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Retrieval>,
}

impl Metrics {
    /// The line of an epoch.
    pub fn of_epoch(metrics: &EpochMetrics) -> Self {
        let &EpochMetrics { epoch, steps, temperature, lr, pairs_per_second, .. } = metrics;
        Self {
            epoch,
            step: Some(steps),
            loss: Some(metrics.loss().into()),
            temperature: Some(temperature.into()),
            lr: Some(lr.into()),
            pairs_per_second: Some(pairs_per_second),
            ..Self::default()
        }
    }

    /// The line of an evaluation.
    pub fn of_evaluation(epoch: usize, mean_recall: f64, validation: Vec<Retrieval>) -> Self {
        Self { epoch, mean_recall: Some(mean_recall), validation, ..Self::default() }
    }
}

/// The file, open for more lines.
pub struct MetricsFile(File);

impl MetricsFile {
    /// Opens the file at `path` after the lines of its first `epochs` epochs. These stay in the file even if the
    /// program is killed.
    pub fn open(path: &Path, epochs: usize) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut known = Vec::new();
        file.read_to_end(&mut known)?;
        let of_epoch = |line: &[u8]| serde_json::from_slice::<Metrics>(line).ok().map(|metrics| metrics.epoch);
        let lines = known.split_inclusive(|&byte| byte == b'\n');
        let kept = lines.take_while(|line| of_epoch(line).is_some_and(|epoch| epoch <= epochs));
        let length = kept.map(<[u8]>::len).sum::<usize>() as u64;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Self(file))
    }

    /// Appends a line, which has been handed to the system when this returns.
    pub fn add(&mut self, metrics: &Metrics) -> io::Result<()> {
        let line = serde_json::to_string(metrics)?;
        self.0.write_all(format!("{line}\n").as_bytes())
    }
}

/// The lines of the file at `path`.
pub fn read_metrics(path: &Path) -> io::Result<Vec<Metrics>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
