//! The type of items in /openapi.json: what [`Given`](super::given::Given) is parsed of.

use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

/// A text, an object, or a list of these.
pub(super) fn items() -> Schema {
    described(
        "A text, or a list: texts, or objects with one of `text`, `image` and `audio` as their key. A picture or a sound is a \
         data URI, base64, or a URL if the server may fetch it.",
    )
}

/// The same of pictures, where a text is a file.
pub(super) fn pictures() -> Schema {
    described("A data URI, base64, or a URL if the server may fetch it; or a list of these.")
}

fn described(description: &str) -> Schema {
    let one = || {
        let kinds = [Type::String, Type::Object].map(|kind| ObjectBuilder::new().schema_type(kind).build());
        kinds.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item)
    };
    let list = ArrayBuilder::new().items(one()).build();
    Schema::OneOf(one().item(list).description(Some(description)).build())
}
