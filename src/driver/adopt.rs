//! Takes in passwords that work today: the configuration's, and those a person gives. Each is proven first, and nothing is changed.

use super::act::{blocked, look_at_instance, mixed, password_free};
use super::target::{Account, Adoptable, Target};
use crate::fault::{Fault, Kind, Retry};
use crate::name::{Generation, TargetName};
use crate::rotation::answer::Login;
use crate::rotation::event::{By, Proof, What};
use crate::secret::Secret;

/// What is to be recorded, and the password that comes with it.
pub(super) type Taken = (What, Option<Secret>);

/// The password that works today, from where the configuration says, and its generation: newer than all that the record knows, and not older than what
/// is said there.
pub(super) async fn adopt(target: &Target, newest: Generation) -> (What, Option<(Generation, Secret)>) {
    let read = (target.hands.adopt)().await;
    let known = read.as_ref().and_then(|read| read.as_ref().ok()?.generation);
    let generation = newest.following().max(known.unwrap_or(newest));
    let (what, password) = adopt_as(target, generation, read).await;
    (what, password.map(|password| (generation, password)))
}

async fn adopt_as(target: &Target, generation: Generation, read: Option<Result<Adoptable, Fault>>) -> Taken {
    let unknown = "give it with `keywheel adopt TARGET`, or set `adopt` in the configuration";
    match take(target, read, unknown, None).await {
        Ok((password, proof, account)) => {
            let place = target.settings.place.clone();
            (What::Adopted { generation, proof, by: By::Configuration, reason: None, place, account }, Some(password))
        }
        // A reset may set one then, so nobody needs to correct it.
        Err(fault) if fault.kind == Kind::LoginRefused && target.settings.may_take_over() => {
            (What::Blocked { fault: Fault { retry: Retry::Later, ..fault } }, None)
        }
        Err(fault) => (blocked(fault), None),
    }
}

/// Takes a place over whose password is not to be had. One that another target's record has of it is tried before: only where the instance
/// refuses that, nobody knows today's.
///
/// # Errors
/// What keeps it from being tried now.
pub(super) async fn take_over(
    target: &Target,
    generation: Generation,
    place: String,
    elsewhere: Option<(TargetName, Secret)>,
) -> Result<Taken, Fault> {
    let Some((other, password)) = elsewhere.map(|(other, password)| (other, Adoptable::from(password))) else {
        return Ok((What::TakenOver { place }, None));
    };
    tracing::info!(of = %other, "another target's record has a password of this instance; it is tried first");
    match take(target, Some(Ok(password)), "", None).await {
        Ok((password, proof, account)) => Ok((
            What::Adopted { generation, proof, by: By::Configuration, reason: None, place, account },
            Some(password),
        )),
        Err(fault) if fault.kind == Kind::LoginRefused => Ok((What::TakenOver { place }, None)),
        Err(fault) if fault.retry == Retry::Never => Ok((What::Halted { fault }, None)),
        Err(fault) => Err(fault),
    }
}

/// The password of the pair's resting account, likewise. What stands in the way never halts: the active account goes on without it.
pub(super) async fn pair(target: &Target, account: &str, generation: Generation) -> Taken {
    let read = (target.hands.adopt_resting)().await;
    let unknown = "give it with `keywheel adopt TARGET --account NAME`, or set `adopt-resting` in the configuration";
    match take(target, read, unknown, Some(account)).await {
        Ok((password, proof, _)) => (
            What::Paired { generation, proof, by: By::Configuration, reason: None, account: account.to_owned() },
            Some(password),
        ),
        Err(fault) => (What::Blocked { fault: Fault { retry: Retry::Later, ..fault } }, None),
    }
}

async fn take(
    target: &Target,
    read: Option<Result<Adoptable, Fault>>,
    unknown: &str,
    account: Option<&str>,
) -> Result<(Secret, Proof, Option<String>), Fault> {
    let password = match read {
        Some(Ok(Adoptable { password, .. })) => password,
        // The file may still be on its way: a secret that cannot be read is waited for.
        Some(Err(fault)) => return Err(Fault { retry: Retry::Later, ..fault }),
        None => {
            let fault = Fault::new(Kind::SecretUnreadable, "the password that works today is not known");
            return Err(fault.advise(unknown));
        }
    };
    look_at_instance(target, target.account(account)?).await?;
    let (proof, opened) = match proof(target, &password, account).await {
        Err(fault) if fault.kind == Kind::LoginRefused => {
            return Err(fault.advise("correct it, then `keywheel recover TARGET --set`"));
        }
        tried => tried?,
    };
    Ok((password, proof, opened))
}

/// A password is taken in only if the instance lets it in; without a login route the giver's word has to do. Tells which account of a pair it opens:
/// the one that is named, else the first that lets it in.
pub(super) async fn proof(
    target: &Target,
    password: &Secret,
    account: Option<&str>,
) -> Result<(Proof, Option<String>), Fault> {
    let tried: Vec<&Account> = match account {
        Some(_) => vec![target.account(account)?],
        None => target.accounts.iter().collect(),
    };
    let mut refused = None;
    for account in tried {
        let name = target.name_of(account);
        let Some(probe) = &account.probe else {
            return Ok((Proof::Stated, name));
        };
        match probe.login(password).await {
            Login::Accepted => return Ok((Proof::Login, name)),
            Login::Refused => {
                let of = name.map(|name| format!(" for {name}")).unwrap_or_default();
                refused.get_or_insert(Fault::new(
                    Kind::LoginRefused,
                    format!("{} refuses this password{of}", probe.route()),
                ));
            }
            Login::Mixed => return Err(mixed(probe.route())),
            Login::PasswordFree => return Err(password_free(probe.route())),
            Login::Unreachable { fault } => return Err(fault),
        }
    }
    Err(refused.unwrap_or_else(|| Fault::new(Kind::Bug, "the target has no account")))
}
