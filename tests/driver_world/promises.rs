//! The promises P1 to P5, as they are checked at each append and at each thing that happens outside. What a driver believes does not count: the durable
//! record is compared with what the instances accept and the sinks hold.

use super::disk::{Record, check_folds};
use super::instance::{Instance, index};
use super::sim::{Inner, Process, Told, ensure};
use super::truth::Truth;
use keywheel::fault::Kind;
use keywheel::moment::Moment;
use keywheel::name::{Generation, SinkName, TargetName};
use keywheel::rotation::answer::Call;
use keywheel::rotation::event::{Event, Proof, What};
use keywheel::rotation::state::{Current, Phase, State};

fn of<'a>(inner: &'a Inner, target: &TargetName) -> Told<(&'a Record, &'a Truth)> {
    let record = inner.disk.records.get(target).ok_or_else(|| format!("{target} has no record"))?;
    Ok((record, inner.truths.get(target).ok_or("no such target")?))
}

/// P1 and what follows from it, now.
pub fn check(inner: &mut Inner, target: &TargetName) -> Told {
    super::hands::tick(inner, target);
    let now = Moment::from_millis(inner.now);
    let (record, truth) = of(inner, target)?;
    let verdict = match &truth.instance {
        Instance::Accounts(clouds) => (0..clouds.len()).try_for_each(|account| check_account(record, truth, account)),
        Instance::Nodes(_) => check_nodes(record, truth),
    };
    let verdict = verdict.and_then(|()| if inner.steady_clock { check_consumers(record, truth, now) } else { Ok(()) });
    verdict.map_err(|broken| format!("{target}: {broken}"))
}

fn check_account(record: &Record, truth: &Truth, account: usize) -> Told {
    let Some(cloud) = truth.instance.cloud(account) else { return Ok(()) };
    // Nobody ever told us this one.
    if truth.strange.contains(&cloud.live) {
        return Ok(());
    }
    if cloud.foreign == 0 && !record.passwords.is_empty() {
        let known = record.passwords.values().any(|&password| password == cloud.live);
        ensure(known, || format!("P1: the live password of account {account} is not in the ledger"))?;
    }
    let Some(current) = record.state.standing.current.as_ref().filter(|_| truth.is_undisturbed()) else {
        return Ok(());
    };
    let of_account =
        |generation: &Generation| record.opens.get(generation).is_some_and(|opens| index(opens.as_deref()) == account);
    let mut named = record.state.candidates().into_iter().filter(of_account);
    let held = named.any(|generation| record.passwords.get(&generation) == Some(&cloud.live));
    let on_word = |known: Option<&Current>| {
        known.is_some_and(|known| {
            known.proof == Proof::Acceptance
                && index(known.account.as_deref()) == account
                && record.passwords.get(&known.generation).is_some_and(|&password| cloud.may_become(password))
        })
    };
    let accepted_on_word = on_word(Some(current)) || on_word(record.state.standing.former.as_ref());
    ensure(held || accepted_on_word, || format!("P1: password {} is live and no candidate", cloud.live))?;
    if truth.strategy.is_alternate() && index(current.account.as_deref()) == account {
        let live = record.password(current.generation)? == cloud.live || accepted_on_word;
        ensure(live, || "the active account was touched while its password was current".to_owned())?;
    }
    Ok(())
}

fn check_nodes(record: &Record, truth: &Truth) -> Told {
    let Some(nodes) = truth.instance.nodes().filter(|nodes| nodes.foreign == 0) else { return Ok(()) };
    let Some(current) = &record.state.standing.current else { return Ok(()) };
    let named: Vec<u64> =
        record.state.candidates().iter().map(|&generation| record.password(generation)).collect::<Told<_>>()?;
    let password = record.password(current.generation)?;
    for node in nodes.up() {
        let unnamed =
            |other: &&u64| !named.contains(other) && !truth.strange.contains(other) && !nodes.strays.contains(other);
        if let Some(unnamed) = node.valid.iter().find(unnamed) {
            return Err(format!("P1: password {unnamed} is valid on a node and no candidate"));
        }
        let there = node.valid.contains(&password) || node.forgot.contains(&password);
        ensure(there, || "current is not valid on every node, and none of them forgot it".to_owned())?;
    }
    Ok(())
}

