//! What probes are answered.

use serde::{Deserialize, Serialize};

/// All is well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthBody {
    /// `ok`.
    pub status: String,
    /// How long an edit took to come back by fan-out, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_out_us: Option<u64>,
    /// How long it took to be durable, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable_us: Option<u64>,
}

impl HealthBody {
    /// Well, and nothing was measured.
    pub fn ok() -> Self {
        Self { status: "ok".to_owned(), fan_out_us: None, durable_us: None }
    }
}
