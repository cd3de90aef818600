//! The key `mode` of a target: by which call its password is changed, as far as its cloud and account leave a choice.

use super::provider::Provider;
use super::reading::{Section, refusal};
use crate::provider::Mode;

/// The words, in the order in which they are offered.
const WORDS: [(&str, Mode); 3] =
    [("old-password", Mode::OldPassword), ("reset", Mode::Reset), ("account", Mode::Account)];

/// The mode of an overlap: the new password is added, whatever else could be done.
pub(super) fn added(section: &Section<'_>) -> Mode {
    if section.has("mode") {
        let next = "remove mode, or the strategy";
        section
            .refuse("mode", refusal("With strategy = \"overlap\" the new password is added beside the old one", next));
    }
    Mode::Add
}

/// The target's mode. `cloud`, `instance` and `account` are what the target names, as far as that could be read; what cannot be judged without them is not
/// a finding.
pub(super) fn parse(
    section: &Section<'_>,
    cloud: Option<&Provider>,
    instance: Option<&str>,
    account: Option<&str>,
) -> Mode {
    let written = section.choice("mode", &WORDS);
    let (Some(cloud), Some(instance), Some(account)) = (cloud, instance, account) else {
        return written.unwrap_or_default();
    };
    let is_default = cloud.is_default_account(instance, account);
    let usual = match cloud {
        Provider::Tencent(_) if !is_default => Mode::Account,
        Provider::Tencent(_) | Provider::Alibaba(_) | Provider::Redis(_) => Mode::OldPassword,
    };
    let mode = written.unwrap_or(usual);
    let wrong = match (cloud, mode) {
        (Provider::Tencent(_), Mode::OldPassword | Mode::Reset) if !is_default => Some((
            "Only root's password is changed by this call, and this account is another",
            "write mode = \"account\", or remove mode",
        )),
        (Provider::Alibaba(_), Mode::Account) => Some((
            "Alibaba Cloud has no call that edits a whole account",
            "write mode = \"old-password\" or \"reset\", or remove mode",
        )),
        (Provider::Redis(_), Mode::Account) => Some((
            "A server of one's own has no call that edits a whole account",
            "write mode = \"old-password\" or \"reset\", or remove mode",
        )),
        (_, Mode::Add) => None,
        (Provider::Tencent(_), Mode::OldPassword | Mode::Reset | Mode::Account)
        | (Provider::Alibaba(_) | Provider::Redis(_), Mode::OldPassword | Mode::Reset) => None,
    };
    if let Some((what, next_step)) = wrong {
        section.refuse("mode", refusal(what, next_step));
    }
    mode
}
