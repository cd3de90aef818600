//! What keeps many targets from going wrong at once.

use super::{Key, Shape, may, must};

/// `waves` of a selection.
pub(super) const WAVES: &[Key] = &[
    may("canary", Shape::Number, "1"),
    may("then", Shape::TextOrNumber, "\"10%\""),
    may("halt-after", Shape::Number, "2"),
];

/// `[freezes.NAME]`.
pub(super) const FREEZE: &[Key] = &[
    must("from", Shape::Text, "\"12-20\""),
    must("to", Shape::Text, "\"01-03\""),
    may("time-zone", Shape::Text, "\"Asia/Shanghai\""),
    may("targets", Shape::List, "[\"orders-cache\"]"),
];
