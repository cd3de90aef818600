//! Requests and answers of Tair and ApsaraDB for Redis (r-kvstore), API version 2015-01-01. A password is a parameter of a named call and never
//! part of a free-form value. The secret store's calls pass through with the sink's own parameters.

use crate::provider::Condition;
use crate::provider::outcome::Spoken;
use crate::rotation::answer::Call;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The API version of r-kvstore.
const VERSION: &str = "2015-01-01";
/// The API version of the vendor's secret store, KMS.
const STORE_VERSION: &str = "2016-01-20";
/// The parameter with a secret's value.
const SECRET_DATA: &str = "SecretData";
/// The content type of a body, as signed.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// The engine before which there are no accounts to change (vendor document "ResetAccountPassword").
const FIRST_ENGINE: u32 = 4;

/// One call with its parameters. Left out everywhere: SourceBiz, which the vendor keeps for itself, and RegionId, which is
/// only DescribeInstances' own.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// Compares the old password and sets the new one.
    ModifyAccountPassword { instance: &'a str, account: &'a str, old: &'a str, new: &'a str },
    /// Sets the new password of a standard account.
    ResetAccountPassword { instance: &'a str, account: &'a str, new: &'a str },
    /// Sets the new password of the default account.
    ModifyInstanceAttribute { instance: &'a str, new: &'a str },
    /// The account and whether a change of it is under way.
    DescribeAccounts { instance: &'a str, account: &'a str },
    /// The instance's state.
    DescribeInstanceAttribute { instance: &'a str },
    /// One page of the instances that carry these tags, by key and value. The vendor asks for the region where tags are given.
    DescribeInstances { region: &'a str, tags: &'a [(String, String)], page: &'a str, size: &'a str },
    /// A call of the secret store, in the sink's words.
    OfStore { action: &'static str, parameters: &'a [(&'static str, &'a str)], writes: bool },
}

/// The names of the tags' parameters; the vendor takes no more tags at once (vendor document "DescribeInstances", Tag.N).
const TAGS: [(&str, &str); 5] = [
    ("Tag.1.Key", "Tag.1.Value"),
    ("Tag.2.Key", "Tag.2.Value"),
    ("Tag.3.Key", "Tag.3.Value"),
    ("Tag.4.Key", "Tag.4.Value"),
    ("Tag.5.Key", "Tag.5.Value"),
];

impl<'a> Request<'a> {
    /// The action's name.
    pub(super) const fn action(&self) -> &'static str {
        match self {
            Self::ModifyAccountPassword { .. } => "ModifyAccountPassword",
            Self::ResetAccountPassword { .. } => "ResetAccountPassword",
            Self::ModifyInstanceAttribute { .. } => "ModifyInstanceAttribute",
            Self::DescribeAccounts { .. } => "DescribeAccounts",
            Self::DescribeInstanceAttribute { .. } => "DescribeInstanceAttribute",
            Self::DescribeInstances { .. } => "DescribeInstances",
            Self::OfStore { action, .. } => action,
        }
    }

    /// The version of the API that knows the action.
    pub(super) const fn version(&self) -> &'static str {
        match self {
            Self::OfStore { .. } => STORE_VERSION,
            Self::ModifyAccountPassword { .. }
            | Self::ResetAccountPassword { .. }
            | Self::ModifyInstanceAttribute { .. }
            | Self::DescribeAccounts { .. }
            | Self::DescribeInstanceAttribute { .. }
            | Self::DescribeInstances { .. } => VERSION,
        }
    }

    /// Whether it changes anything.
    pub(super) const fn changes(&self) -> bool {
        match self {
            Self::OfStore { writes, .. } => *writes,
            Self::ModifyAccountPassword { .. }
            | Self::ResetAccountPassword { .. }
            | Self::ModifyInstanceAttribute { .. }
            | Self::DescribeAccounts { .. }
            | Self::DescribeInstanceAttribute { .. }
            | Self::DescribeInstances { .. } => self.call().is_some(),
        }
    }

    /// Whether a parameter stands in the body where the others of r-kvstore's calls stand in the query, or not. The vendor's SDK for KMS puts the
    /// value of a secret there and everything else into the query.
    pub(super) fn stands_in_body(&self, name: &str, in_query: bool) -> bool {
        match self {
            Self::OfStore { .. } => name == SECRET_DATA,
            Self::ModifyAccountPassword { .. }
            | Self::ResetAccountPassword { .. }
            | Self::ModifyInstanceAttribute { .. }
            | Self::DescribeAccounts { .. }
            | Self::DescribeInstanceAttribute { .. }
            | Self::DescribeInstances { .. } => !in_query,
        }
    }

    /// Which change of a password it asks for; none where it only looks, or speaks to the secret store.
    pub(super) const fn call(&self) -> Option<Call> {
        match self {
            Self::ModifyAccountPassword { .. } => Some(Call::Modify),
            Self::ResetAccountPassword { .. } | Self::ModifyInstanceAttribute { .. } => Some(Call::Reset),
            Self::DescribeAccounts { .. }
            | Self::DescribeInstanceAttribute { .. }
            | Self::DescribeInstances { .. }
            | Self::OfStore { .. } => None,
        }
    }

    /// The parameters by the vendor's names.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &'a str)> {
        match *self {
            Self::ModifyAccountPassword { instance, account, old, new } => vec![
                ("InstanceId", instance),
                ("AccountName", account),
                ("OldAccountPassword", old),
                ("NewAccountPassword", new),
            ],
            Self::ResetAccountPassword { instance, account, new } => {
                vec![("InstanceId", instance), ("AccountName", account), ("AccountPassword", new)]
            }
            Self::ModifyInstanceAttribute { instance, new } => vec![("InstanceId", instance), ("NewPassword", new)],
            Self::DescribeAccounts { instance, account } => vec![("InstanceId", instance), ("AccountName", account)],
            Self::DescribeInstanceAttribute { instance } => vec![("InstanceId", instance)],
            Self::DescribeInstances { region, tags, page, size } => {
                let mut all = vec![("RegionId", region), ("PageNumber", page), ("PageSize", size)];
                // What is beyond the vendor's limit narrows the list afterwards.
                for ((key_name, value_name), (key, value)) in TAGS.into_iter().zip(tags) {
                    all.extend([(key_name, key.as_str()), (value_name, value.as_str())]);
                }
                all
            }
            Self::OfStore { parameters, .. } => parameters.to_vec(),
        }
    }
}

