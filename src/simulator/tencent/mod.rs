//! TencentDB for Redis: JSON over POST, and status 200 for refusals too (Tencent Cloud API 3.0, "Response structure").

mod actions;
mod read;
mod rules;
mod signature;
mod write;

pub(super) use actions::Call as JsonCall;

use super::answer::{Fields, Refusal, fields};
use super::cloud::{Cloud, How, State};
use super::dialect::{Dialect, Wording};
use super::head::{Head, only};
use super::identity::{Issuer, callers, has_ended};
use super::script::Garbage;
use super::settings::Settings;
use actions::{Action, VERSION};
use hyper::StatusCode;
use serde_json::json;
pub(super) use signature::verify;
use std::sync::Arc;

/// Regions of the vendor's SDK; a region that is none of them does not exist.
const REGIONS: [&str; 22] = [
    "ap-bangkok",
    "ap-beijing",
    "ap-chengdu",
    "ap-chongqing",
    "ap-guangzhou",
    "ap-guangzhou-open",
    "ap-hongkong",
    "ap-jakarta",
    "ap-mumbai",
    "ap-nanjing",
    "ap-seoul",
    "ap-shanghai",
    "ap-shanghai-fsi",
    "ap-shenzhen-fsi",
    "ap-singapore",
    "ap-tokyo",
    "eu-frankfurt",
    "eu-moscow",
    "na-ashburn",
    "na-siliconvalley",
    "na-toronto",
    "sa-saopaulo",
];

impl Dialect for JsonCall {
    fn admit(cloud: &Cloud, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        if head.method != "POST" || head.path != "/" {
            return Err(Refusal::new("InvalidRequest", "Requests are POST to the path /."));
        }
        let settings = &cloud.settings;
        verify(head, body, &callers(cloud, Issuer::Tencent), &settings.service, cloud.clock.published())?;
        if has_ended(cloud, head) {
            return Err(Refusal::new("AuthFailure.TokenFailure", "The session token has expired."));
        }
        let header = |name: &str| {
            only(head.headers, name)
                .ok_or_else(|| Refusal::new("MissingParameter", format!("The header {name} is missing.")))
        };
        let name = header("x-tc-action")?;
        if header("x-tc-version")? != VERSION {
            return Err(Refusal::new("NoSuchVersion", "There is no such version of this API."));
        }
        let mut state = cloud.state();
        let action = Action::named(name)
            .filter(|_| !state.absent.contains(name))
            .ok_or_else(|| Refusal::new("InvalidAction", "There is no such action."))?;
        let region = header("x-tc-region")?;
        if region != settings.region {
            return Err(if REGIONS.contains(&region) {
                Refusal::new("ResourceNotFound.InstanceNotExists", "There is nothing in this region.")
            } else {
                Refusal::new("UnsupportedRegion", "There is no such region.")
            });
        }
        if state.denied.contains(name) {
            return Err(Refusal::new("UnauthorizedOperation.NoCAMAuthed", "No CAM permission for this action."));
        }
        if !state.buckets.admit(action.name(), cloud.clock.uptime(), cloud.clock.now()) {
            return Err(Self::throttled());
        }
        drop(state);
        Self::read(action, body)
    }

    fn action(&self) -> &'static str {
        self.action.name()
    }

    fn instance(&self, state: &State) -> Option<String> {
        let of_task = self.number("TaskId").and_then(|id| state.tasks.get(&id));
        let of_list = || self.texts("InstanceIds").filter(|ids| ids.len() == 1).map(|ids| ids[0]);
        of_task
            .map(|task| task.instance.as_str())
            .or_else(|| self.text("InstanceId"))
            .or_else(of_list)
            .map(str::to_owned)
    }

    fn perform(&self, cloud: &Arc<Cloud>, how: How) -> Result<Fields, Refusal> {
        match self.action {
            Action::ModifyInstancePassword
            | Action::ModfiyInstancePassword
            | Action::ResetPassword
            | Action::ModifyInstanceAccount => {
                let task = cloud.accept(how.course, |state, uptime| write::order(state, self, uptime))?;
                Ok(fields([("TaskId", json!(task))]))
            }
            Action::DescribeTaskInfo
            | Action::DescribeTaskList
            | Action::DescribeInstances
            | Action::DescribeInstanceAccount
            | Action::DescribeInstancePasswordPolicy => {
                let world = read::World {
                    when: cloud.clock.now() - how.age,
                    uptime: cloud.clock.uptime().saturating_sub(how.age),
                    region: &cloud.settings.region,
                    zone_hours: cloud.settings.zone_hours,
                    account_lag: cloud.settings.account_lag,
                };
                read::answer(&cloud.state(), world, self)
            }
        }
    }

    fn word(answer: &Result<Fields, Refusal>, request_id: &str, _settings: &Settings) -> Wording {
        let mut response = match answer {
            Ok(fields) => fields.clone(),
            Err(refusal) => fields([("Error", json!({"Code": refusal.code, "Message": refusal.message}))]),
        };
        response.insert("RequestId".to_owned(), request_id.into());
        Wording { status: StatusCode::OK, retry_after: None, text: json!({"Response": response}).to_string() }
    }

    fn too_large() -> Refusal {
        Refusal::new("RequestSizeLimitExceeded", "The request is too large.")
    }

    fn throttled() -> Refusal {
        Refusal::new("RequestLimitExceeded", "The request frequency exceeds the API's limit.")
    }

    fn wrong_old_password(_settings: &Settings) -> Refusal {
        write::wrong_password()
    }

    fn garbage(shape: Garbage, id: &str) -> String {
        match shape {
            Garbage::NotJson => "<!doctype html><title>Please log in</title>".to_owned(),
            Garbage::NoEnvelope => r#"["TaskId", 1]"#.to_owned(),
            Garbage::NoFields => format!(r#"{{"Response":{{"RequestId":"{id}"}}}}"#),
            Garbage::WrongTypes => {
                format!(
                    r#"{{"Response":{{"RequestId":"{id}","TaskId":"soon","Status":7,"Tasks":{{}},"Accounts":"","InstanceSet":1,"TotalCount":[]}}}}"#
                )
            }
            Garbage::CutOff => format!(r#"{{"Response":{{"RequestId":"{id}","Tas"#),
            Garbage::Empty => String::new(),
        }
    }

    fn endless(id: &str) -> String {
        format!(r#"{{"Response":{{"RequestId":"{id}","TaskId":1,"Padding":""#)
    }
}

fn unknown_instance(id: &str) -> Refusal {
    Refusal::new("ResourceNotFound.InstanceNotExists", format!("There is no instance {id}."))
}
