//! What a person may ask of a target, answered in its turn.

use super::Tools;
use super::adopt::proof;
use super::command::{Command, Wish};
use super::journal::Journal;
use super::target::Target;
use crate::fault::{Fault, Kind, scrub};
use crate::ledger::{Entry, Ledger};
use crate::moment::{Moment, show_span};
use crate::name::{Generation, TargetName};
use crate::rotation::event::{By, Event, What};
use crate::rotation::plan::OnSinkDown;
use crate::rotation::state::State;
use crate::rotation::why::Why;
use crate::rotation::{Action, apply, fold, next};
use crate::secret::Secret;
use std::time::Duration;

/// The longest reason, in characters: it is kept for as long as the ledger is.
const REASON_LIMIT: usize = 500;

/// Who asks, and why.
type Asker = (By, Option<String>);

/// What is recorded because somebody asked, and what they are told.
struct Obeyed {
    events: Vec<What>,
    /// A password that comes with the last event.
    password: Option<Secret>,
    said: String,
}

impl Obeyed {
    fn just(what: What, said: impl Into<String>) -> Self {
        Self { events: vec![what], password: None, said: said.into() }
    }
}

/// Answers one command. What it changes is durable before the answer goes out.
pub(super) async fn obey(
    tools: &Tools,
    target: &Target,
    journal: &mut Journal<'_>,
    command: Command,
) -> Result<(), Fault> {
    let Command { mut wish, answer } = command;
    if let Err(fault) = tidy_reason(&mut wish) {
        let _unheard = answer.send(Err(fault));
        return Ok(());
    }
    let now = tools.clock.now();
    let verdict = match decide(tools, target, journal.state(), wish, now).await {
        Ok(Obeyed { events, password, said }) => {
            if let Err(fault) = record(journal, now, events, password).await {
                let _unheard = answer.send(Err(fault.clone()));
                return Err(fault);
            }
            Ok(said)
        }
        Err(fault) => Err(fault),
    };
    // The asker may have gone; what was done is in the record.
    let _unheard = answer.send(verdict);
    Ok(())
}

/// A reason is shown on terminals for years: on one line, without escapes, and not longer than people read.
fn tidy_reason(wish: &mut Wish) -> Result<(), Fault> {
    let Some(reason) = wish.reason() else { return Ok(()) };
    *reason = scrub(reason, &[]);
    if reason.chars().count() > REASON_LIMIT {
        return Err(Fault::new(Kind::Usage, format!("a reason has at most {REASON_LIMIT} characters"))
            .advise("say it in fewer words, and name where the rest stands"));
    }
    Ok(())
}

async fn record(
    journal: &mut Journal<'_>,
    now: Moment,
    events: Vec<What>,
    mut password: Option<Secret>,
) -> Result<(), Fault> {
    for what in events {
        let password = password.take().map(|password| (journal.state().standing.newest.following(), password));
        journal.note_with(now, what, password)?;
    }
    journal.write(now, "asked to").await
}

fn refuse(what: impl Into<String>, next_step: &str) -> Result<Obeyed, Fault> {
    Err(Fault::new(Kind::Usage, what).advise(next_step))
}

async fn decide(tools: &Tools, target: &Target, state: &State, wish: Wish, now: Moment) -> Result<Obeyed, Fault> {
    match wish {
        Wish::Rotate { by, reason, through_freeze } => rotate(target, state, by, (reason, through_freeze), now),
        Wish::Pause { by, reason, span } => pause(state, (by, reason), span, now),
        Wish::Unpause { by } => match &state.standing.paused {
            Some(_) => Ok(Obeyed::just(What::Unpaused { by }, "it goes on")),
            None => refuse("the target is not paused", "nothing; for a halted one: `keywheel recover TARGET --resume`"),
        },
        Wish::Resume { by, reason, allow_reset } => resume(state, (by, reason), allow_reset),
        Wish::Adopt { by, reason, password, account } => adopt(target, state, (by, reason), password, account).await,
        Wish::Replace { by, reason, password, account } => {
            replace(target, state, (by, reason), password, account).await
        }
        Wish::Redeliver { sink } => match state.standing.sinks.get(&sink).and_then(|outlet| outlet.generation) {
            Some(_) => Ok(Obeyed::just(What::SinkLost { sink }, "it is delivered again")),
            None => refuse(format!("nothing was delivered to {sink} yet"), "nothing; it is delivered anyway"),
        },
        Wish::Reveal { by, reason, all } => reveal(&*tools.ledger, &target.name, state, (by, reason), all).await,
    }
}