/// The answer of the calls that change a password: nothing but a request id.
#[derive(Deserialize)]
pub(super) struct Accepted {}

/// The answer of DescribeInstanceAttribute.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instances {
    instances: InstanceList,
}

#[derive(Deserialize)]
struct InstanceList {
    #[serde(rename = "DBInstanceAttribute")]
    rows: Vec<InstanceRow>,
}

/// What a rotation needs to know of an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InstanceRow {
    pub(super) instance_id: String,
    instance_status: String,
    vpc_auth_mode: Option<String>,
    engine_version: Option<String>,
}

impl Instances {
    /// The row of this instance.
    pub(super) fn of(self, instance: &str) -> Option<InstanceRow> {
        self.instances.rows.into_iter().find(|row| row.instance_id == instance)
    }
}

impl InstanceRow {
    /// Whether a change may be asked for (vendor document "DescribeInstanceAttribute", fields InstanceStatus, VpcAuthMode and EngineVersion).
    pub(super) fn condition(&self) -> Condition {
        let busy = |why: &str| Condition::Busy(why.to_owned());
        match self.instance_status.as_str() {
            "Released" => return Condition::Gone("the instance is released".to_owned()),
            "Inactive" => return Condition::Gone("the instance is disabled".to_owned()),
            _ => {}
        }
        if self.vpc_auth_mode.as_deref() == Some("Close") {
            return Condition::PasswordFree;
        }
        if let Some(version) = self.engine_version.as_deref().filter(|version| is_too_old(version)) {
            let what = format!("the engine {version} is older than {FIRST_ENGINE}.0 and knows no such call");
            return Condition::Unsupported(what);
        }
        match self.instance_status.as_str() {
            "Normal" => Condition::Ready,
            "Creating" => busy("the instance is being created"),
            "Changing" | "Transforming" => busy("the instance's configuration is being changed"),
            "Flushing" => busy("the instance is being flushed"),
            "Migrating" => busy("the instance is being moved"),
            "BackupRecovering" => busy("a backup is being restored"),
            "MinorVersionUpgrading" | "MajorVersionUpgrading" => busy("the instance's version is being upgraded"),
            "NetworkModifying" => busy("the instance's network is being changed"),
            "SSLModifying" => busy("the instance's TLS certificate is being changed"),
            "Unavailable" => busy("the instance is unavailable"),
            "Error" => busy("the instance reports an error"),
            other => Condition::Busy(format!("the instance has the unknown status {other:?}")),
        }
    }
}

