//! Credentials from a program that a kubeconfig names under `exec` ("client-go credential plugins"): run as every foreign program is, without a
//! shell, without questions, bounded in time and output. What it answers is kept until it ends or is refused.

use super::access::{Shown, absolute, as_token, fault};
use crate::fault::Fault;
use crate::moment::Moment;
use crate::process::Program;
use kube::config::{ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest answer, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How long before its end a credential is asked for anew.
const MARGIN: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Credential {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

pub(super) async fn shown(
    exec: &ExecConfig,
    environment: &[String],
    timeout: Duration,
    now: Moment,
) -> Result<Shown, Fault> {
    let command = exec.command.as_deref().ok_or_else(|| fault("The kubeconfig's exec names no command"))?;
    absolute(command)?;
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(fault(format!("{command} wants to ask a person, and nobody is there"))
            .advise("give keywheel credentials that need no questions"));
    }
    let argv: Vec<String> = std::iter::once(command.to_owned()).chain(exec.args.iter().flatten().cloned()).collect();
    let program = Program::new(&argv, environment, timeout)
        .map_err(|wrong| fault(format!("The kubeconfig's exec cannot be run: {}", wrong.join("; "))))?;
    let about = json!({
        "apiVersion": exec.api_version,
        "kind": "ExecCredential",
        "spec": { "interactive": false, "cluster": exec.cluster },
    });
    let mut variables = vec![("KUBERNETES_EXEC_INFO", about.to_string())];
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            variables.push((name, value.clone()));
        }
    }
    let answered = program.ask(Zeroizing::default(), &variables, ANSWER_LIMIT).await;
    let answered = answered.map_err(|error| fault(error.to_string()))?;
    if !answered.ended.status.success() {
        return Err(fault(format!("{command} {}", answered.ended.describe()))
            .advise("run it as keywheel's user; the sink's key environment names variables that it may see"));
    }
    // The parser's words may repeat what it read.
    let status = serde_json::from_slice::<Credential>(&answered.answer).ok().and_then(|credential| credential.status);
    let none = || fault(format!("{command} answered no ExecCredential with a token or a certificate and its key"));
    let status = status.ok_or_else(none)?;
    let ends = match &status.expiration_timestamp {
        None => Moment::NEVER,
        Some(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(when) => Moment::from(when.to_utc()) - MARGIN,
            // It says that it ends, and not in a way that can be understood: it is not kept.
            Err(_) => now,
        },
    };
    let token = status.token.as_deref().and_then(as_token);
    let certificate = match (&status.client_certificate_data, &status.client_key_data) {
        (Some(certificate), Some(key)) => {
            let mut pem = Zeroizing::new(Vec::with_capacity(certificate.len() + key.len() + 1));
            pem.extend_from_slice(certificate.as_bytes());
            pem.push(b'\n');
            pem.extend_from_slice(key.as_bytes());
            Some(pem)
        }
        _ => None,
    };
    match token.is_none() && certificate.is_none() {
        true => Err(none()),
        false => Ok(Shown { token, certificate, ends: Some(ends) }),
    }
}
