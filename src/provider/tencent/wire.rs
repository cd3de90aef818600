//! Requests and answers of TencentDB for Redis, API version 2018-04-12, as typed structs. A body with a password is never a free-form value.

use super::call::Product;
use crate::fault::{Fault, Kind};
use crate::name::{RotationId, TaskId};
use crate::provider::outcome::Spoken;
use crate::provider::{Condition, InstancePolicy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The product whose every action here is.
pub(super) const PRODUCT: Product = Product { service: "redis", version: "2018-04-12" };
/// The content type, as signed.
pub(super) const CONTENT_TYPE: &str = "application/json";
/// The default account, the one that ModifyInstancePassword and ResetPassword serve.
pub const DEFAULT_ACCOUNT: &str = "root";
/// The most accounts or tasks asked for in one page (vendor's maximum).
pub(super) const PAGE: usize = 100;
/// The first size of a body's buffer, in bytes: larger than any body here, since growing would leave an unwiped copy behind.
const BODY_SIZE: usize = 4096;
/// ModifyInstancePassword. EncryptPassword is left out everywhere: the vendor documents no method for it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Modify<'a> {
    pub(super) instance_id: &'a str,
    pub(super) old_password: &'a str,
    pub(super) password: &'a str,
}

/// ResetPassword. NoAuth is left out, which means password login.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Reset<'a> {
    pub(super) instance_id: &'a str,
    pub(super) password: &'a str,
}

/// DescribeInstances and DescribeInstancePasswordPolicy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfInstance<'a> {
    pub(super) instance_id: &'a str,
}

/// The answer of the calls that start a task.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Started {
    task_id: i64,
}

impl Started {
    /// The task, unless the number says that there is none.
    pub(super) fn task(&self) -> Option<TaskId> {
        (self.task_id > 0).then_some(TaskId(self.task_id))
    }
}

/// The answer of DescribeInstances.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instances {
    pub(super) instance_set: Vec<InstanceRow>,
}

/// What a rotation needs to know of an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InstanceRow {
    pub(super) instance_id: String,
    status: i64,
    #[serde(rename = "Type")]
    kind: Option<i64>,
    engine: Option<String>,
    no_auth: Option<bool>,
}

impl InstanceRow {
    /// Whether a change may be asked for (vendor document "DescribeInstances", fields Status, NoAuth and Type).
    pub(super) fn condition(&self) -> Condition {
        match self.status {
            -2 => return Condition::Gone("the instance is isolated".to_owned()),
            -3 => return Condition::Gone("the instance is to be deleted".to_owned()),
            _ => {}
        }
        if self.kind == Some(200) {
            return Condition::Unsupported("a Memcached instance has no Redis password".to_owned());
        }
        if self.no_auth == Some(true) {
            return Condition::PasswordFree;
        }
        match self.status {
            2 => Condition::Ready,
            0 => Condition::Busy("the instance is being initialised".to_owned()),
            1 => Condition::Busy("another operation runs on the instance".to_owned()),
            other => Condition::Busy(format!("the instance has the unknown status {other}")),
        }
    }

    /// Whether the engine knows accounts beside the default one: Redis 2.8 does not (vendor document "Managing Account").
    pub(super) fn has_accounts(&self) -> bool {
        !matches!(self.kind, Some(2 | 5))
    }

    /// The engine's family: `redis`, `ckv`, `valkey` or `memcached`.
    pub(super) fn engine(&self) -> &'static str {
        match self.kind {
            Some(3 | 4) => "ckv",
            Some(19..=22) => "valkey",
            Some(200) => "memcached",
            Some(_) | None => match &self.engine {
                Some(name) if name.to_ascii_lowercase().contains("ckv") => "ckv",
                Some(_) | None => "redis",
            },
        }
    }
}

/// The answer of DescribeInstancePasswordPolicy.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policies {
    password_policy: Option<PolicyRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyRow {
    enabled: bool,
    min_letter_count: Option<u32>,
    min_digit_count: Option<u32>,
    min_special_count: Option<u32>,
    min_length: Option<u32>,
}

impl Policies {
    /// The policy, where one is in force.
    pub(super) fn policy(&self) -> Option<InstancePolicy> {
        let row = self.password_policy.as_ref().filter(|row| row.enabled)?;
        Some(InstancePolicy {
            letters: row.min_letter_count.unwrap_or(0),
            digits: row.min_digit_count.unwrap_or(0),
            specials: row.min_special_count.unwrap_or(0),
            length: row.min_length.unwrap_or(0),
        })
    }
}

