//! The export line and its expansion: a safe [`Encoder`] as the raw module that the host loads.

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr, RString};
use serde::{Deserialize, Serialize};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::abi::{
    PluginModule, PluginModuleRef, RawEncoder, RawEncoder_TO, RawEncoderBox, RawHostBox, RawItem, RawSinkMut,
};
use crate::guard::guard;
use crate::host::forward_events;
use crate::{Encoder, Error, Host, Item, OptionSpec, Options, sink};

/// Exports a type that implements [`Encoder`] as this library's plugin: `fusemix_sdk::export!(MyEncoder);`.
/// The plugin's name and version are those of its package.
#[macro_export]
macro_rules! export {
    ($encoder:ty) => {
        const _: () = {
            use $crate::export::__private as private;

            extern "C" fn info() -> private::RString {
                $crate::export::info::<$encoder>(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            }
            fn module() -> $crate::abi::PluginModuleRef {
                $crate::export::module::<$encoder>(info)
            }
            extern "C" fn erased_module() -> private::RootModuleResult {
                private::call_root_module_loader(module)
            }
            // SAFETY: the name is the one that abi_stable looks for, and no other item of a plugin has it.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static PLUGIN: private::LibHeader =
                // SAFETY: `erased_module` returns the module type named here, made by abi_stable's own loader.
                unsafe {
                    private::LibHeader::from_constructor::<$crate::abi::PluginModuleRef>(
                        erased_module,
                        private::CheckTypeLayout::Yes,
                    )
                };
        };
    };
}

/// Names used in the expansion of [`crate::export!`].
#[doc(hidden)]
pub mod __private {
    pub use abi_stable::library::__call_root_module_loader as call_root_module_loader;
    pub use abi_stable::library::{CheckTypeLayout, LibHeader, RootModuleResult};
    pub use abi_stable::std_types::RString;
}

/// The information that a plugin gives before any of its encoders is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginInfo {
    /// The plugin's package name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of this crate that it was built with.
    pub sdk: String,
    /// The keys of plugins.toml that its encoders accept.
    #[serde(default)]
    pub options: Vec<OptionSpec>,
}

/// The host's request to open an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The encoder's name in plugins.toml.
    pub encoder: String,
    /// Its table.
    pub options: Options,
    /// The most detailed log level that the host wants.
    #[serde(default)]
    pub log_level: String,
}

/// The [`PluginInfo`] of a plugin with encoder `E`, as JSON.
pub fn info<E: Encoder>(name: &str, version: &str) -> RString {
    let options = catch_unwind(E::options).unwrap_or_default();
    json(&PluginInfo { name: name.into(), version: version.into(), sdk: crate::VERSION.into(), options })
}

/// The root module of a plugin with encoder `E`.
pub fn module<E: Encoder>(info: extern "C" fn() -> RString) -> PluginModuleRef {
    PluginModule { info, open: open::<E> }.leak_into_prefix()
}

extern "C" fn open<E: Encoder>(request: RStr<'_>, host: RawHostBox) -> RResult<RawEncoderBox, RString> {
    let opened = guard(|| {
        let request: OpenRequest = serde_json::from_str(request.as_str())
            .map_err(|error| Error::new(format!("cannot parse the host's request: {error}")))?;
        let host = Host::new(host);
        forward_events(&host, &request.log_level);
        let encoder = E::open(&request.options, &host)?;
        let description = json(&encoder.describe());
        Ok(Opened { encoder: ManuallyDrop::new(encoder), description, host })
    });
    match opened {
        Ok(opened) => ROk(RawEncoder_TO::from_value(opened, TD_Opaque)),
        Err(error) => RErr(json(&error)),
    }
}

/// An open encoder behind the raw trait, which never unwinds across the boundary.
struct Opened<E: Encoder> {
    encoder: ManuallyDrop<E>,
    description: RString,
    host: Host,
}

impl<E: Encoder> RawEncoder for Opened<E> {
    fn describe(&self) -> RString {
        self.description.clone()
    }

    fn measure(&self, items: RSlice<'_, RawItem<'_>>) -> RResult<RString, RString> {
        match guard(|| Ok(json(&self.encoder.measure(&safe(&items))))) {
            Ok(sizes) => ROk(sizes),
            Err(error) => RErr(json(&error)),
        }
    }

    fn encode(&self, items: RSlice<'_, RawItem<'_>>, mut raw: RawSinkMut<'_>) -> RResult<(), RString> {
        let mut store = |rows| match raw.store(rows) {
            ROk(receipt) => serde_json::from_str(&receipt)
                .map_err(|error| Error::new(format!("cannot parse the host's receipt: {error}"))),
            RErr(error) => Err(serde_json::from_str(&error).unwrap_or_else(|_| Error::new(error.as_str()))),
        };
        let items = safe(&items);
        match sink::fill(items.len(), &self.host, &mut store, |sink| self.encoder.encode(&items, sink)) {
            Ok(()) => ROk(()),
            Err(error) => RErr(json(&error)),
        }
    }
}

impl<E: Encoder> Drop for Opened<E> {
    fn drop(&mut self) {
        // SAFETY: `encoder` is not used after this.
        let drop = AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(&mut self.encoder) });
        // A panic while closing costs nothing that is still needed; the hook has logged it.
        let _ = catch_unwind(drop);
    }
}

fn safe<'a>(items: &'a [RawItem<'a>]) -> Vec<Item<'a>> {
    items.iter().map(|item| Item { modality: item.modality.as_str(), bytes: item.bytes.as_slice() }).collect()
}

fn json(value: &impl Serialize) -> RString {
    // Only a map whose keys are no strings could fail, and there is none.
    serde_json::to_string(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_exported_name_is_the_one_that_abi_stable_looks_for() {
        assert_eq!(abi_stable::library::ROOT_MODULE_LOADER_NAME, "_1as_0lib_1header_0root_bmodule_bloader");
    }
}
