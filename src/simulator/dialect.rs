//! What the two clouds say differently: which calls they know, and what an answer looks like.

use super::answer::{Fields, Refusal};
use super::cloud::{Cloud, How, State};
use super::head::Head;
use super::script::Garbage;
use super::settings::Settings;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// An answer in a vendor's words.
pub(super) struct Wording {
    pub(super) status: StatusCode,
    /// When to come back, for a vendor that says so.
    pub(super) retry_after: Option<Duration>,
    pub(super) text: String,
}

/// A call in one vendor's words, past everything that is checked before an action looks at it.
pub(super) trait Dialect: Sized + Send + Sync + 'static {
    /// Everything that is checked before an action looks at the request.
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal>;

    /// The action's name, as the script knows it.
    fn action(&self) -> &'static str;

    /// The instance this call is about, where it is about one.
    fn instance(&self, state: &State) -> Option<String>;

    /// Carries the call out.
    fn perform(&self, cloud: &Arc<Cloud>, how: How) -> Result<Fields, Refusal>;

    /// Puts an answer into the vendor's envelope.
    fn word(answer: &Result<Fields, Refusal>, request_id: &str, settings: &Settings) -> Wording;

    /// A request larger than [`super::gateway::REQUEST_LIMIT`].
    fn too_large() -> Refusal;

    /// One call too many.
    fn throttled() -> Refusal;

    /// The old password is wrong.
    fn wrong_old_password(settings: &Settings) -> Refusal;

    /// A body that means nothing.
    fn garbage(shape: Garbage, request_id: &str) -> String;

    /// The beginning of a body that has no end in sight.
    fn endless(request_id: &str) -> String;
}
