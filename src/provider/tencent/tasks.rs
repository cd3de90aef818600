//! Tasks: what the cloud says about the work that an accepted call began, and how a lost one is found again.

use super::accounts::AccountRow;
use super::wire::PAGE;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TaskId;
use crate::provider::{Address, Condition, Mode};
use crate::rotation::answer::TaskStatus;
use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// "Reset password" in the vendor's list of task types.
const RESET: &str = "007";
/// "Change account" there. It does not say of which account.
const CHANGE_ACCOUNT: &str = "037";
/// The tasks that set a password by the calls for the default account, the likelier one first: no page says which call makes which.
const OF_DEFAULT_ACCOUNT: &[&str] = &[RESET, CHANGE_ACCOUNT];
/// The tasks of ModifyInstanceAccount.
const OF_ACCOUNT: &[&str] = &[CHANGE_ACCOUNT];
/// The vendor's form of times.
const TIME_FORM: &str = "%Y-%m-%d %H:%M:%S";
/// How far any zone's clock is from UTC at most: the task list is asked for this much more on both sides, because the page does not say which
/// zone it reads times in. What comes back is compared exactly.
const ZONE_SPAN: Duration = Duration::from_secs(14 * 3_600);

/// DescribeTaskInfo.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfTask {
    pub(super) task_id: i64,
}

/// DescribeTaskList.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OfTasks<'a> {
    pub(super) instance_id: &'a str,
    pub(super) task_types: &'static [&'static str],
    pub(super) begin_time: String,
    pub(super) end_time: String,
    pub(super) limit: usize,
}

impl<'a> OfTasks<'a> {
    /// The tasks of an address's instance that this mode's call may have begun between two moments, in whatever zone the cloud reads them.
    pub(super) fn between(address: &'a Address, from: Moment, to: Moment, zone: Tz) -> Self {
        let text = |when: Moment| when.utc().with_timezone(&zone).format(TIME_FORM).to_string();
        Self {
            instance_id: &address.instance,
            task_types: types(address.mode),
            begin_time: text(from - ZONE_SPAN),
            end_time: text(to + ZONE_SPAN),
            limit: PAGE,
        }
    }
}

/// The types of task that this mode's call begins.
const fn types(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::OldPassword | Mode::Reset | Mode::Add => OF_DEFAULT_ACCOUNT,
        Mode::Account => OF_ACCOUNT,
    }
}

/// A time as the cloud writes it, in its own zone.
pub(super) fn local_time(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text.trim(), TIME_FORM).ok()
}

/// The answer of DescribeTaskInfo.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskInfo {
    status: String,
    task_message: Option<String>,
}

impl TaskInfo {
    /// The state, written in whatever case; `scrubbed` cleans the vendor's words.
    ///
    /// # Errors
    /// A state that no page names is no evidence.
    pub(super) fn status(&self, scrubbed: impl Fn(&str) -> String) -> Result<TaskStatus, Fault> {
        match self.status.to_ascii_lowercase().as_str() {
            "preparing" | "running" => Ok(TaskStatus::Running),
            "succeed" => Ok(TaskStatus::Succeeded),
            "failed" | "error" => Ok(TaskStatus::Failed {
                message: Fault::new(Kind::TaskFailed, scrubbed(self.task_message.as_deref().unwrap_or_default())).what,
            }),
            // As the cloud wrote it: in other letters a secret would not be known again.
            _ => Err(Fault::new(
                Kind::Unanswered,
                format!("Tencent DescribeTaskInfo: the task has the unknown state {:?}", scrubbed(&self.status)),
            )),
        }
    }
}

/// The answer of DescribeTaskList.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tasks {
    pub(super) tasks: Vec<TaskRow>,
    pub(super) total_count: usize,
}

/// One task of an instance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaskRow {
    task_id: i64,
    start_time: Option<String>,
    task_type: String,
    instance_id: Option<String>,
    result: i64,
}