/// Who reads a sink at least once in every grace is never refused by our doing.
fn check_consumers(record: &Record, truth: &Truth, now: Moment) -> Told {
    let Some(grace) = truth.grace().filter(|_| truth.is_undisturbed()) else { return Ok(()) };
    for (sink, generation) in truth.consumers.may_hold(grace, now) {
        let password = record.password(generation)?;
        let refused = match &truth.instance {
            Instance::Accounts(clouds) => {
                let opens = record.opens.get(&generation).and_then(|opens| opens.as_deref());
                let cloud = &clouds[index(opens)];
                let on_word = truth.on_word.contains(&generation);
                cloud.live != password && !(on_word && cloud.may_become(password))
            }
            Instance::Nodes(nodes) => {
                nodes.up().any(|node| !node.valid.contains(&password) && !node.forgot.contains(&password))
            }
        };
        ensure(!refused, || format!("a consumer of {sink} is refused with generation {generation} within its grace"))?;
    }
    Ok(())
}

/// A password is about to stop working. Where the configuration goes on without sinks that are down, who reads one that lacks current for longer than
/// the grace has had their time.
pub fn excuse(inner: &mut Inner, target: &TargetName) {
    let now = Moment::from_millis(inner.now);
    let Some(record) = inner.disk.records.get(target) else { return };
    let Some(current) = &record.state.standing.current else { return };
    let Some(truth) = inner.truths.get_mut(target).filter(|truth| truth.proceeds) else { return };
    if truth.grace().is_none_or(|grace| now < current.proven_at + grace) {
        return;
    }
    let lacks = |sink: &&SinkName| {
        let outlet = record.state.standing.sinks.get(*sink);
        outlet.is_none_or(|outlet| outlet.failures > 0 && outlet.generation != Some(current.generation))
    };
    let late: Vec<SinkName> = truth.named.iter().filter(lacks).cloned().collect();
    if !late.is_empty() {
        inner.count("went on without a sink");
    }
    let consumers = inner.truths.get_mut(target).map(|truth| &mut truth.consumers);
    consumers.into_iter().for_each(|consumers| late.iter().for_each(|sink| consumers.forget(sink)));
}

/// Whether this process holds the newest claim: what an older one still does is judged by what the world makes of it.
fn owns(record: &Record, process: &Process) -> bool {
    record.holder.is_some_and(|holder| holder.process == process.id && holder.fence == record.fence)
}

/// P1, P2 and P5: a call is about to leave.
pub fn before_call(
    inner: &Inner,
    target: &TargetName,
    process: &Process,
    call: Call,
    (account, new): (usize, u64),
) -> Told {
    let (record, truth) = of(inner, target)?;
    let told = |rule: bool, what: &str| ensure(rule, || format!("{target}: {what}"));
    told(
        record.passwords.values().any(|&password| password == new),
        "P1: a call leaves with a password the ledger lacks",
    )?;
    if !owns(record, process) {
        return Ok(());
    }
    let current = record.state.standing.current.as_ref().map(|current| current.generation);
    let again = current.is_some_and(|current| record.passwords.get(&current) == Some(&new));
    if truth.strategy.is_overlap() && record.state.open.is_none() && again {
        // A node that forgot current gets it again before the former password is taken away.
        return Ok(());
    }
    let open = record.state.open.as_ref().ok_or_else(|| format!("{target}: P1: a call leaves without a rotation"))?;
    let intended = matches!(&open.phase, Phase::Sent { call: intended, .. } if *intended == call);
    told(intended, "P1: a call leaves and its intent is not durable")?;
    let candidate = open.candidate.ok_or("a call without a candidate")?;
    told(record.password(candidate)? == new, "P1: a call leaves with another password than the candidate's")?;
    told(index(open.account.as_deref()) == account, "a call for another account than the rotation's")?;
    told(
        record.retired || record.projection.holds.as_ref() == Some(&truth.key),
        "P5: a call leaves and the instance is not held",
    )?;
    let questioned = truth.in_question[account].filter(|_| truth.is_undisturbed());
    told(
        questioned.is_none_or(|questioned| questioned == new),
        "P2: another password is sent while the outcome of the last is unknown",
    )
}

