//! Adapters and their layers over a device: each layer's forward and, beside it, its backward pass.

mod adapter;
mod backward;
mod linear;
mod mlp;
mod mode;
mod norm;
mod parameter;
mod shape;

pub(crate) use adapter::{Activations, Adapter, Scratch};
pub(crate) use backward::Backward;
pub(crate) use mode::{Mode, Rows};
pub(crate) use parameter::{Fresh, Keep, Parameter, Source, Step, Version};
pub use shape::AdapterKind;
pub(crate) use shape::Shape;