impl Tasks {
    /// Our task: the newest password task of the instance that began between the two moments, of the likeliest type first. Times are read in
    /// `zone`. Whether a "change account" is about our account is not known here: see [`OurTask::account_since`].
    ///
    /// # Errors
    /// No evidence this time: an incomplete list, an unknown result, an unfinished task whose start cannot be read, or no task in `zone` but one
    /// that would fit if the cloud wrote its times in UTC. The last is not guessed, since it may as well be the rotation of some hours ago.
    pub(super) fn ours(&self, address: &Address, from: Moment, to: Moment, zone: Tz) -> Result<Option<OurTask>, Fault> {
        let types = types(address.mode);
        let no_evidence = |what: String| Fault::new(Kind::Unanswered, format!("Tencent DescribeTaskList: {what}"));
        if self.total_count > self.tasks.len() {
            return Err(no_evidence(format!("{} tasks, more than one page of {PAGE}", self.total_count)));
        }
        let wanted = |row: &&TaskRow| {
            types.contains(&row.task_type.as_str())
                && row.instance_id.as_deref().is_none_or(|of| of == address.instance)
        };
        let within = |row: &TaskRow, zone: Tz| row.began(zone).is_some_and(|began| from <= began && began <= to);
        let rows: Vec<&TaskRow> = self.tasks.iter().filter(wanted).collect();
        let newest = types.iter().find_map(|kind| {
            rows.iter()
                .filter(|row| row.task_type == *kind && within(row, zone))
                .max_by_key(|row| (row.began(zone), row.task_id))
        });
        if let Some(row) = newest {
            let status = row
                .status()
                .ok_or_else(|| no_evidence(format!("task {} has the unknown result {}", row.task_id, row.result)))?;
            let about_some_account = row.task_type == CHANGE_ACCOUNT;
            let account_since = row.start_time.as_deref().filter(|_| about_some_account).and_then(local_time);
            return Ok(Some(OurTask { id: TaskId(row.task_id), status, account_since }));
        }
        if let Some(row) = rows
            .iter()
            .find(|row| row.began(zone).is_none() && matches!(row.status(), None | Some(TaskStatus::Running)))
        {
            return Err(no_evidence(format!("task {} does not say when it began", row.task_id)));
        }
        if let Some(row) = rows.iter().find(|row| within(row, Tz::UTC)) {
            return Err(no_evidence(format!(
                "task {} would be ours if the cloud wrote its times in UTC and not in {zone}",
                row.task_id
            ))
            .advise("compare the task's time in the cloud console, and set the provider's time-zone if it differs"));
        }
        Ok(None)
    }
}

/// A task that may be ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OurTask {
    pub(super) id: TaskId,
    pub(super) status: TaskStatus,
    /// When it began, by the cloud's clock, where it changes some account of the instance and the account itself must tell whether it is ours.
    pub(super) account_since: Option<NaiveDateTime>,
}

impl OurTask {
    /// The same, once the account said that the task is about it: it reads as changing while the task runs, and as changed since the task began once it
    /// succeeded. Two accounts of one instance would otherwise take each other's tasks for their own.
    ///
    /// # Errors
    /// No evidence this time: the account does not tell, or it tells otherwise.
    pub(super) fn if_about(self, account: &AccountRow) -> Result<(TaskId, TaskStatus), Fault> {
        let ours = match (self.account_since, &self.status) {
            (None, _) => true,
            (Some(_), TaskStatus::Running) => account.changing(),
            (Some(began), TaskStatus::Succeeded) => {
                account.condition() == Condition::Ready && account.was_set_since(began) == Some(true)
            }
            (Some(_), TaskStatus::Failed { .. }) => false,
        };
        if ours {
            return Ok((self.id, self.status));
        }
        let what =
            format!("Tencent DescribeTaskList: task {} changes an account, and nothing says that it is ours", self.id);
        Err(Fault::new(Kind::Unanswered, what))
    }
}