/// What is no version is not too old.
fn is_too_old(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < FIRST_ENGINE)
}

/// The answer of DescribeAccounts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Accounts {
    accounts: AccountList,
}

#[derive(Deserialize)]
struct AccountList {
    #[serde(rename = "Account")]
    rows: Vec<AccountRow>,
}

/// One account of an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccountRow {
    account_name: String,
    account_status: Option<String>,
}

impl Accounts {
    /// The row of this account. Names differ by case on some engines and not on others, so the very same name goes first.
    pub(super) fn of(self, account: &str) -> Option<AccountRow> {
        let alike = |row: &AccountRow| row.account_name.eq_ignore_ascii_case(account);
        let mut rows: Vec<AccountRow> = self.accounts.rows.into_iter().filter(alike).collect();
        let at = rows.iter().position(|row| row.account_name == account).unwrap_or(0);
        (at < rows.len()).then(|| rows.swap_remove(at))
    }
}

impl AccountRow {
    /// Whether a change of this account is under way: everything but "Available" means so.
    pub(super) fn changing(&self) -> bool {
        self.account_status.as_deref().is_some_and(|status| status != "Available")
    }
}

/// Of an error both spellings occur (the vendor's own SDK reads both), so neither may stand in a success.
#[derive(Deserialize)]
struct Success {
    #[serde(rename = "RequestId")]
    request_id: Option<String>,
    #[serde(rename = "Code", alias = "code")]
    code: Option<serde_json::Value>,
}

/// Both spellings occur (the vendor's own SDK reads both).
#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "Code", alias = "code")]
    code: String,
    #[serde(rename = "Message", alias = "message", default)]
    message: String,
    #[serde(rename = "RequestId", alias = "requestId", default)]
    request_id: String,
}

/// Reads one answer (vendor document "V3 request structure and signature"): HTTP 200 with the whole success and a request id, or HTTP 400 and
/// above with an error code, in JSON or XML. Everything else says nothing about what happened.
pub(super) fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Spoken<T> {
    match status {
        200 => success(body),
        400..=599 => failure(status, body),
        _ => Spoken::Nonsense(format!("HTTP status {status}")),
    }
}

fn success<T: DeserializeOwned>(body: &[u8]) -> Spoken<T> {
    // The parser does not look at texts that nobody asked for.
    if std::str::from_utf8(body).is_err() {
        return Spoken::Nonsense("an answer that is not UTF-8".to_owned());
    }
    let head: Success = match serde_json::from_slice(body) {
        Ok(head) => head,
        Err(error) => return Spoken::Nonsense(misread(&error)),
    };
    if head.code.is_some() {
        return Spoken::Nonsense("an answer that is a success and an error at once".to_owned());
    }
    if head.request_id.is_none_or(|id| id.is_empty()) {
        return Spoken::Nonsense("an answer without a request id".to_owned());
    }
    match serde_json::from_slice(body) {
        Ok(value) => Spoken::Value(value),
        Err(error) => Spoken::Nonsense(misread(&error)),
    }
}

