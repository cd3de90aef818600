//! The rotation protocol: pure rules over what happened.

pub mod answer;
