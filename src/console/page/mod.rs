//! The status page: rendered here, whole without script, without anything from elsewhere, read-only. What it says is what `status` and `explain` say;
//! the script, where there is one, only reads it again.

mod fleet;
mod target;
mod timeline;

use crate::moment::{Moment, show_span};
use crate::name::TargetName;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::Serde};
use serde::Serialize;
use std::sync::LazyLock;

pub(super) use fleet::{Question, Seen, fleet};
pub(super) use target::{Story, story};

/// The style sheet.
pub(super) const STYLE: &str = include_str!("style.css");

/// The script that reads a page again when something changed.
pub(super) const SCRIPT: &str = include_str!("page.js");

/// What a browser may do with a page: show it, with this daemon's style sheet and script, and ask this daemon.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Templates, all of them escaped as HTML whatever they are called.
static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::empty();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in [
        ("frame.html", include_str!("frame.html")),
        ("fleet.html", include_str!("fleet.html")),
        ("target.html", include_str!("target.html")),
        ("timeline.html", include_str!("timeline.html")),
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

/// How much of something is used up, such as the age that a password may reach, as a bar.
#[derive(Serialize)]
struct Bar {
    kind: &'static str,
    share: u64,
    words: String,
}

/// From this part on, in percent, a bar is of another colour.
const HIGH: u64 = 80;

impl Bar {
    fn of(proven_at: Option<Moment>, too_old_at: Option<Moment>, now: Moment) -> Option<Self> {
        let (proven_at, too_old_at) = (proven_at?, too_old_at?);
        let (age, most) = (now.since(proven_at), too_old_at.since(proven_at));
        let share = u64::try_from(age.as_millis() * 100 / most.as_millis().max(1)).unwrap_or(u64::MAX);
        Some(Self::of_share(share, &format!("of its max-age of {}", show_span(most))))
    }

    /// So many percent of something.
    fn of_share(share: u64, of: &str) -> Self {
        let kind = match share {
            0..HIGH => "good",
            HIGH..100 => "high",
            _ => "over",
        };
        Self { kind, share: share.min(100), words: format!("{share} % {of}") }
    }
}

/// A moment to the second, in UTC.
fn minutes(at: Moment) -> String {
    at.utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A sentence that names the target where it tells what to type.
fn addressed(text: &str, target: &TargetName) -> String {
    text.replace(" TARGET", &format!(" {target}"))
}

/// How far away a moment is.
fn distance(at: Moment, now: Moment) -> String {
    if at >= now { format!("in {}", show_span(at.since(now))) } else { format!("{} ago", show_span(now.since(at))) }
}
