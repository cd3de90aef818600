//! Durations in settings and scripts, as people write them: `300ms`, `2s`, `5m`.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use std::time::Duration;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    crate::moment::parse_span(&String::deserialize(source)?).map_err(D::Error::custom)
}

pub(super) fn serialize<S: Serializer>(span: &Duration, target: S) -> Result<S::Ok, S::Error> {
    target.collect_str(&humantime::format_duration(*span))
}

/// The same for a span that may be absent.
pub(super) mod optional {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(source)?;
        text.map(|text| crate::moment::parse_span(&text)).transpose().map_err(D::Error::custom)
    }

    pub(in super::super) fn serialize<S: Serializer>(span: &Option<Duration>, target: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::serialize(span, target),
            None => target.serialize_none(),
        }
    }
}