fn rotate(
    target: &Target,
    state: &State,
    by: By,
    (reason, through_freeze): (Option<String>, bool),
    now: Moment,
) -> Result<Obeyed, Fault> {
    let frozen = target.settings.timetable.frozen(now).filter(|_| !through_freeze);
    match (&state.halt, &state.open, &state.standing.paused) {
        (Some(halt), _, _) => refuse(format!("the target is halted: {}", halt.fault.what), &halt.fault.next_step),
        (None, Some(open), _) if !waits_for_nobody(target, state) => {
            refuse(format!("rotation {} is under way", open.id), "`keywheel explain` says where it stands")
        }
        (None, _, Some(_)) => refuse("the target is paused", "end the pause first: `keywheel resume TARGET`"),
        (None, _, None) if let Some(frozen) = frozen => {
            let until = show_span(frozen.until.since(now));
            refuse(
                format!("the freeze {} lasts for another {until}, until {}", frozen.name, frozen.until),
                "wait for its end, or, if it cannot wait: `keywheel rotate TARGET --through-freeze`",
            )
        }
        (None, _, None) => {
            let what = What::Asked { by, reason };
            let said = match held(target, state, &what, now) {
                Some(why) => format!("it rotates as soon as it may: {why}"),
                None => "it rotates now".to_owned(),
            };
            Ok(Obeyed::just(what, said))
        }
    }
}

/// Whether only sinks are left of the open rotation that hold nothing up.
fn waits_for_nobody(target: &Target, state: &State) -> bool {
    state.is_proven() && target.settings.on_sink_down == OnSinkDown::Proceed
}

/// Why a rotation that is asked for now would have to wait.
fn held(target: &Target, state: &State, asked: &What, now: Moment) -> Option<Why> {
    let plan = target.settings.plan(&state.standing, now);
    let asked = apply(state.clone(), &Event { at: now, what: asked.clone() }).ok()?;
    let Action::Wait { until: _, why } = next(&asked, &plan, now) else { return None };
    Some(why)
}

fn pause(state: &State, (by, reason): Asker, span: Option<Duration>, now: Moment) -> Result<Obeyed, Fault> {
    let until = span.map(|span| now + span);
    let until_when = span.map_or_else(|| "until it is resumed".to_owned(), |span| format!("for {}", show_span(span)));
    let under_way = state.open.as_ref().map_or("", |_| "; the rotation under way is finished first");
    Ok(Obeyed::just(What::Paused { by, reason, until }, format!("nothing begins {until_when}{under_way}")))
}

/// Go on after a halt; or deliver again to sinks that somebody changed.
fn resume(state: &State, (by, reason): Asker, allow_reset: bool) -> Result<Obeyed, Fault> {
    if state.halt.is_some() {
        return Ok(Obeyed::just(What::Resumed { by, reason, allow_reset }, "it goes on"));
    }
    let lost = |(sink, _): (&crate::name::SinkName, _)| What::SinkLost { sink: sink.clone() };
    let events: Vec<What> = state.standing.sinks.iter().filter(|(_, outlet)| outlet.differs).map(lost).collect();
    match events.is_empty() {
        true => refuse("the target is not halted", "`keywheel explain` says where it stands"),
        false => Ok(Obeyed { events, password: None, said: "what was changed there is delivered again".to_owned() }),
    }
}

async fn adopt(
    target: &Target,
    state: &State,
    (by, reason): Asker,
    password: Secret,
    account: Option<String>,
) -> Result<Obeyed, Fault> {
    let generation = state.standing.newest.following();
    let said = format!("taken in as generation {generation}");
    let active = state.standing.current.as_ref().map(|current| current.account.as_ref());
    match (active, &account) {
        (None, _) if state.open.is_some() => {
            return refuse(
                "a rotation is under way that needs no password of before",
                "`keywheel explain` says where it stands; to give one all the same: `keywheel recover TARGET --set`",
            );
        }
        (None, _) => {}
        (Some(Some(active)), Some(account)) if account != active => {
            if state.open.is_some() {
                return refuse("a rotation is under way", "`keywheel explain` says where it stands");
            }
            if state.standing.on(Some(account)).is_some() {
                return refuse(
                    format!("a password of {account} was taken in before"),
                    "give another one with `keywheel recover TARGET --set`",
                );
            }
            let (proof, _) = proof(target, &password, Some(account)).await?;
            let what = What::Paired { generation, proof, by, reason, account: account.clone() };
            return Ok(Obeyed { events: vec![what], password: Some(password), said });
        }
        (Some(_), _) => {
            return refuse("a password was taken in before", "give another one with `keywheel recover TARGET --set`");
        }
    }
    let (proof, account) = proof(target, &password, known(target, account)?.as_deref()).await?;
    let place = target.settings.place.clone();
    let what = What::Adopted { generation, proof, by, reason, place, account };
    Ok(Obeyed { events: vec![what], password: Some(password), said })
}