fn failure<T>(status: u16, body: &[u8]) -> Spoken<T> {
    let failure = match serde_json::from_slice(body) {
        Ok(failure) => Some(failure),
        Err(_) => std::str::from_utf8(body).ok().and_then(xml_failure),
    };
    match failure {
        Some(Failure { code, message, request_id }) if !code.is_empty() => Spoken::Error { code, message, request_id },
        Some(_) | None => Spoken::Nonsense(format!("HTTP status {status} without an error code")),
    }
}

/// An error of the gateway in XML: an `Error` with a few elements of plain text. Anything more is not read.
fn xml_failure(text: &str) -> Option<Failure> {
    let inner = element(text, "Error")?;
    let optional = |name: &str| element(inner, name).unwrap_or_default().to_owned();
    let code = element(inner, "Code").filter(|code| !code.contains(['<', '&']))?.to_owned();
    Some(Failure { code, message: optional("Message"), request_id: optional("RequestId") })
}

/// What stands in the only element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, after) = text.split_once(&open)?;
    let (inside, rest) = after.split_once(&close)?;
    (!inside.contains(&open) && !rest.contains(&open)).then_some(inside.trim())
}

/// serde's own words may repeat what the cloud sent, so only the place is named.
fn misread(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "an answer of the wrong shape",
        serde_json::error::Category::Syntax => "an answer that is not JSON",
        serde_json::error::Category::Eof | serde_json::error::Category::Io => "an answer that breaks off",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_success_is_a_success_and_only_a_code_an_error() {
        let deep = format!("{{\"RequestId\":\"r\",\"X\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        let xml = "<?xml version='1.0'?><Error><RequestId>r</RequestId><Code>A.B</Code><Message>m</Message></Error>";
        let two = "<Error><Code>A.B</Code><Code>C.D</Code></Error>";
        let rows = [
            (200, r#"{"RequestId":"r"}"#, "value"),
            (200, r#"{"RequestId":"r","New":{"a":[1]}}"#, "value"),
            (200, r#"{"RequestId":"r","code":"A.B"}"#, "nonsense"),
            (200, r#"{"RequestId":""}"#, "nonsense"),
            (200, "{}", "nonsense"),
            (200, r#"{"RequestId":"r","Code":"A.B"}"#, "nonsense"),
            (200, r#"{"RequestId":7}"#, "nonsense"),
            (200, r#"{"RequestId":"r","RequestId":"s"}"#, "nonsense"),
            (200, r#"{"RequestId":"r"} trailing"#, "nonsense"),
            (200, r#"{"RequestId":"#, "nonsense"),
            (200, "<html>hunter2</html>", "nonsense"),
            (200, xml, "nonsense"),
            (200, "[]", "nonsense"),
            (200, "", "nonsense"),
            // What nobody asked for is passed over, however deep it is.
            (200, deep.as_str(), "value"),
            (202, r#"{"RequestId":"r"}"#, "nonsense"),
            (302, "", "nonsense"),
            (400, r#"{"RequestId":"r","Code":"A.B","Message":"m","HostId":"h","Recommend":"u"}"#, "error A.B m r"),
            (400, r#"{"requestId":"r","code":"A.B","message":"m"}"#, "error A.B m r"),
            (403, r#"{"Code":"A.B"}"#, "error A.B  "),
            (503, r#"{"Code":"A.B","RequestId":"r"}"#, "error A.B  r"),
            (400, xml, "error A.B m r"),
            (400, two, "nonsense"),
            (400, "<Error><Code>A&#46;B</Code></Error>", "nonsense"),
            (400, "<Error><Message>hunter2</Message></Error>", "nonsense"),
            (400, "<html><Code>A.B</Code></html>", "nonsense"),
            (400, r#"{"Message":"hunter2"}"#, "nonsense"),
            (400, r#"{"Code":""}"#, "nonsense"),
            (400, r#"{"Code":400}"#, "nonsense"),
            (400, "", "nonsense"),
            (502, "bad gateway", "nonsense"),
            (600, r#"{"Code":"A.B"}"#, "nonsense"),
        ];
        for (status, text, expected) in rows {
            let got = match read::<Accepted>(status, text.as_bytes()) {
                Spoken::Value(Accepted {}) => "value".to_owned(),
                Spoken::Error { code, message, request_id } => format!("error {code} {message} {request_id}"),
                Spoken::Nonsense(what) => {
                    assert!(!what.contains("hunter2"), "{what}");
                    "nonsense".to_owned()
                }
            };
            assert_eq!(got, expected, "{status} {text}");
        }
    }

    fn condition(status: &str, mode: Option<&str>, version: Option<&str>) -> Condition {
        let row = InstanceRow {
            instance_id: String::new(),
            instance_status: status.to_owned(),
            vpc_auth_mode: mode.map(str::to_owned),
            engine_version: version.map(str::to_owned),
        };
        row.condition()
    }

    #[test]
    fn each_instance_row_has_its_condition() {
        use std::mem::discriminant;
        let (busy, gone) = (Condition::Busy(String::new()), Condition::Gone(String::new()));
        let unsupported = Condition::Unsupported(String::new());
        let rows = [
            ("Normal", Some("Open"), Some("5.0"), &Condition::Ready),
            ("Normal", None, None, &Condition::Ready),
            ("Normal", Some("Open"), Some("10.0"), &Condition::Ready),
            ("Normal", Some("Open"), Some("new"), &Condition::Ready),
            ("Normal", Some("Open"), Some("2.8"), &unsupported),
            ("Normal", Some("Close"), Some("7.0"), &Condition::PasswordFree),
            ("Changing", Some("Close"), Some("7.0"), &Condition::PasswordFree),
            ("Released", Some("Close"), None, &gone),
            ("Inactive", Some("Open"), None, &gone),
            ("Novel", Some("Open"), None, &busy),
            ("normal", Some("Open"), None, &busy),
        ];
        for (status, mode, version, expected) in rows {
            let got = condition(status, mode, version);
            assert_eq!(discriminant(&got), discriminant(expected), "{status} {mode:?} {version:?}: {got:?}");
        }
        for status in [
            "Creating",
            "Changing",
            "Flushing",
            "Transforming",
            "Unavailable",
            "Error",
            "Migrating",
            "BackupRecovering",
            "MinorVersionUpgrading",
            "NetworkModifying",
            "SSLModifying",
            "MajorVersionUpgrading",
        ] {
            let Condition::Busy(why) = condition(status, Some("Open"), None) else { panic!("{status}") };
            assert!(!why.contains("unknown"), "{status}");
        }
    }

    #[test]
    fn rows_are_found_by_name() {
        let json = r#"{"Accounts":{"Account":[
            {"AccountName":"APP","AccountStatus":"Available"},
            {"AccountName":"app","AccountStatus":"Unavailable"},
            {"AccountName":"Other"}]}}"#;
        for (name, expected) in [
            ("app", Some(("app", true))),
            ("APP", Some(("APP", false))),
            ("aPP", Some(("APP", false))),
            ("other", Some(("Other", false))),
            ("ap", None),
        ] {
            let accounts: Accounts = serde_json::from_str(json).unwrap();
            let row = accounts.of(name);
            let found = row.as_ref().map(|row| (row.account_name.as_str(), row.changing()));
            assert_eq!(found, expected, "{name}");
        }
        let json = r#"{"Instances":{"DBInstanceAttribute":[{"InstanceId":"r-1","InstanceStatus":"Normal"}]}}"#;
        let instances = || serde_json::from_str::<Instances>(json).unwrap();
        assert_eq!(instances().of("r-1").map(|row| row.condition()), Some(Condition::Ready));
        assert!(instances().of("r-2").is_none());
    }
}
