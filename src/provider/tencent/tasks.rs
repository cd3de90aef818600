//! Tasks: what the cloud says about the work that an accepted call began, and how a lost one is found again.

use super::wire::PAGE;
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TaskId;
use crate::rotation::answer::TaskStatus;
use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// "Reset password" and "change account" in the vendor's list of task types.
const PASSWORD_TASKS: [&str; 2] = ["007", "037"];
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
    pub(super) task_types: &'a [&'a str],
    pub(super) begin_time: String,
    pub(super) end_time: String,
    pub(super) limit: usize,
}

impl<'a> OfTasks<'a> {
    /// The instance's password tasks between two moments, in whatever zone the cloud reads them.
    pub(super) fn between(instance_id: &'a str, from: Moment, to: Moment, zone: Tz) -> Self {
        let text = |when: Moment| when.utc().with_timezone(&zone).format(TIME_FORM).to_string();
        Self {
            instance_id,
            task_types: &PASSWORD_TASKS,
            begin_time: text(from - ZONE_SPAN),
            end_time: text(to + ZONE_SPAN),
            limit: PAGE,
        }
    }
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
            other => Err(Fault::new(
                Kind::Unanswered,
                format!("Tencent DescribeTaskInfo: the task has the unknown state {:?}", scrubbed(other)),
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
    /// Our task: the newest password task of the instance that began between the two moments, "reset password" before "change account",
    /// because the latter may concern another account. Times are read in `zone`.
    ///
    /// # Errors
    /// No evidence this time: an incomplete list, an unknown result, an unfinished task whose start cannot be read, or no task in `zone` but one
    /// that would fit if the cloud wrote its times in UTC. The last is not guessed, since it may as well be the rotation of some hours ago.
    pub(super) fn ours(
        &self,
        instance: &str,
        from: Moment,
        to: Moment,
        zone: Tz,
    ) -> Result<Option<(TaskId, TaskStatus)>, Fault> {
        let no_evidence = |what: String| Fault::new(Kind::Unanswered, format!("Tencent DescribeTaskList: {what}"));
        if self.total_count > self.tasks.len() {
            return Err(no_evidence(format!("{} tasks, more than one page of {PAGE}", self.total_count)));
        }
        let wanted = |row: &&TaskRow| {
            PASSWORD_TASKS.contains(&row.task_type.as_str())
                && row.instance_id.as_deref().is_none_or(|of| of == instance)
        };
        let within = |row: &TaskRow, zone: Tz| row.began(zone).is_some_and(|began| from <= began && began <= to);
        let rows: Vec<&TaskRow> = self.tasks.iter().filter(wanted).collect();
        let newest = PASSWORD_TASKS.into_iter().find_map(|kind| {
            rows.iter()
                .filter(|row| row.task_type == kind && within(row, zone))
                .max_by_key(|row| (row.began(zone), row.task_id))
        });
        if let Some(row) = newest {
            let status = row
                .status()
                .ok_or_else(|| no_evidence(format!("task {} has the unknown result {}", row.task_id, row.result)))?;
            return Ok(Some((TaskId(row.task_id), status)));
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

impl TaskRow {
    fn began(&self, zone: Tz) -> Option<Moment> {
        let local = NaiveDateTime::parse_from_str(self.start_time.as_deref()?.trim(), TIME_FORM).ok()?;
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

    #[test]
    fn requests_are_written_as_the_vendor_reads_them() {
        let text =
            |body: Result<zeroize::Zeroizing<Vec<u8>>, Fault>| String::from_utf8(body.unwrap().to_vec()).unwrap();
        assert_eq!(text(body(&OfTask { task_id: 16661 })), r#"{"TaskId":16661}"#);
        let tasks = OfTasks::between(
            "crs-1",
            Moment::from_seconds(1_735_689_600),
            Moment::from_seconds(1_735_689_660),
            SHANGHAI,
        );
        assert_eq!(
            text(body(&tasks)),
            r#"{"InstanceId":"crs-1","TaskTypes":["007","037"],"BeginTime":"2024-12-31 18:00:00","EndTime":"2025-01-01 22:01:00","Limit":100}"#
        );
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
            let got = list.ours("crs-1", from, to, zone);
            let got = got.map(|found| found.map(|(id, status)| (id.0, status))).map_err(drop);
            assert_eq!(got, expected, "{json} {zone}");
        }
        let cut: Tasks = serde_json::from_str(r#"{"Tasks":[],"TotalCount":101}"#).unwrap();
        assert!(cut.ours("crs-1", from, to, SHANGHAI).is_err());
    }
}
