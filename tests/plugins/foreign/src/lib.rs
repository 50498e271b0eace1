//! A plugin for an interface that this host does not speak: the right symbol, another module behind it.

use abi_stable::StableAbi;
use abi_stable::library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;

/// A module of some later, incompatible interface.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ForeignModuleRef)))]
pub struct ForeignModule {
    /// A field that the host does not expect.
    #[sabi(last_prefix_field)]
    pub answer: extern "C" fn() -> u64,
}

impl RootModule for ForeignModuleRef {
    abi_stable::declare_root_module_statics! {ForeignModuleRef}

    const BASE_NAME: &'static str = "fusemix_plugin";
    const NAME: &'static str = "fusemix_plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("2.0.0");
}

extern "C" fn answer() -> u64 {
    42
}

fn module() -> ForeignModuleRef {
    ForeignModule { answer }.leak_into_prefix()
}

extern "C" fn erased_module() -> RootModuleResult {
    __call_root_module_loader(module)
}

/// The header that a host expects.
// SAFETY: the name is the one that abi_stable looks for, and nothing else here has it.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
pub static PLUGIN: LibHeader =
    // SAFETY: `erased_module` returns the module type named here, made by abi_stable's own loader.
    unsafe { LibHeader::from_constructor::<ForeignModuleRef>(erased_module, CheckTypeLayout::Yes) };