/// A password is about to be taken away.
pub fn before_retiring(inner: &Inner, target: &TargetName, process: &Process, old: u64) -> Told {
    let (record, _) = of(inner, target)?;
    let current = record.state.standing.current.as_ref().and_then(|current| record.passwords.get(&current.generation));
    ensure(!owns(record, process) || current != Some(&old), || format!("{target}: current is taken away"))
}

/// P3 and P4: a sink is about to receive something.
pub fn before_delivery(
    inner: &Inner,
    target: &TargetName,
    process: &Process,
    sink: &SinkName,
    (generation, password): (Generation, u64),
) -> Told {
    let (record, truth) = of(inner, target)?;
    let told = |rule: bool, what: &str| ensure(rule, || format!("{target}, {sink}: {what} (generation {generation})"));
    told(record.password(generation)? == password, "P3: a sink receives a password that is not this generation's")?;
    let current = record.state.standing.current.as_ref().ok_or("P3: a delivery before anything is current")?;
    told(generation <= current.generation, "P3: a sink receives what is not proven, durably")?;
    if !owns(record, process) {
        return Ok(());
    }
    told(generation == current.generation, "P4: a sink receives an older generation than current")?;
    let was_live = match &truth.instance {
        Instance::Accounts(clouds) => {
            let cloud = &clouds[index(current.account.as_deref())];
            cloud.ever_live.contains(&password) || (current.proof == Proof::Acceptance && cloud.may_become(password))
        }
        Instance::Nodes(nodes) => nodes.ever_live.contains(&password),
    };
    let blind = current.proof != Proof::Login && (truth.instance.foreign() > 0 || truth.replaced);
    told(was_live || blind, "P3: it was never live")
}

/// An event became durable.
pub fn after_event(inner: &mut Inner, target: &TargetName, before: &State, event: &Event) -> Told {
    let named = |broken| format!("{target}: {broken}");
    {
        let (record, truth) = of(inner, target)?;
        check_kept(record, truth, before, event).map_err(named)?;
    }
    match &event.what {
        What::Halted { fault } => {
            ensure(!fault.next_step.is_empty() && !fault.what.is_empty(), || {
                named("a halt without a next step".to_owned())
            })?;
            ensure(fault.kind != Kind::Bug, || named(format!("halted by a defect: {fault}")))?;
            *inner.tally.halts.entry(format!("{:?}", fault.kind)).or_default() += 1;
        }
        What::Proven { generation, proof } => {
            *inner.tally.proofs.entry(format!("{proof:?}")).or_default() += 1;
            let password = of(inner, target)?.0.password(*generation)?;
            let truth = inner.truths.get_mut(target).ok_or("no such target")?;
            let proven = truth.login != Some(true) || *proof == Proof::Login;
            ensure(proven, || format!("{target}: P3: proven by {proof:?}, and a login was never let in"))?;
            for questioned in &mut truth.in_question {
                *questioned = questioned.filter(|&questioned| questioned != password);
            }
            if *proof == Proof::Acceptance {
                truth.on_word.insert(*generation);
            }
        }
        What::Adopted { generation, .. } | What::Paired { generation, .. } | What::Replaced { generation, .. } => {
            let password = of(inner, target)?.0.password(*generation)?;
            let truth = inner.truths.get_mut(target).ok_or("no such target")?;
            truth.strange.remove(&password);
            if matches!(event.what, What::Replaced { .. }) {
                truth.replaced = true;
                truth.in_question = [None; 2];
            }
        }
        What::Delivered { sink, generation, .. } => {
            let (_, truth) = of(inner, target)?;
            let held = truth.sinks.get(sink).and_then(|shelf| shelf.held).map(|(held, _)| held);
            let there = truth.is_spoilt(sink) || held >= Some(*generation);
            ensure(there, || named(format!("P4: {sink} is recorded as delivered and holds {held:?}")))?;
        }
        What::HookTold { hook } => {
            let (record, truth) = of(inner, target)?;
            let generation = record.state.open.as_ref().and_then(|open| open.candidate).ok_or("told of nothing")?;
            let told = truth.told.contains(&(hook.clone(), generation));
            ensure(told, || named(format!("{hook} is recorded as told and was not")))?;
        }
        What::Settled { .. } => {
            inner.tally.rotations += 1;
            let (record, truth) = of(inner, target)?;
            check_settled(record, truth).map_err(named)?;
        }
        _ => {}
    }
    Ok(())
}

