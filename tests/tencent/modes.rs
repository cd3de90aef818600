//! Each mode's call: what is looked at first, what is sent, and what each answer is taken for.

use super::*;
use keywheel::rotation::plan::Abilities;

const APP: &str = "app";

fn of(account: &str, mode: Mode) -> Address {
    Address { account: account.to_owned(), mode, ..address() }
}

/// DescribeInstanceAccount with `root` and one more account.
fn accounts(name: &str, fields: &str) -> Step {
    reply(&format!(
        r#"{{"Response":{{"TotalCount":2,"Accounts":[{{"AccountName":"root","Status":2,"Privilege":"rw","ReadonlyPolicy":["master"],"PasswordLastModifiedTime":""}},{{"AccountName":"{name}",{fields}}}],"RequestId":"r"}}}}"#
    ))
}

fn app() -> Step {
    accounts(APP, r#""Status":2,"Privilege":"r","ReadonlyPolicy":["master","replication"]"#)
}

fn running() -> Step {
    reply(&instances(2, false))
}

async fn change_of(provider: &Tencent, address: &Address) -> Answer {
    provider.change(address, rotation(), Some(&secret(OLD)), &secret(NEW)).await
}

/// What an answer is, in a word, and the kind of its fault.
fn in_short(answer: Answer) -> (&'static str, Option<Kind>) {
    match answer {
        Answer::Accepted { .. } => ("accepted", None),
        Answer::Unanswered { fault } => ("unanswered", Some(fault.kind)),
        Answer::Refused { refusal, fault } => (
            match refusal {
                Refusal::Fatal => "fatal",
                Refusal::Unsent => "unsent",
                Refusal::Busy => "busy",
                Refusal::Locked => "locked",
                Refusal::Throttled => "throttled",
                Refusal::RuleViolated => "rule",
                Refusal::NotNow | Refusal::OldPasswordWrong | Refusal::RuleOrOldPassword => "another",
            },
            Some(fault.kind),
        ),
    }
}

#[tokio::test]
async fn each_mode_sends_its_own_call_and_sends_back_what_it_must() {
    let look = r#"{"InstanceId":"crs-1"}"#;
    let list = r#"{"InstanceId":"crs-1","Limit":100,"Offset":0}"#;
    let modify = r#"{"InstanceId":"crs-1","OldPassword":"OldPassw0rd\"01","Password":"NewPassw0rd!02"}"#;
    let reset = r#"{"InstanceId":"crs-1","Password":"NewPassw0rd!02"}"#;
    let app_sent = r#"{"InstanceId":"crs-1","AccountName":"app","AccountPassword":"NewPassw0rd!02","ReadonlyPolicy":["master","replication"],"Privilege":"r"}"#;
    let root_sent =
        r#"{"InstanceId":"crs-1","AccountName":"root","AccountPassword":"NewPassw0rd!02","ReadonlyPolicy":["master"]}"#;
    let accepted = || reply(ACCEPTED);
    let by_password = vec![("modifyinstancepassword", modify)];
    let by_reset = vec![("describeinstances", look), ("resetpassword", reset)];
    let by_account = vec![("describeinstanceaccount", list), ("modifyinstanceaccount", app_sent)];
    let root_by_account =
        vec![("describeinstances", look), ("describeinstanceaccount", list), ("modifyinstanceaccount", root_sent)];
    let rows = [
        ("root", Mode::OldPassword, Some(vec![accepted()]), by_password, vec![running(), accepted()], by_reset.clone()),
        (
            "root",
            Mode::Reset,
            Some(vec![running(), accepted()]),
            by_reset.clone(),
            vec![running(), accepted()],
            by_reset,
        ),
        (APP, Mode::Account, Some(vec![app(), accepted()]), by_account.clone(), vec![app(), accepted()], by_account),
        (
            "root",
            Mode::Account,
            Some(vec![running(), app(), accepted()]),
            root_by_account.clone(),
            vec![running(), app(), accepted()],
            root_by_account,
        ),
        (APP, Mode::OldPassword, None, vec![], vec![], vec![]),
        (APP, Mode::Reset, None, vec![], vec![], vec![]),
    ];
    for (account, mode, steps, sent_by_change, steps_of_reset, sent_by_reset) in rows {
        let address = of(account, mode);
        let served = steps.is_some();
        let all = Abilities {
            task_status: true,
            task_list: true,
            change_mark: true,
            reset: true,
            each_node: false,
            asks_old: false,
        };
        let expected =
            Abilities { asks_old: mode == Mode::OldPassword, ..if served { all } else { Abilities::default() } };
        assert_eq!(Tencent::abilities_of(&address), expected, "{account} {mode:?}");
        for (is_reset, steps, sent) in
            [(false, steps.unwrap_or_default(), sent_by_change), (true, steps_of_reset, sent_by_reset)]
        {
            let (server, provider) = scripted(steps).await;
            let answer = match is_reset {
                false => change_of(&provider, &address).await,
                true => provider.reset(&address, rotation(), &secret(NEW)).await,
            };
            let outcome = if served { ("accepted", None) } else { ("fatal", Some(Kind::Unsupported)) };
            assert_eq!(in_short(answer), outcome, "{account} {mode:?}");
            let seen: Vec<(String, String)> = server
                .seen()
                .iter()
                .map(|seen| (seen.header("x-tc-action").unwrap().to_owned(), seen.body.clone()))
                .collect();
            let expected: Vec<(String, String)> =
                sent.iter().map(|(action, body)| ((*action).to_owned(), (*body).to_owned())).collect();
            assert_eq!(seen, expected, "{account} {mode:?}");
            assert!(!seen.iter().any(|(_, body)| body.contains("NoAuth") || body.contains("EncryptPassword")));
        }
    }
}

#[tokio::test]
async fn what_compares_nothing_needs_no_old_password() {
    for (address, steps, expected) in [
        (of("root", Mode::OldPassword), vec![], ("fatal", Some(Kind::OldPasswordWrong))),
        (of("root", Mode::Reset), vec![running(), reply(ACCEPTED)], ("accepted", None)),
        (of(APP, Mode::Account), vec![app(), reply(ACCEPTED)], ("accepted", None)),
    ] {
        let (_server, provider) = scripted(steps).await;
        let answer = provider.change(&address, rotation(), None, &secret(NEW)).await;
        assert_eq!(in_short(answer), expected, "{address:?}");
    }
}

#[tokio::test]
async fn a_look_before_the_call_that_shows_trouble_or_nothing_keeps_the_call_from_leaving() {
    let (reset, account) = (of("root", Mode::Reset), of(APP, Mode::Account));
    let rights = r#""Privilege":"rw","ReadonlyPolicy":["master"]"#;
    let with = |fields: &str| accounts(APP, &format!("{fields}{rights}"));
    let missing = reply(ACCOUNTS);
    let rows = [
        (&reset, reply(&instances(2, true)), "fatal", Kind::PasswordFree),
        (&reset, reply(&instances(-2, false)), "fatal", Kind::Gone),
        (&reset, error("InternalError"), "unsent", Kind::Unanswered),
        (&reset, error("RequestLimitExceeded"), "unsent", Kind::Throttled),
        (&reset, reply("<html>"), "unsent", Kind::Unanswered),
        (&reset, Step::Raw(String::new()), "unsent", Kind::Unanswered),
        (&reset, error("ResourceNotFound.InstanceNotExists"), "fatal", Kind::NotFound),
        (&account, missing, "fatal", Kind::NotFound),
        (&account, with(r#""Status":1,"#), "busy", Kind::Busy),
        (&account, with(r#""Status":4,"#), "fatal", Kind::Gone),
        (&account, with(r#""Status":7,"#), "busy", Kind::Busy),
        (&account, with(""), "busy", Kind::Busy),
        (
            &account,
            accounts(APP, r#""Status":2,"Privilege":"","ReadonlyPolicy":["master"]"#),
            "fatal",
            Kind::Unsupported,
        ),
        (&account, accounts(APP, r#""Status":2,"Privilege":"rw","ReadonlyPolicy":[]"#), "fatal", Kind::Unsupported),
        (&account, accounts(APP, r#""Status":2"#), "fatal", Kind::Unsupported),
        (&account, error("FailedOperation.SystemError"), "unsent", Kind::Unanswered),
        (&account, error("FailedOperation.UnSupportError"), "fatal", Kind::Unsupported),
        (&account, error("UnauthorizedOperation.NoCAMAuthed"), "fatal", Kind::Denied),
        (&account, error("UnauthorizedOperation.UserNotInWhiteList"), "fatal", Kind::Denied),
        (&account, Step::Reply(502, String::new(), String::new()), "unsent", Kind::Unanswered),
    ];
    for (number, (address, step, refusal, kind)) in rows.into_iter().enumerate() {
        let (server, provider) = scripted(vec![step, reply(ACCEPTED)]).await;
        let answer = change_of(&provider, address).await;
        assert_eq!(in_short(answer), (refusal, Some(kind)), "row {number}");
        assert!(actions(&server).iter().all(|action| action.starts_with("describe")), "row {number}");
    }
}

#[tokio::test]
async fn each_answer_to_a_call_that_compares_nothing_has_its_verdict() {
    let rows = [
        // The published codes of ResetPassword and ModifyInstanceAccount.
        ("FailedOperation.SystemError", "unanswered", Kind::Unanswered),
        ("FailedOperation.Unknown", "unanswered", Kind::Unanswered),
        ("FailedOperation.UnSupportError", "fatal", Kind::Unsupported),
        ("InternalError.DbOperationFailed", "unanswered", Kind::Unanswered),
        ("InternalError.InternalError", "unanswered", Kind::Unanswered),
        ("InvalidParameter", "fatal", Kind::Misconfigured),
        ("InvalidParameter.PermissionDenied", "fatal", Kind::Denied),
        ("InvalidParameterValue.PasswordFreeDenied", "fatal", Kind::Unsupported),
        ("InvalidParameterValue.PasswordRuleError", "rule", Kind::RuleViolated),
        ("ResourceUnavailable.GetSecurityError", "unanswered", Kind::Unanswered),
        ("ResourceUnavailable.InstanceStatusAbnormal", "busy", Kind::Busy),
        ("ResourceUnavailable.InstanceStatusError", "busy", Kind::Busy),
        ("UnauthorizedOperation.NoCAMAuthed", "fatal", Kind::Denied),
        ("UnauthorizedOperation.UserNotInWhiteList", "fatal", Kind::Denied),
        // Codes that no page lists for these actions.
        ("InvalidParameterValue.PasswordError", "rule", Kind::RuleViolated),
        ("ResourceUnavailable.InstanceLockedError", "locked", Kind::Locked),
        ("ResourceNotFound.AccountDoesNotExists", "fatal", Kind::NotFound),
        ("RequestLimitExceeded", "throttled", Kind::Throttled),
        ("InvalidAction", "fatal", Kind::Unsupported),
        ("FailedOperation.Novel", "unanswered", Kind::Unanswered),
        ("Novel.Code", "unanswered", Kind::Unanswered),
    ];
    for (code, refusal, kind) in rows {
        for (address, first) in [(of("root", Mode::Reset), running()), (of(APP, Mode::Account), app())] {
            let (server, provider) = scripted(vec![first, error(code), reply(ACCEPTED)]).await;
            let answer = change_of(&provider, &address).await;
            if kind == Kind::Denied {
                let Answer::Refused { fault, .. } = &answer else { panic!("{answer:?}") };
                assert!(fault.next_step.contains("grant redis:"), "{fault}");
            }
            assert_eq!(in_short(answer), (refusal, Some(kind)), "{code} {address:?}");
            assert_eq!(server.seen().len(), 2, "{code}: sent once");
        }
    }
}

#[tokio::test]
async fn a_task_of_an_account_is_done_once_the_account_is_settled() {
    let task = |status: &str| reply(&format!(r#"{{"Response":{{"Status":"{status}","RequestId":"r"}}}}"#));
    let with = |status: i64| accounts(APP, &format!(r#""Status":{status}"#));
    let address = of(APP, Mode::Account);
    let rows = [
        (vec![task("running")], Some(TaskStatus::Running)),
        (vec![task("failed")], Some(TaskStatus::Failed { message: String::new() })),
        (vec![task("succeed"), with(2)], Some(TaskStatus::Succeeded)),
        (vec![task("succeed"), with(1)], Some(TaskStatus::Running)),
        (vec![task("succeed"), with(9)], Some(TaskStatus::Running)),
        (vec![task("succeed"), with(4)], None),
        (vec![task("succeed"), reply(ACCOUNTS)], None),
        (vec![task("succeed"), error("InternalError")], None),
        (vec![error("InvalidParameter.InvalidParameter")], None),
    ];
    for (steps, expected) in rows {
        let asked = steps.len();
        let (server, provider) = scripted(steps).await;
        assert_eq!(provider.task(&address, TaskId(7)).await.ok(), expected);
        assert_eq!(server.seen().len(), asked);
    }
    let (server, provider) = scripted(vec![task("succeed")]).await;
    assert_eq!(provider.task(&of("root", Mode::Reset), TaskId(7)).await, Ok(TaskStatus::Succeeded));
    assert_eq!(actions(&server), ["describetaskinfo"]);
}

#[tokio::test]
async fn a_lost_call_finds_the_task_that_is_about_its_account() {
    // The call left at 08:00:00 in Shanghai and the search comes a minute later.
    let (from, to) = (Moment::from_seconds(NEW_YEAR), Moment::from_seconds(NEW_YEAR + 60));
    let tasks = |kind: &str, result: i64| {
        reply(&format!(
            r#"{{"Response":{{"TotalCount":1,"Tasks":[{{"TaskId":7,"StartTime":"2025-01-01 08:00:10","TaskType":"{kind}","InstanceId":"crs-1","Result":{result}}}],"RequestId":"r"}}}}"#
        ))
    };
    let with = |status: i64, set: &str| {
        accounts(APP, &format!(r#""Status":{status},"PasswordLastModifiedTime":"2025-01-01 {set}""#))
    };
    let (app, root) = (of(APP, Mode::Account), of("root", Mode::OldPassword));
    let seven = |status: TaskStatus| Some(Some((TaskId(7), status)));
    let rows = [
        (&app, vec![reply(NO_TASKS)], Some(None)),
        (&app, vec![tasks("007", 2)], Some(None)),
        (&app, vec![tasks("037", 1), with(1, "07:00:00")], seven(TaskStatus::Running)),
        (&app, vec![tasks("037", 1), with(2, "07:00:00")], None),
        (&app, vec![tasks("037", 2), with(2, "08:00:13")], seven(TaskStatus::Succeeded)),
        (&app, vec![tasks("037", 2), with(2, "07:00:00")], None),
        (&root, vec![tasks("007", 2)], seven(TaskStatus::Succeeded)),
        // Another account's change is not taken for root's.
        (&root, vec![tasks("037", 2), with(2, "08:00:13")], None),
    ];
    for (number, (address, steps, expected)) in rows.into_iter().enumerate() {
        let (server, provider) = scripted(steps).await;
        assert_eq!(provider.find_task(address, from, to).await.ok(), expected, "row {number}");
        let types = if address.mode == Mode::Account { r#"["037"]"# } else { r#"["007","037"]"# };
        assert!(server.seen()[0].body.contains(types));
    }
}

#[tokio::test]
async fn the_account_is_looked_at_before_a_rotation_and_by_check() {
    let instance = |kind: i64| {
        reply(&format!(
            r#"{{"Response":{{"TotalCount":1,"InstanceSet":[{{"InstanceId":"crs-1","Status":2,"Type":{kind},"NoAuth":false}}],"RequestId":"r"}}}}"#
        ))
    };
    let rights = r#""Privilege":"rw","ReadonlyPolicy":["master"]"#;
    let with = |status: i64| accounts(APP, &format!(r#""Status":{status},{rights}"#));
    let account = of(APP, Mode::Account);
    let unknown_task = || error("InvalidParameter.InvalidParameter");
    let rows = [
        ("all well", &account, 15, with(2), vec![]),
        ("missing", &account, 15, reply(ACCOUNTS), vec![Kind::NotFound]),
        ("changing", &account, 15, with(1), vec![Kind::Busy]),
        ("deleted", &account, 15, with(4), vec![Kind::Gone]),
        ("tells no rights", &account, 15, accounts(APP, r#""Status":2"#), vec![Kind::Unsupported]),
        ("may not read accounts", &account, 15, error("UnauthorizedOperation.NoCAMAuthed"), vec![Kind::Denied]),
        ("Redis 2.8", &account, 2, with(2), vec![Kind::Unsupported]),
        ("root on Redis 2.8", &of("root", Mode::Reset), 5, error("FailedOperation.UnSupportError"), vec![]),
        ("another mode", &of(APP, Mode::Reset), 15, with(2), vec![Kind::Unsupported]),
    ];
    for (name, address, kind, account, expected) in rows {
        let steps = vec![instance(kind), account, reply(NO_TASKS), unknown_task(), reply(NO_POLICY)];
        let (_server, provider) = scripted(steps).await;
        let findings = provider.check(address).await;
        let kinds: Vec<Kind> = findings.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds, expected, "{name}: {findings:?}");
    }
    // The two calls after DescribeInstances run side by side, so both get an answer that fits either.
    let both = |step: Step| vec![instance(15), step.clone(), step];
    let unsupported = Condition::Unsupported(String::new());
    for (steps, expected) in [
        (both(with_policy(2, rights)), Ok(Condition::Ready)),
        (both(with_policy(1, rights)), Ok(Condition::Busy(String::new()))),
        (both(with_policy(4, rights)), Ok(Condition::Gone(String::new()))),
        (both(error("UnauthorizedOperation.NoCAMAuthed")), Err(Kind::Denied)),
        (vec![instance(2)], Ok(unsupported)),
    ] {
        let (_server, provider) = scripted(steps).await;
        let seen = provider.inspect(&account).await.map(|instance| instance.condition).map_err(|fault| fault.kind);
        let same = match (&seen, &expected) {
            (Ok(seen), Ok(expected)) => std::mem::discriminant(seen) == std::mem::discriminant(expected),
            (Err(seen), Err(expected)) => seen == expected,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        assert!(same, "{seen:?}, not {expected:?}");
    }
}

/// An answer that reads as a list of accounts and as a password policy alike.
fn with_policy(status: i64, rights: &str) -> Step {
    reply(&format!(
        r#"{{"Response":{{"TotalCount":1,"Accounts":[{{"AccountName":"app","Status":{status},{rights}}}],"PasswordPolicy":{{"Enabled":false}},"RequestId":"r"}}}}"#
    ))
}
