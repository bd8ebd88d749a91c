//! How possession of a key is proved (RFC 9449).

use microgw_compiler::settings;

use super::values::Values;

pub fn read(values: &Values, skew_seconds: u32) -> settings::Dpop {
    // What it must look like is said where else it is used.
    let origin = Some(values.text("gateway.publicUrl")).filter(|origin| !origin.is_empty());
    settings::Dpop {
        origins: origin.into_iter().collect(),
        max_age_seconds: values.number::<u32>("dpopConfig.maxAge") / 1000,
        skew_seconds,
    }
}