async fn replace(
    target: &Target,
    state: &State,
    (by, reason): Asker,
    password: Secret,
    account: Option<String>,
) -> Result<Obeyed, Fault> {
    let generation = state.standing.newest.following();
    let (proof, account) = proof(target, &password, known(target, account)?.as_deref()).await?;
    let of = account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
    let place = target.settings.place.clone();
    let moved = has_moved(target, state);
    let what = What::Replaced { generation, proof, by, reason, place, account, moved };
    let said = format!("taken in as generation {generation}{of}");
    Ok(Obeyed { events: vec![what], password: Some(password), said })
}

/// An account of this target, if one was named.
fn known(target: &Target, account: Option<String>) -> Result<Option<String>, Fault> {
    let Some(named) = account else { return Ok(None) };
    match target.accounts.iter().find(|account| account.address.account == named) {
        Some(_) => Ok(Some(named)),
        None => {
            let names: Vec<&str> = target.accounts.iter().map(|account| account.address.account.as_str()).collect();
            let next = format!("name one of: {}", names.join(", "));
            Err(Fault::new(Kind::Usage, format!("the target has no account {}", scrub(&named, &[]))).advise(next))
        }
    }
}

/// Whether the configuration names another place than that of the known passwords, and current opens nothing there.
fn has_moved(target: &Target, state: &State) -> bool {
    let instance = |place: &str| place.rsplit_once('/').map_or(place, |(instance, _)| instance).to_owned();
    let (Some(known), named) = (&state.standing.place, &target.settings.place) else { return false };
    let active = state.standing.current.as_ref().and_then(|current| current.account.as_ref());
    let stays = active.is_some_and(|active| target.accounts.iter().any(|account| account.address.account == *active));
    known != named && (instance(known) != instance(named) || !stays)
}

async fn reveal(
    ledger: &dyn Ledger,
    target: &TargetName,
    state: &State,
    (by, reason): Asker,
    all: bool,
) -> Result<Obeyed, Fault> {
    let current = state.standing.current.as_ref().map(|current| current.generation);
    let generations = if all { state.candidates() } else { current.into_iter().collect() };
    let Some(&first) = generations.first() else {
        return Err(nothing_yet());
    };
    let mut said = ledger.password(target, first).await?.expose().to_owned();
    if all {
        said = format!("{}: {said}", named(state, first));
        for &generation in &generations[1..] {
            let password = ledger.password(target, generation).await?;
            said.push_str(&format!("\n{}: {}", named(state, generation), password.expose()));
        }
    }
    Ok(Obeyed::just(What::Revealed { by, reason, generations }, said))
}

fn nothing_yet() -> Fault {
    Fault::new(Kind::Usage, "no password was taken in yet").advise("run `keywheel adopt TARGET` first")
}

/// Says a target's current password, or every one that may be live, from the ledger alone: no provider, no sink and no other target can stand in the way
/// of somebody who needs it now. It is in the record before it is said.
///
/// # Errors
/// `Usage` where no password was taken in; `ClaimLost` while another process works on the target; what the ledger says.
pub async fn break_glass(tools: &Tools, target: &TargetName, mut wish: Wish) -> Result<String, Fault> {
    tidy_reason(&mut wish)?;
    let Wish::Reveal { by, reason, all } = wish else {
        return Err(Fault::new(Kind::Bug, "only passwords are behind the glass"));
    };
    let (ledger, now) = (&*tools.ledger, tools.clock.now());
    if ledger.recent(target).await?.is_empty() {
        return Err(nothing_yet());
    }
    let taken = || Fault::new(Kind::ClaimLost, "another process works on this target").advise("ask again in a moment");
    let mut claim = ledger.claim(target, now).await?.ok_or_else(taken)?;
    let rows = ledger.recent(target).await?;
    let state = fold(rows.iter().map(|row| &row.event))
        .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {target}: {illegal}")))?;
    let Obeyed { events, said, .. } = reveal(ledger, target, &state, (by, reason), all).await?;
    let listing = ledger.listing().await?.into_iter().find(|row| row.target == *target);
    let projection = listing.ok_or_else(|| Fault::new(Kind::LedgerCorrupt, format!("target {target} has no row")))?;
    let rotation = state.open.as_ref().map(|open| open.id);
    let entry = |what| Entry { event: Event { at: now, what }, rotation, password: None };
    let entries: Vec<Entry> = events.into_iter().map(entry).collect();
    claim.append(&entries, &projection.projection).await?;
    Ok(said)
}

/// A generation in words, with its account where the target has two.
fn named(state: &State, generation: Generation) -> String {
    match state.account_of(generation) {
        Some(account) => format!("generation {generation} ({account})"),
        None => format!("generation {generation}"),
    }
}
