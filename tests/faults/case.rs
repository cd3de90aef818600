//! The providers, strategies and modes that both tables run for.

use keywheel::simulator::{AccountSettings, InstanceSettings};
use std::path::Path;

/// The password of the default account before keywheel knows it.
pub const INITIAL: &str = "Set-By-Hand-2019";
/// Two accounts beside it.
pub const FIRST: (&str, &str) = ("orders_a", "First-One-2020");
/// The second one rests where both are a pair.
pub const SECOND: (&str, &str) = ("orders_b", "Second-One-2020");
/// What somebody else sets at the console.
pub const OUTSIDER: &str = "Set-By-Somebody-Else-7";

/// Which account of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The vendor's default account.
    Default,
    First,
    Second,
}

impl Which {
    /// Its name, if it is one beside the default one.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::First => Some(FIRST.0),
            Self::Second => Some(SECOND.0),
        }
    }
}

/// Whose cloud it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    Tencent,
    Alibaba,
}

/// One provider, strategy and mode.
#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    pub name: &'static str,
    pub vendor: Vendor,
    /// The call that changes a password here.
    pub change: &'static str,
    /// The same where a reset is allowed to repair a lost password.
    pub reset: &'static str,
    /// Whether the change compares the old password.
    pub compares: bool,
    /// The account whose password the rotation changes.
    pub account: Which,
    /// The active account of a pair, which the rotation leaves alone.
    pub active: Option<Which>,
    /// The target's own keys.
    keys: &'static str,
}

const OF_DEFAULT: &str = "adopt = { file = \"{folder}/initial\" }";
const RESET_OF_DEFAULT: &str = "mode = \"reset\"\nadopt = { file = \"{folder}/initial\" }";
const EDIT_OF_DEFAULT: &str = "mode = \"account\"\nadopt = { file = \"{folder}/initial\" }";
const OF_FIRST: &str = "account = \"orders_a\"\nadopt = { file = \"{folder}/first\" }";
const RESET_OF_FIRST: &str = "mode = \"reset\"\naccount = \"orders_a\"\nadopt = { file = \"{folder}/first\" }";
const PAIR: &str = "strategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\ngrace = \"1ms\"\n\
                    adopt = { file = \"{folder}/first\" }\nadopt-resting = { file = \"{folder}/second\" }";
const RESET_PAIR: &str = "mode = \"reset\"\nstrategy = \"alternate\"\naccounts = [\"orders_a\", \"orders_b\"]\ngrace = \"1ms\"\n\
                          adopt = { file = \"{folder}/first\" }\nadopt-resting = { file = \"{folder}/second\" }";

const fn case(
    name: &'static str,
    vendor: Vendor,
    calls: [&'static str; 2],
    account: Which,
    keys: &'static str,
) -> Case {
    let [change, reset] = calls;
    Case { name, vendor, change, reset, compares: false, account, active: None, keys }
}

impl Case {
    const fn comparing(mut self) -> Self {
        self.compares = true;
        self
    }

    const fn beside(mut self, active: Which) -> Self {
        self.active = Some(active);
        self
    }
}

const BY_OLD_PASSWORD: &str = "ModifyInstancePassword";
const RESET: &str = "ResetPassword";
const EDIT: &str = "ModifyInstanceAccount";
const MODIFY: &str = "ModifyAccountPassword";
const RESET_ACCOUNT: &str = "ResetAccountPassword";
const ATTRIBUTE: &str = "ModifyInstanceAttribute";

use Vendor::{Alibaba, Tencent};
use Which::{Default, First, Second};

/// All of them, the commonest first.
#[rustfmt::skip]
pub static CASES: [Case; 11] = [
    case("tencent in-place old-password root", Tencent, [BY_OLD_PASSWORD, RESET], Default, OF_DEFAULT).comparing(),
    case("tencent in-place reset root", Tencent, [RESET, RESET], Default, RESET_OF_DEFAULT),
    case("tencent in-place account root", Tencent, [EDIT, EDIT], Default, EDIT_OF_DEFAULT),
    case("tencent in-place account custom", Tencent, [EDIT, EDIT], First, OF_FIRST),
    case("tencent alternate account custom", Tencent, [EDIT, EDIT], Second, PAIR).beside(First),
    case("alibaba in-place old-password default", Alibaba, [MODIFY, ATTRIBUTE], Default, OF_DEFAULT).comparing(),
    case("alibaba in-place old-password standard", Alibaba, [MODIFY, RESET_ACCOUNT], First, OF_FIRST).comparing(),
    case("alibaba in-place reset default", Alibaba, [ATTRIBUTE, ATTRIBUTE], Default, RESET_OF_DEFAULT),
    case("alibaba in-place reset standard", Alibaba, [RESET_ACCOUNT, RESET_ACCOUNT], First, RESET_OF_FIRST),
    case("alibaba alternate old-password standard", Alibaba, [MODIFY, RESET_ACCOUNT], Second, PAIR).comparing().beside(First),
    case("alibaba alternate reset standard", Alibaba, [RESET_ACCOUNT, RESET_ACCOUNT], Second, RESET_PAIR).beside(First),
];

impl Case {
    /// The instance's id.
    pub fn instance(&self) -> &'static str {
        match self.vendor {
            Tencent => "crs-faults01",
            Alibaba => "r-bp1faults001",
        }
    }

    /// The instance as it is before anything goes wrong.
    pub fn make(&self) -> InstanceSettings {
        match self.vendor {
            Tencent => InstanceSettings {
                accounts: [FIRST, SECOND].map(|(name, password)| AccountSettings::new(name, password)).into(),
                ..InstanceSettings::new(self.instance(), INITIAL)
            },
            Alibaba => InstanceSettings::alibaba(self.instance(), INITIAL)
                .with_account(FIRST.0, FIRST.1)
                .with_account(SECOND.0, SECOND.1),
        }
    }

    /// How many passwords there are before the first one is drawn: a pair's resting account has one, too.
    pub fn taken_in(&self) -> u64 {
        if self.active.is_some() { 2 } else { 1 }
    }

    /// The account that the sink names before the rotation.
    pub fn account_before(&self) -> Which {
        self.active.unwrap_or(self.account)
    }

    /// The keys of the provider's table, and which of its credential's halves is called what.
    pub fn provider(&self) -> (&'static str, &'static str, [&'static str; 2]) {
        match self.vendor {
            Tencent => ("tencent", "ap-guangzhou", ["secret-id", "secret-key"]),
            Alibaba => ("alibaba", "cn-hangzhou", ["access-key-id", "access-key-secret"]),
        }
    }

    /// The target's own keys.
    pub fn keys(&self, folder: &Path) -> String {
        self.keys.replace("{folder}", &folder.display().to_string())
    }
}
