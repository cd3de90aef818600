//! The program that a profile names under `credential_process` (AWS's "Sourcing credentials with an external process"): run as every foreign program is,
//! without a shell, bounded in time and output. The vendor's crate would start a shell with everything in the daemon's environment, and leave it behind.

use crate::moment::Moment;
use crate::process::Program;
use aws_config::profile;
use aws_credential_types::Credentials;
use aws_runtime::env_config::file::EnvConfigFiles;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Which of the daemon's variables it sees beside `PATH`: what says where such programs find their own settings.
const ENVIRONMENT: [&str; 13] = [
    "HOME",
    "USER",
    "LOGNAME",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "NO_PROXY",
    "TZ",
];

/// What a profile says in the place of a program, and what wins over it.
const OTHERS: [&str; 5] =
    ["role_arn", "credential_source", "web_identity_token_file", "sso_start_url", "login_session"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// The command line of the profile's program, where it has one and nothing that wins over it.
pub(super) async fn named(files: &EnvConfigFiles, name: Option<&str>) -> Result<Option<String>, String> {
    let name = name.map(|name| Cow::Owned(name.to_owned()));
    let (fs, environment) = (Default::default(), Default::default());
    let profiles = profile::load(&fs, &environment, files, name).await;
    // What it says may show a line of the file.
    let profiles = profiles.map_err(|_| "the file of profiles cannot be read".to_owned())?;
    let Some(chosen) = profiles.get_profile(profiles.selected_profile()) else { return Ok(None) };
    let wins = OTHERS.iter().any(|key| chosen.get(key).is_some());
    Ok(chosen.get("credential_process").filter(|_| !wins).map(str::to_owned))
}

/// What the program answers. Nothing of its command line is shown, as a password may stand there.
pub(super) async fn asked(line: &str, timeout: Duration) -> Result<Credentials, String> {
    let argv = words(line).ok_or("its credential_process has a quotation mark that nothing ends")?;
    if !argv.first().is_some_and(|first| first.starts_with('/')) {
        return Err("its credential_process does not begin with a program's absolute path".to_owned());
    }
    let environment = ENVIRONMENT.map(str::to_owned);
    let program = Program::new(&argv, &environment, timeout)
        .map_err(|wrong| format!("its credential_process cannot be run: {}", wrong.join("; ")))?;
    let answered = program.ask(Zeroizing::default(), &[], ANSWER_LIMIT).await.map_err(|error| error.to_string())?;
    if !answered.ended.status.success() {
        return Err(format!("{} {}", program.path().display(), answered.ended.describe()));
    }
    // The parser's words may repeat what it read.
    let none = || format!("{} answered no credential of version 1", program.path().display());
    let answer: Answer = serde_json::from_slice(&answered.answer).map_err(|_| none())?;
    let Answer { version: 1, access_key_id, secret_access_key, session_token, expiration } = answer else {
        return Err(none());
    };
    let expires = expiration.map(|text| ends(&text).ok_or_else(none)).transpose()?;
    Ok(Credentials::new(access_key_id, secret_access_key, session_token, expires, "keywheel"))
}

fn ends(text: &str) -> Option<SystemTime> {
    let at = Moment::from(chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc());
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(at.millis()).ok()?))
}

/// The words of a command line as a shell takes them apart, without anything else that a shell does. `None` where a quotation has no end.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => match letters.next()? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(letters.next()?),
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_taken_apart_as_by_a_shell_and_nothing_else_is_done_to_it() {
        for (line, apart) in [
            (
                "/bin/signer credential-process  --certificate /etc/a.pem",
                Some(vec!["/bin/signer", "credential-process", "--certificate", "/etc/a.pem"]),
            ),
            (
                "\"/opt/my program\" 'a \"b\"' --x=\"c \\\"d\\\" \\e\" f\\ g ''",
                Some(vec!["/opt/my program", "a \"b\"", "--x=c \"d\" \\e", "f g", ""]),
            ),
            (
                "/bin/a $HOME `b` $(c); d | e > f #g",
                Some(vec!["/bin/a", "$HOME", "`b`", "$(c);", "d", "|", "e", ">", "f", "#g"]),
            ),
            (" \t ", Some(vec![])),
            ("/bin/a 'b", None),
            ("/bin/a \"b\\\"", None),
            ("/bin/a \\", None),
        ] {
            let apart: Option<Vec<String>> = apart.map(|apart| apart.into_iter().map(str::to_owned).collect());
            assert_eq!(words(line), apart, "{line}");
        }
    }

    async fn answer(script: &str) -> Result<Credentials, String> {
        let timeout = Duration::from_secs(if script == SLOW { 1 } else { 60 });
        asked(&format!("/bin/sh -c '{script}' hunter2"), timeout).await
    }

    const SLOW: &str = "sleep 600";

    #[tokio::test]
    async fn the_answer_is_a_credential_and_what_is_none_is_said_without_repeating_it() {
        let found = answer(r#"echo "{\"Version\": 1, \"AccessKeyId\": \"AKIA\", \"SecretAccessKey\": \"key\", \"Expiration\": \"2026-01-01T00:00:00Z\"}""#).await;
        let found = found.unwrap();
        assert_eq!((found.access_key_id(), found.secret_access_key(), found.session_token()), ("AKIA", "key", None));
        assert_eq!(found.expiry(), ends("2026-01-01T01:00:00+01:00"));
        for (script, said) in [
            ("echo hunter2", "no credential of version 1"),
            (r#"echo "{\"Version\": 2, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hunter2\"}""#, "no credential"),
            (
                r#"echo "{\"Version\": 1, \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hunter2\", \"Expiration\": \"soon\"}""#,
                "no credential",
            ),
            ("echo no session >&2; exit 3", "status 3 and said: no session"),
            ("echo hunter2; echo hunter2 >&2; exit 3", "not shown"),
            ("head -c 100000 /dev/zero", "more than 65536 bytes"),
            (SLOW, "did not end within 1s"),
        ] {
            let why = answer(script).await.unwrap_err();
            assert!(why.contains(said) && !why.contains("hunter2"), "{script}: {why}");
        }
        for (line, said) in
            [("signer --x", "absolute path"), ("", "absolute path"), ("/bin/a 'hunter2", "nothing ends")]
        {
            let why = asked(line, Duration::from_secs(1)).await.unwrap_err();
            assert!(why.contains(said) && !why.contains("hunter2"), "{line}: {why}");
        }
        assert_eq!(
            answer("[ -z \"$CARGO_MANIFEST_DIR\" ] || echo all of it >&2; exit 4").await.unwrap_err(),
            "/bin/sh ended with status 4 without a word"
        );
    }
}
