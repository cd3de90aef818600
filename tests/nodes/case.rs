//! The strategies and layouts that both tables run for.

/// The password that the account has before keywheel knows it.
pub const BY_HAND: &str = "By-Hand+2019";
/// The other one of a pair of accounts.
pub const OTHER: (&str, &str) = ("app_b", "Other-One-2020");
/// The administrator that keywheel logs in as.
pub const ADMIN: (&str, &str) = ("keywheel", "Adm1n+of/all=Nodes");
/// The user that the tests themselves log in as; keywheel has never heard of it.
pub const WITNESS: (&str, &str) = ("witness", "Sees+Every-Thing-1");
/// What somebody else sets.
pub const OUTSIDER: &str = "Set-By-Somebody-Else-7";

/// Where a server keeps its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In a file of their own.
    UsersFile,
    /// In its file of settings.
    Settings,
    /// The password of the default user is a setting.
    Requirepass,
}

/// One strategy on one layout.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// One server, or a master with a replica that logs in to it as the account.
    pub nodes: usize,
    pub kept: Kept,
    /// The user whose password the rotation changes.
    pub account: &'static str,
    /// Its password before.
    pub password: &'static str,
    /// The user that keywheel logs in as.
    pub admin: &'static str,
    /// The command that changes the password.
    pub change: &'static str,
    /// The command that makes it durable.
    pub save: &'static str,
    /// How many passwords there are before the first one is drawn.
    pub taken_in: u64,
    /// Whether the password before stays valid for a while.
    pub overlaps: bool,
    keys: &'static str,
}

const IN_PLACE: Case = Case {
    name: "redis in-place, one server",
    nodes: 1,
    kept: Kept::UsersFile,
    account: "app",
    password: BY_HAND,
    admin: ADMIN.0,
    change: "ACL SETUSER app ",
    save: "ACL SAVE",
    taken_in: 1,
    overlaps: false,
    keys: "account = \"app\"\nadopt = { file = \"{folder}/app\" }",
};

const OVERLAP: Case = Case {
    name: "redis overlap, one server",
    overlaps: true,
    keys: "account = \"app\"\nadopt = { file = \"{folder}/app\" }\nstrategy = \"overlap\"\ngrace = \"400ms\"",
    ..IN_PLACE
};

const ALTERNATE: Case = Case {
    name: "redis alternate, one server",
    account: OTHER.0,
    password: OTHER.1,
    change: "ACL SETUSER app_b ",
    taken_in: 2,
    keys: "strategy = \"alternate\"\naccounts = [\"app\", \"app_b\"]\ngrace = \"1ms\"\nadopt = { file = \"{folder}/app\" }\nadopt-resting = { file = \"{folder}/app_b\" }",
    ..IN_PLACE
};

/// All of them, the commonest first.
pub static CASES: [Case; 8] = [
    IN_PLACE,
    OVERLAP,
    ALTERNATE,
    Case {
        name: "redis in-place, requirepass, the default user itself",
        kept: Kept::Requirepass,
        account: "default",
        admin: "default",
        change: "CONFIG SET requirepass ",
        save: "CONFIG REWRITE",
        keys: "adopt = { file = \"{folder}/app\" }",
        ..IN_PLACE
    },
    Case {
        name: "redis overlap, users in the settings, the user itself",
        kept: Kept::Settings,
        admin: "app",
        save: "CONFIG REWRITE",
        ..OVERLAP
    },
    Case { name: "redis in-place, a master and its replica", nodes: 2, ..IN_PLACE },
    Case { name: "redis overlap, a master and its replica", nodes: 2, ..OVERLAP },
    Case { name: "redis alternate, a master and its replica", nodes: 2, ..ALTERNATE },
];

impl Case {
    /// Every user there is.
    pub fn users(&self) -> String {
        let user = |(name, password): (&str, &str)| format!("user {name} on >{password} ~* &* +@all\n");
        let all: String = [ADMIN, WITNESS, OTHER, ("app", BY_HAND)].into_iter().map(user).collect();
        match self.kept {
            Kept::Requirepass => format!("{all}requirepass {BY_HAND}\n"),
            Kept::UsersFile | Kept::Settings => format!("{all}user default off\n"),
        }
    }

    /// Users that nobody may change, and their passwords.
    pub fn others(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let account = self.account;
        [ADMIN, WITNESS, OTHER, ("app", BY_HAND)].into_iter().filter(move |(name, _)| *name != account)
    }

    /// The target's keys.
    pub fn keys(&self, folder: &str) -> String {
        self.keys.replace("{folder}", folder)
    }

    /// How keywheel logs in.
    pub fn admin(&self, folder: &str) -> String {
        match self.admin == self.account {
            true => "\"self\"".to_owned(),
            false => format!("{{ user = \"{}\", password = {{ file = \"{folder}/admin\" }} }}", self.admin),
        }
    }
}
