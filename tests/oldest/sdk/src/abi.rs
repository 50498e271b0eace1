//! Every type that crosses the plugin boundary. Only a change of this file can break a plugin.
//!
//! Three things cross it: JSON text, raw items, and f32 rows. What has to grow later grows inside the JSON
//! (a field that one side does not know is ignored, a field that one side does not send has a default), so a
//! plugin built against an earlier version of the same major line still loads.

#![allow(non_local_definitions, missing_docs, reason = "what `sabi_trait` expands to")]

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::{RMut, VersionStrings};
use abi_stable::std_types::{RBox, RResult, RSlice, RStr, RString, RVec};

/// The exports of a plugin library: the root module that the host looks for.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// JSON of [`crate::export::PluginInfo`].
    pub info: extern "C" fn() -> RString,

    /// Opens one encoder: JSON of [`crate::export::OpenRequest`] in, the encoder or the JSON of a [`crate::Error`] out.
    #[sabi(last_prefix_field)]
    pub open: extern "C" fn(request: RStr<'_>, host: RawHostBox) -> RResult<RawEncoderBox, RString>,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}

    const BASE_NAME: &'static str = "fusemix_plugin";
    const NAME: &'static str = "fusemix_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// An opened encoder, on the plugin's side of the boundary.
#[sabi_trait]
pub trait RawEncoder: Send + Sync + 'static {
    /// JSON of [`crate::Description`].
    fn describe(&self) -> RString;

    /// JSON of a [`crate::Size`] for each item, or of the [`crate::Error`] that prevents it.
    fn measure(&self, items: RSlice<'_, RawItem<'_>>) -> RResult<RString, RString>;

    /// Encodes a batch into `sink`, or returns the JSON of the [`crate::Error`] that stopped it. Rows that the sink has
    /// received by then count.
    #[sabi(last_prefix_field)]
    fn encode(&self, items: RSlice<'_, RawItem<'_>>, sink: RawSinkMut<'_>) -> RResult<(), RString>;
}

/// The destination of one call's rows, on the host's side of the boundary.
#[sabi_trait]
pub trait RawSink: Send + Sync {
    /// Takes rows, and returns when they are stored, or immediately if their report says that they are the last: JSON
    /// of a [`crate::rows::Receipt`], or of the [`crate::Error`] that prevents it.
    #[sabi(last_prefix_field)]
    fn store(&mut self, rows: RawRows) -> RResult<RString, RString>;
}

/// The services that the host offers to a plugin.
#[sabi_trait]
pub trait RawHost: Send + Sync + Clone + 'static {
    /// True if the user asked to stop.
    fn should_stop(&self) -> bool;

    /// Tells the host something: `topic` says how to read `body` (see [`crate::host`]).
    #[sabi(last_prefix_field)]
    fn event(&self, topic: RStr<'_>, body: RStr<'_>);
}

/// An owned encoder.
pub type RawEncoderBox = RawEncoder_TO<RBox<()>>;
/// The host's sink for the duration of a call.
pub type RawSinkMut<'a> = RawSink_TO<'a, RMut<'a, ()>>;
/// An owned handle on the host.
pub type RawHostBox = RawHost_TO<RBox<()>>;

/// One item to encode.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct RawItem<'a> {
    /// Name of the modality.
    pub modality: RStr<'a>,
    /// UTF-8 text, or the bytes of a file.
    pub bytes: RSlice<'a, u8>,
}

/// The outcomes of some of a batch's items.
#[repr(C)]
#[derive(StableAbi)]
pub struct RawRows {
    /// `rows x width` values.
    pub values: RVec<f32>,
    /// Values per row; 0 if there is none.
    pub width: usize,
    /// JSON of [`crate::rows::Report`]: which items these are, and which have no latent.
    pub report: RString,
}