impl TaskRow {
    fn began(&self, zone: Tz) -> Option<Moment> {
        let local = local_time(self.start_time.as_deref()?)?;
        let when = zone.from_local_datetime(&local).earliest()?;
        Some(Moment::from_millis(when.timestamp_millis()))
    }

    fn status(&self) -> Option<TaskStatus> {
        match self.result {
            0 | 1 => Some(TaskStatus::Running),
            2 => Some(TaskStatus::Succeeded),
            4 => Some(TaskStatus::Failed { message: String::new() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::body;
    use super::*;
    use chrono_tz::Tz::{Asia__Shanghai as SHANGHAI, UTC};

    fn address(mode: Mode) -> Address {
        Address { instance: "crs-1".to_owned(), account: "root".to_owned(), mode }
    }

    #[test]
    fn requests_are_written_as_the_vendor_reads_them() {
        let text =
            |body: Result<zeroize::Zeroizing<Vec<u8>>, Fault>| String::from_utf8(body.unwrap().to_vec()).unwrap();
        assert_eq!(text(body(&OfTask { task_id: 16661 })), r#"{"TaskId":16661}"#);
        for (mode, types) in
            [(Mode::OldPassword, r#""007","037""#), (Mode::Reset, r#""007","037""#), (Mode::Account, r#""037""#)]
        {
            let address = address(mode);
            let seconds = Moment::from_seconds;
            let tasks = OfTasks::between(&address, seconds(1_735_689_600), seconds(1_735_689_660), SHANGHAI);
            let expected = format!(
                r#"{{"InstanceId":"crs-1","TaskTypes":[{types}],"BeginTime":"2024-12-31 18:00:00","EndTime":"2025-01-01 22:01:00","Limit":100}}"#
            );
            assert_eq!(text(body(&tasks)), expected);
        }
    }

    #[test]
    fn task_states_are_read_in_any_case_and_unknown_ones_are_no_evidence() {
        for (status, expected) in [
            ("preparing", Some(TaskStatus::Running)),
            ("Running", Some(TaskStatus::Running)),
            ("SUCCEED", Some(TaskStatus::Succeeded)),
            ("failed", Some(TaskStatus::Failed { message: "why".to_owned() })),
            ("Error", Some(TaskStatus::Failed { message: "why".to_owned() })),
            ("succeeded?", None),
            ("", None),
        ] {
            let info = TaskInfo { status: status.to_owned(), task_message: Some("why".to_owned()) };
            assert_eq!(info.status(str::to_owned).ok(), expected, "{status}");
        }
        let odd = TaskInfo { status: "Hunter2".to_owned(), task_message: None };
        let fault = odd.status(|words| words.replace("Hunter2", "[secret]")).unwrap_err();
        assert!(fault.what.ends_with("\"[secret]\""), "{fault}");
    }

    #[test]
    fn our_task_is_found_by_its_start_and_never_guessed() {
        // The window is 12:00:00 to 12:10:00 in Shanghai, 04:00:00 to 04:10:00 in UTC.
        let from = Moment::from_seconds(1_735_704_000);
        let to = Moment::from_seconds(1_735_704_600);
        let task = |id: i64, kind: &str, start: &str, result: i64| {
            format!(
                r#"{{"TaskId":{id},"StartTime":"{start}","TaskType":"{kind}","InstanceId":"crs-1","Result":{result}}}"#
            )
        };
        let inside = "2025-01-01 12:05:00";
        let running = Ok(Some((1, TaskStatus::Running)));
        let done = |id| Ok(Some((id, TaskStatus::Succeeded)));
        let failed = || TaskStatus::Failed { message: String::new() };
        let rows = [
            (vec![], SHANGHAI, Ok(None)),
            (vec![task(1, "007", inside, 0)], SHANGHAI, running.clone()),
            (vec![task(1, "007", inside, 1)], SHANGHAI, running),
            (vec![task(1, "007", inside, 2)], SHANGHAI, done(1)),
            (vec![task(1, "037", inside, 4)], SHANGHAI, Ok(Some((1, failed())))),
            (vec![task(1, "007", inside, 9)], SHANGHAI, Err(())),
            (vec![task(1, "035", inside, 2)], SHANGHAI, Ok(None)),
            (vec![task(1, "007", "2025-01-01 11:59:59", 2)], SHANGHAI, Ok(None)),
            (vec![task(1, "007", "2025-01-01 12:10:01", 2)], SHANGHAI, Ok(None)),
            (vec![task(1, "007", "2025-01-01 12:01:00", 4), task(2, "007", inside, 2)], SHANGHAI, done(2)),
            (vec![task(1, "007", inside, 2), task(2, "037", "2025-01-01 12:06:00", 4)], SHANGHAI, done(1)),
            // An earlier rotation whose start would fit only if the cloud wrote UTC: not evidence, and not absence either.
            (vec![task(1, "007", "2025-01-01 04:05:00", 2)], SHANGHAI, Err(())),
            (vec![task(1, "007", "2025-01-01 04:05:00", 2)], UTC, done(1)),
            (vec![task(1, "007", "", 1)], SHANGHAI, Err(())),
            (vec![task(1, "007", "", 2)], SHANGHAI, Ok(None)),
        ];
        for (tasks, zone, expected) in rows {
            let json = format!(r#"{{"Tasks":[{}],"TotalCount":{}}}"#, tasks.join(","), tasks.len());
            let list: Tasks = serde_json::from_str(&json).unwrap();
            let got = list.ours(&address(Mode::OldPassword), from, to, zone);
            let got = got.map(|found| found.map(|task| (task.id.0, task.status))).map_err(drop);
            assert_eq!(got, expected, "{json} {zone}");
        }
        let both = [task(1, "007", inside, 2), task(2, "037", inside, 1)];
        let list: Tasks = serde_json::from_str(&format!(r#"{{"Tasks":[{}],"TotalCount":2}}"#, both.join(","))).unwrap();
        for (mode, id, about_some_account) in [(Mode::Reset, 1, false), (Mode::Account, 2, true)] {
            let found = list.ours(&address(mode), from, to, SHANGHAI).unwrap().unwrap();
            assert_eq!((found.id.0, found.account_since.is_some()), (id, about_some_account), "{mode:?}");
        }
        let cut: Tasks = serde_json::from_str(r#"{"Tasks":[],"TotalCount":101}"#).unwrap();
        assert!(cut.ours(&address(Mode::OldPassword), from, to, SHANGHAI).is_err());
    }

    #[test]
    fn a_changed_account_says_whether_the_task_was_about_it() {
        let began = local_time("2025-01-01 12:05:00");
        let failed = || TaskStatus::Failed { message: String::new() };
        let rows = [
            (None, TaskStatus::Succeeded, 1, "", true),
            (began, TaskStatus::Running, 1, "2025-01-01 10:00:00", true),
            (began, TaskStatus::Running, 2, "2025-01-01 10:00:00", false),
            (began, TaskStatus::Succeeded, 2, "2025-01-01 12:05:03", true),
            (began, TaskStatus::Succeeded, 2, "2025-01-01 12:04:56", true),
            (began, TaskStatus::Succeeded, 2, "2025-01-01 12:04:54", false),
            (began, TaskStatus::Succeeded, 1, "2025-01-01 12:05:03", false),
            (began, TaskStatus::Succeeded, 2, "", false),
            (began, failed(), 2, "2025-01-01 12:05:03", false),
        ];
        for (account_since, status, account_status, set, ours) in rows {
            let json =
                format!(r#"{{"AccountName":"app","Status":{account_status},"PasswordLastModifiedTime":"{set}"}}"#);
            let account: AccountRow = serde_json::from_str(&json).unwrap();
            let task = OurTask { id: TaskId(1), status: status.clone(), account_since };
            assert_eq!(task.if_about(&account).is_ok(), ours, "{status:?} {json}");
        }
    }
}
