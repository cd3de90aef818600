//! The actions of TencentDB for Redis, version 2018-04-12, that a rotator calls: their names and their parameters.

use super::super::answer::{Fields, Refusal};
use super::super::tags::Wanted;
use serde_json::Value;

/// `X-TC-Version`.
pub(super) const VERSION: &str = "2018-04-12";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    ModifyInstancePassword,
    /// The same under its old, misspelt name, which is still online.
    ModfiyInstancePassword,
    ResetPassword,
    DescribeTaskInfo,
    DescribeTaskList,
    DescribeInstances,
    DescribeInstanceAccount,
    DescribeInstancePasswordPolicy,
}

/// What a parameter's value must be.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Number,
    Flag,
    Texts,
    Numbers,
    /// Objects with a `TagKey` and a `TagValue`.
    Tags,
}

/// A parameter: name, shape, whether it must be there.
type Parameter = (&'static str, Shape, bool);

const ID: Parameter = ("InstanceId", Shape::Text, true);
const OLD: Parameter = ("OldPassword", Shape::Text, true);
const NEW: Parameter = ("Password", Shape::Text, true);
const ENCRYPTED: Parameter = ("EncryptPassword", Shape::Flag, false);
const LIMIT: Parameter = ("Limit", Shape::Number, false);
const OFFSET: Parameter = ("Offset", Shape::Number, false);
const ANY_ID: Parameter = ("InstanceId", Shape::Text, false);

impl Action {
    const ALL: [Self; 8] = [
        Self::ModifyInstancePassword,
        Self::ModfiyInstancePassword,
        Self::ResetPassword,
        Self::DescribeTaskInfo,
        Self::DescribeTaskList,
        Self::DescribeInstances,
        Self::DescribeInstanceAccount,
        Self::DescribeInstancePasswordPolicy,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ModifyInstancePassword => "ModifyInstancePassword",
            Self::ModfiyInstancePassword => "ModfiyInstancePassword",
            Self::ResetPassword => "ResetPassword",
            Self::DescribeTaskInfo => "DescribeTaskInfo",
            Self::DescribeTaskList => "DescribeTaskList",
            Self::DescribeInstances => "DescribeInstances",
            Self::DescribeInstanceAccount => "DescribeInstanceAccount",
            Self::DescribeInstancePasswordPolicy => "DescribeInstancePasswordPolicy",
        }
    }

    fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::ModifyInstancePassword => &[ID, OLD, NEW],
            Self::ModfiyInstancePassword => &[ID, OLD, NEW, ENCRYPTED],
            Self::ResetPassword => &[ID, ("Password", Shape::Text, false), ("NoAuth", Shape::Flag, false), ENCRYPTED],
            Self::DescribeTaskInfo => &[("TaskId", Shape::Number, true)],
            Self::DescribeTaskList => &[
                ANY_ID,
                ("InstanceName", Shape::Text, false),
                LIMIT,
                OFFSET,
                ("TaskTypes", Shape::Texts, false),
                ("BeginTime", Shape::Text, false),
                ("EndTime", Shape::Text, false),
                ("Result", Shape::Numbers, false),
            ],
            Self::DescribeInstances => &[
                ANY_ID,
                ("InstanceIds", Shape::Texts, false),
                LIMIT,
                OFFSET,
                ("Status", Shape::Numbers, false),
                ("Type", Shape::Number, false),
                ("InstanceTags", Shape::Tags, false),
                ("TagKeys", Shape::Texts, false),
            ],
            Self::DescribeInstanceAccount => &[ID, LIMIT, OFFSET],
            Self::DescribeInstancePasswordPolicy => &[ID],
        }
    }
}

/// A request whose parameters are known to the action and of the right shape.
#[derive(Debug)]
pub(in super::super) struct Call {
    pub(super) action: Action,
    parameters: Fields,
}