/// The body of a request, in a buffer that is wiped.
///
/// # Errors
/// `Bug`: these structs hold texts and numbers only, which JSON can always express.
pub(super) fn body(request: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_SIZE));
    match serde_json::to_writer(&mut *body, request) {
        Ok(()) => Ok(body),
        Err(_) => Err(Fault::new(Kind::Bug, "A request to Tencent Cloud cannot be written as JSON")),
    }
}

/// The rotation's id in the form of a UUID, which is what the vendor's own SDK sends as trace id.
pub(super) fn trace_id(rotation: RotationId) -> Option<String> {
    let ulid::Ulid(bits) = ulid::Ulid::from_string(&rotation.to_string()).ok()?;
    let hex = format!("{bits:032x}");
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<T> {
    response: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    error: Option<ErrorRow>,
    request_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorRow {
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads one answer (vendor document "Error Codes"): HTTP 200 with either an error or the whole success and a request id. Everything else
/// says nothing about what happened.
pub(super) fn read<T: DeserializeOwned>(status: u16, body: &[u8]) -> Spoken<T> {
    if status != 200 {
        return Spoken::Nonsense(format!("HTTP status {status}"));
    }
    if body.is_empty() {
        return Spoken::Nonsense("an empty answer".to_owned());
    }
    // The parser does not look at texts that nobody asked for.
    if std::str::from_utf8(body).is_err() {
        return Spoken::Nonsense("an answer that is not UTF-8".to_owned());
    }
    // serde's own words may repeat what the cloud sent, so only the place is named.
    let misread = |error: &serde_json::Error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "an answer of the wrong shape",
            serde_json::error::Category::Syntax => "an answer that is not JSON",
            serde_json::error::Category::Eof | serde_json::error::Category::Io => "an answer that breaks off",
        };
        format!("{what} (line {}, column {})", error.line(), error.column())
    };
    let outcome: Outcome = match serde_json::from_slice::<Envelope<Outcome>>(body) {
        Ok(envelope) => envelope.response,
        Err(error) => return Spoken::Nonsense(misread(&error)),
    };
    let request_id = outcome.request_id.unwrap_or_default();
    if let Some(ErrorRow { code, message }) = outcome.error {
        return Spoken::Error { code, message, request_id };
    }
    if request_id.is_empty() {
        return Spoken::Nonsense("an answer without a request id".to_owned());
    }
    match serde_json::from_slice::<Envelope<T>>(body) {
        Ok(envelope) => Spoken::Value(envelope.response),
        Err(error) => Spoken::Nonsense(misread(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_the_vendor_reads_them() {
        let modify = Modify { instance_id: "crs-5a4p0000", old_password: "OldPassw0rd!01", password: "a\"\\b" };
        let text = |body: Result<Zeroizing<Vec<u8>>, Fault>| String::from_utf8(body.unwrap().to_vec()).unwrap();
        assert_eq!(
            text(body(&modify)),
            r#"{"InstanceId":"crs-5a4p0000","OldPassword":"OldPassw0rd!01","Password":"a\"\\b"}"#
        );
        let reset = Reset { instance_id: "crs-1", password: "p" };
        assert_eq!(text(body(&reset)), r#"{"InstanceId":"crs-1","Password":"p"}"#);
    }

    #[test]
    fn the_rotation_travels_as_a_uuid() {
        let rotation = "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap();
        assert_eq!(trace_id(rotation).as_deref(), Some("01563e3a-b5d3-d676-4c61-efb99302bd5b"));
    }

    #[test]
    fn only_a_whole_success_is_a_success() {
        let deep = format!("{{\"Response\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        let rows = [
            (200, r#"{"Response":{"TaskId":7,"RequestId":"r"}}"#, "value 7"),
            (200, r#"{"Response":{"TaskId":7,"RequestId":"r","DeprecatedWarning":{"a":[1]}}}"#, "value 7"),
            (200, r#"{"Response":{"Error":{"Code":"A.B","Message":"m"},"RequestId":"r"}}"#, "error A.B"),
            (200, r#"{"Response":{"Error":{"Code":"A.B"},"TaskId":7}}"#, "error A.B"),
            (200, r#"{"Response":{"TaskId":7}}"#, "nonsense"),
            (200, r#"{"Response":{"RequestId":"r"}}"#, "nonsense"),
            (200, r#"{"Response":{"TaskId":"7","RequestId":"r"}}"#, "nonsense"),
            (200, r#"{"Response":{"TaskId":7,"TaskId":8,"RequestId":"r"}}"#, "nonsense"),
            (200, r#"{"Response":{"Error":"busy","RequestId":"r"}}"#, "nonsense"),
            (200, r#"{"Response":{"Error":{"Message":"m"},"TaskId":7,"RequestId":"r"}}"#, "nonsense"),
            (200, r#"{"Response":null}"#, "nonsense"),
            (200, r#"{"TaskId":7,"RequestId":"r"}"#, "nonsense"),
            (200, r#"{"Response":{"TaskId":7,"RequestId":"r"}} trailing"#, "nonsense"),
            (200, r#"{"Response":{"TaskId":7,"Requ"#, "nonsense"),
            (200, "<html>hunter2</html>", "nonsense"),
            (200, "[]", "nonsense"),
            (200, "", "nonsense"),
            (200, deep.as_str(), "nonsense"),
            (202, r#"{"Response":{"TaskId":7,"RequestId":"r"}}"#, "nonsense"),
            (302, "", "nonsense"),
            (400, r#"{"Response":{"Error":{"Code":"A.B","Message":"m"}}}"#, "nonsense"),
            (502, "bad gateway", "nonsense"),
        ];
        for (status, text, expected) in rows {
            let got = match read::<Started>(status, text.as_bytes()) {
                Spoken::Value(started) => format!("value {}", started.task_id),
                Spoken::Error { code, .. } => format!("error {code}"),
                Spoken::Nonsense(what) => {
                    assert!(!what.contains("hunter2"), "{what}");
                    "nonsense".to_owned()
                }
            };
            assert_eq!(got, expected, "{status} {text}");
        }
    }

    #[test]
    fn each_instance_row_has_its_condition() {
        let busy = |why: &str| Condition::Busy(why.to_owned());
        let rows = [
            (2, 8, false, Condition::Ready),
            (0, 8, false, busy("the instance is being initialised")),
            (1, 8, false, busy("another operation runs on the instance")),
            (-2, 8, true, Condition::Gone("the instance is isolated".to_owned())),
            (-3, 8, false, Condition::Gone("the instance is to be deleted".to_owned())),
            (7, 8, false, busy("the instance has the unknown status 7")),
            (2, 8, true, Condition::PasswordFree),
            (1, 8, true, Condition::PasswordFree),
            (2, 200, true, Condition::Unsupported("a Memcached instance has no Redis password".to_owned())),
        ];
        for (status, kind, no_auth, expected) in rows {
            let row = InstanceRow {
                instance_id: String::new(),
                status,
                kind: Some(kind),
                engine: None,
                no_auth: Some(no_auth),
            };
            assert_eq!(row.condition(), expected, "{status} {kind} {no_auth}");
        }
    }

    #[test]
    fn each_type_has_its_engine() {
        let engine = |kind: Option<i64>, name: Option<&str>| {
            InstanceRow { instance_id: String::new(), status: 2, kind, engine: name.map(str::to_owned), no_auth: None }
                .engine()
        };
        for (kind, name, expected) in [
            (Some(2), None, "redis"),
            (Some(3), None, "ckv"),
            (Some(4), Some("Redis"), "ckv"),
            (Some(17), Some("Redis"), "redis"),
            (Some(19), None, "valkey"),
            (Some(22), None, "valkey"),
            (Some(200), None, "memcached"),
            (Some(999), Some("CKV"), "ckv"),
            (None, None, "redis"),
        ] {
            assert_eq!(engine(kind, name), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_policy_counts_only_when_it_is_in_force() {
        let policy = |json: &str| serde_json::from_str::<Policies>(json).unwrap().policy();
        let on = r#"{"PasswordPolicy":{"Enabled":true,"MinLetterCount":2,"MinDigitCount":3,"MinSpecialCount":1,"MinLength":12}}"#;
        let expected = InstancePolicy { letters: 2, digits: 3, specials: 1, length: 12 };
        assert_eq!(policy(on), Some(expected));
        assert_eq!(policy(&on.replace("true", "false")), None);
        assert_eq!(policy(r#"{"PasswordPolicy":null}"#), None);
        assert_eq!(policy("{}"), None);
    }
}
