//! The status page: rendered here, without script, without anything from elsewhere, read-only. What it says is what `status` and `explain` say.

mod fleet;
mod target;

use crate::moment::{Moment, show_span};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;
use std::sync::LazyLock;

pub(super) use fleet::{Question, fleet};
pub(super) use target::{Story, story};

/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// What a browser may do with a page: show it, with this daemon's style sheet, and ask this daemon.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Templates, all of them escaped as HTML whatever they are called.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::empty();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in [
        ("frame.html", include_str!("frame.html")),
        ("fleet.html", include_str!("fleet.html")),
        ("target.html", include_str!("target.html")),
    ] {
        templates.add_template(name, text).expect("a template of ours is well-formed; a test renders each");
    }
    templates
});

fn render(name: &str, of: impl Serialize) -> String {
    let template = TEMPLATES.get_template(name).expect("it was added above");
    template.render(Value::from(Serde(of))).expect("what a template asks for is in its context; a test renders each")
}

/// What every page ends with.
#[derive(Serialize)]
struct Foot {
    version: &'static str,
    at: String,
}

impl Foot {
    fn at(at: Moment) -> Self {
        Self { version: env!("CARGO_PKG_VERSION"), at: minutes(at) }
    }
}

/// The age of a password against what it may be, as a bar.
#[derive(Serialize)]
struct Bar {
    kind: &'static str,
    share: u64,
    words: String,
}

/// From this part of `max-age` on, in percent, a bar is of another colour.
const HIGH: u64 = 80;

impl Bar {
    fn of(proven_at: Option<Moment>, too_old_at: Option<Moment>, now: Moment) -> Option<Self> {
        let (proven_at, too_old_at) = (proven_at?, too_old_at?);
        let (age, most) = (now.since(proven_at), too_old_at.since(proven_at));
        let share = u64::try_from(age.as_millis() * 100 / most.as_millis().max(1)).unwrap_or(u64::MAX);
        let kind = match share {
            0..HIGH => "good",
            HIGH..100 => "high",
            _ => "over",
        };
        let words = format!("{share} % of its max-age of {}", show_span(most));
        Some(Self { kind, share: share.min(100), words })
    }
}

/// A moment to the second, in UTC.
fn minutes(at: Moment) -> String {
    at.utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How far away a moment is.
fn distance(at: Moment, now: Moment) -> String {
    if at >= now { format!("in {}", show_span(at.since(now))) } else { format!("{} ago", show_span(now.since(at))) }
}
