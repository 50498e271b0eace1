//! The method that fits a space to the pairs of a recipe.

use serde::{Deserialize, Serialize};

/// The tables of a recipe with the options of methods.
pub(super) const TRAIN: &str = "train";
pub(super) const FIT: &str = "fit";

/// The method that fits a space to the pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Adapters trained with FuseMix, with the options of `[train]`.
    #[default]
    Fusemix,
    /// Kernel CCA in closed form.
    KernelCca,
    /// Regularised CCA in closed form.
    Cca,
    /// Ridge regression both ways, in closed form.
    Ridge,
    /// Orthogonal maps, in closed form.
    Procrustes,
    /// Relative representations, in closed form.
    Asif,
    /// Several methods side by side.
    Joint,
    /// The method that does best in cross-validation.
    Auto,
    /// None: the encoders' latents are in one space already, as those of CLIP are.
    Identity,
}

impl Method {
    /// The method of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// True if the values of its embeddings come in the order of what they contribute.
    pub fn orders_values(self) -> bool {
        matches!(self, Self::Cca | Self::KernelCca)
    }

    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Auto,
        Self::Fusemix,
        Self::KernelCca,
        Self::Cca,
        Self::Ridge,
        Self::Procrustes,
        Self::Asif,
        Self::Joint,
        Self::Identity,
    ];

    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fusemix => "fusemix",
            Self::KernelCca => "kernel-cca",
            Self::Cca => "cca",
            Self::Ridge => "ridge",
            Self::Procrustes => "procrustes",
            Self::Asif => "asif",
            Self::Joint => "joint",
            Self::Auto => "auto",
            Self::Identity => "identity",
        }
    }

    /// Its name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fusemix => "FuseMix",
            Self::KernelCca => "kernel CCA",
            Self::Cca => "regularised CCA",
            Self::Ridge => "ridge regression",
            Self::Procrustes => "orthogonal Procrustes",
            Self::Asif => "ASIF",
            Self::Joint => "several methods side by side",
            Self::Auto => "the best method in cross-validation",
            Self::Identity => "nothing: the encoders' own space",
        }
    }

    /// The only method with an option of this name in `[fit]`, if there is but one.
    pub(super) fn with_option(key: &str) -> Option<Self> {
        match key {
            "landmarks" | "tau" | "rank" => Some(Self::KernelCca),
            "power" | "top" | "anchors" => Some(Self::Asif),
            "parts" => Some(Self::Joint),
            "budget" => Some(Self::Auto),
            _ => None,
        }
    }

    /// The table of a recipe with its options.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Fusemix => TRAIN,
            _ => FIT,
        }
    }
}
