//! The version of a document's format.

use serde::{Deserialize, Serialize};

/// The version of a format, `N`; decoding any other number is an error that names the one understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FormatVersion<const N: u32>;

impl<const N: u32> TryFrom<u32> for FormatVersion<N> {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        if number == N {
            return Ok(Self);
        }
        Err(format!("version {number} is not understood; this build understands {N}"))
    }
}

impl<const N: u32> From<FormatVersion<N>> for u32 {
    fn from(_: FormatVersion<N>) -> Self {
        N
    }
}

impl<const N: u32> utoipa::PartialSchema for FormatVersion<N> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .enum_values(Some([N]))
            .description(Some("format version"))
            .into()
    }
}

impl<const N: u32> utoipa::ToSchema for FormatVersion<N> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("FormatVersion{N}").into()
    }
}