impl Call {
    /// Reads the body of a request.
    pub(super) fn read(action: Action, body: &[u8]) -> Result<Self, Refusal> {
        let parameters: Fields = serde_json::from_slice(body)
            .map_err(|_| Refusal::new("InvalidParameter", "The request's body is not a JSON object."))?;
        for (name, value) in &parameters {
            let (_, shape, _) =
                action.parameters().iter().find(|(known, _, _)| known == name).ok_or_else(|| {
                    Refusal::new("UnknownParameter", format!("The parameter {name} is not recognized."))
                })?;
            if !shape.fits(value) {
                return Err(Refusal::new("InvalidParameter", format!("The type of {name} is wrong.")));
            }
            if value.as_str().is_some_and(str::is_empty) {
                return Err(Refusal::new("InvalidParameter.EmptyParam", format!("{name} is empty.")));
            }
        }
        for (name, _, required) in action.parameters() {
            if *required && !parameters.contains_key(*name) {
                return Err(Refusal::new("MissingParameter", format!("The parameter {name} is missing.")));
            }
        }
        Ok(Self { action, parameters })
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)?.as_str()
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.parameters.get(name)?.as_i64()
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.parameters.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The texts of a list; `None` where the list is absent or empty, which filters nothing.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let list = self.parameters.get(name)?.as_array()?;
        (!list.is_empty()).then(|| list.iter().filter_map(Value::as_str).collect())
    }

    /// The tags of a list, likewise.
    pub(super) fn tags(&self, name: &str) -> Option<Vec<Wanted<'_>>> {
        let list = self.parameters.get(name)?.as_array()?;
        (!list.is_empty())
            .then(|| list.iter().filter_map(|tag| Some((tag["TagKey"].as_str()?, tag["TagValue"].as_str()))).collect())
    }

    /// The numbers of a list, likewise.
    pub(super) fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        let list = self.parameters.get(name)?.as_array()?;
        (!list.is_empty()).then(|| list.iter().filter_map(Value::as_i64).collect())
    }

    /// `Offset` and `Limit`, where a page holds at most `most` entries and 20 by default.
    pub(super) fn page(&self, most: i64) -> Result<(usize, usize), Refusal> {
        let limit = self.number("Limit").unwrap_or(20);
        let offset = self.number("Offset").unwrap_or(0);
        let in_bounds = (1..=most).contains(&limit) && offset >= 0 && offset % limit.max(1) == 0;
        match (usize::try_from(offset), usize::try_from(limit)) {
            (Ok(offset), Ok(limit)) if in_bounds => Ok((offset, limit)),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(Refusal::new(
                "InvalidParameter.InvalidParameter",
                format!("Limit must be 1 to {most} and Offset a multiple of it."),
            )),
        }
    }
}

impl Shape {
    fn fits(self, value: &Value) -> bool {
        let all = |wanted: fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(wanted));
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_i64(),
            Self::Flag => value.is_boolean(),
            Self::Texts => all(Value::is_string),
            Self::Numbers => all(Value::is_i64),
            Self::Tags => all(|tag| {
                let texts = tag.as_object().is_some_and(|tag| tag.values().all(Value::is_string));
                texts && tag["TagKey"].is_string()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_checked_against_each_action() {
        use Action::*;
        for (action, body, code) in [
            (ModifyInstancePassword, r#"{"InstanceId":"i","OldPassword":"o","Password":"n"}"#, None),
            (ModifyInstancePassword, r#"{"InstanceId":"i","OldPassword":"o"}"#, Some("MissingParameter")),
            (
                ModifyInstancePassword,
                r#"{"InstanceId":"","OldPassword":"o","Password":"n"}"#,
                Some("InvalidParameter.EmptyParam"),
            ),
            (
                ModifyInstancePassword,
                r#"{"InstanceId":"i","OldPassword":"o","Password":"n","EncryptPassword":false}"#,
                Some("UnknownParameter"),
            ),
            (
                ModfiyInstancePassword,
                r#"{"InstanceId":"i","OldPassword":"o","Password":"n","EncryptPassword":false}"#,
                None,
            ),
            (ResetPassword, r#"{"InstanceId":"i","NoAuth":"true"}"#, Some("InvalidParameter")),
            (DescribeTaskInfo, r#"{"TaskId":"7"}"#, Some("InvalidParameter")),
            (DescribeTaskList, r#"{"TaskTypes":["007"],"Result":[2]}"#, None),
            (DescribeTaskList, r#"{"TaskTypes":[7]}"#, Some("InvalidParameter")),
            (DescribeInstances, "{}", None),
            (
                DescribeInstances,
                r#"{"InstanceTags":[{"TagKey":"k","TagValue":"v"},{"TagKey":"k"}],"TagKeys":["k"]}"#,
                None,
            ),
            (DescribeInstances, r#"{"InstanceTags":[{"TagValue":"v"}]}"#, Some("InvalidParameter")),
            (DescribeInstances, r#"{"InstanceTags":{"TagKey":"k"}}"#, Some("InvalidParameter")),
            (DescribeInstances, r#"{"InstanceTags":[{"TagKey":"k","TagValue":7}]}"#, Some("InvalidParameter")),
            (DescribeInstances, "[]", Some("InvalidParameter")),
            (DescribeInstances, "", Some("InvalidParameter")),
        ] {
            assert_eq!(Call::read(action, body.as_bytes()).err().map(|r| r.code).as_deref(), code, "{body}");
        }
    }

    #[test]
    fn pages_have_bounds() {
        for (body, page) in [
            ("{}", Some((0, 20))),
            (r#"{"Limit":100,"Offset":300}"#, Some((300, 100))),
            (r#"{"Limit":101}"#, None),
            (r#"{"Limit":0}"#, None),
            (r#"{"Limit":10,"Offset":5}"#, None),
            (r#"{"Limit":10,"Offset":-10}"#, None),
        ] {
            let call = Call::read(Action::DescribeTaskList, body.as_bytes()).unwrap();
            assert_eq!(call.page(100).ok(), page, "{body}");
        }
    }
}