/// Settled is true: current is live unless somebody else interfered, and a fold may begin here.
fn check_settled(record: &Record, truth: &Truth) -> Told {
    let current = record.state.standing.current.as_ref().ok_or("settled without a current password")?;
    let password = record.password(current.generation)?;
    let live = match &truth.instance {
        Instance::Accounts(clouds) => {
            let cloud = &clouds[index(current.account.as_deref())];
            cloud.live == password || cloud.may_become(password)
        }
        Instance::Nodes(nodes) => {
            nodes.up().all(|node| node.valid.contains(&password) || node.forgot.contains(&password))
        }
    };
    ensure(live || !truth.is_undisturbed(), || "settled although current is not live".to_owned())?;
    check_folds(record)
}

/// P2: no candidate disappears while it may be live or become so.
fn check_kept(record: &Record, truth: &Truth, before: &State, event: &Event) -> Told {
    if matches!(event.what, What::Replaced { .. } | What::Paired { .. }) {
        return Ok(());
    }
    let kept = |state: &State| {
        let candidate = state.open.as_ref().and_then(|open| open.candidate);
        [candidate, state.standing.spare]
    };
    let current = record.state.standing.current.as_ref().map(|current| current.generation);
    for generation in kept(before).into_iter().flatten() {
        if kept(&record.state).contains(&Some(generation)) || current == Some(generation) {
            continue;
        }
        let password = record.password(generation)?;
        if let Instance::Accounts(clouds) = &truth.instance {
            for cloud in clouds {
                ensure(password != cloud.live, || "P2: a live candidate was dropped".to_owned())?;
                ensure(!cloud.may_become(password), || "P2: a candidate that may become live was dropped".to_owned())?;
            }
        }
        let broke_a_rule = matches!(event.what, What::Discarded { .. });
        ensure(broke_a_rule, || format!("P2: generation {generation} was forgotten without need"))?;
    }
    Ok(())
}

/// What must hold of a target at rest when nobody interferes any more: `sinks` are those that its configuration names.
pub fn check_rest(inner: &mut Inner, target: &TargetName, sinks: &[SinkName]) -> Told {
    check(inner, target)?;
    let (record, truth) = of(inner, target)?;
    let told = |rule: bool, what: String| ensure(rule, || format!("{target}: at rest {what}"));
    check_folds(record)?;
    let current = record.state.standing.current.as_ref().map(|current| current.generation);
    for sink in sinks.iter().filter(|sink| !truth.is_spoilt(sink)) {
        let held = truth.sinks.get(sink).and_then(|shelf| shelf.held).map(|(held, _)| held);
        told(held == current, format!("although {sink} holds {held:?} and not current, {current:?}"))?;
    }
    let asked = record.rows.iter().filter(|row| matches!(row.event.what, What::Asked { .. })).count();
    told(asked >= truth.promised, format!("although {} rotations were promised and {asked} recorded", truth.promised))
}
