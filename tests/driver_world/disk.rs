//! The simulated ledger: it keeps what its contract says and nothing more. An append is there whole or not at all; one that gave an error, or gave no
//! answer because the process died, may be either. A claim is a lease with a fencing number.

use super::promises;
use super::sim::{Inner, Process, Told, ensure, number, text};
use async_trait::async_trait;
use keywheel::fault::{Fault, Kind};
use keywheel::ledger::known::{Known, Lists};
use keywheel::ledger::{CLAIM_LASTS, Claim, Entry, Ledger, Listing, Projection, Row};
use keywheel::moment::Moment;
use keywheel::name::{Fence, Generation, TargetName};
use keywheel::rotation::event::{By, What};
use keywheel::rotation::state::{Label, State};
use keywheel::rotation::{apply, fold};
use keywheel::secret::Secret;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How long a claim lasts that its process does not give up or use, in milliseconds: no longer than it has to.
pub const LEASE: i64 = CLAIM_LASTS.as_millis() as i64;

/// What is durable.
#[derive(Default)]
pub struct Disk {
    pub records: BTreeMap<TargetName, Record>,
    /// Full until then, and unreadable until then (true time).
    pub full_until: i64,
    pub unreadable_until: i64,
}

/// One target's record.
pub struct Record {
    pub rows: Vec<Row>,
    /// Where reading begins.
    pub base: usize,
    /// What the rows mean.
    pub state: State,
    pub passwords: BTreeMap<Generation, u64>,
    /// Which account each generation opens, as the events name it.
    pub opens: BTreeMap<Generation, Option<String>>,
    pub projection: Projection,
    pub retired: bool,
    pub fence: u64,
    pub holder: Option<Holder>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub process: u64,
    pub fence: u64,
    pub until: i64,
}

impl Record {
    pub fn new(now: Moment) -> Self {
        let projection = Projection {
            wake_at: now,
            label: Label::Due,
            why: "new".to_owned(),
            generation: Generation::default(),
            holds: None,
        };
        Self {
            rows: Vec::new(),
            base: 0,
            state: State::default(),
            passwords: BTreeMap::new(),
            opens: BTreeMap::new(),
            projection,
            retired: false,
            fence: 0,
            holder: None,
        }
    }

    /// The claim that holds it now.
    pub fn held(&self, now: i64) -> Option<Holder> {
        self.holder.filter(|holder| now < holder.until)
    }

    pub fn password(&self, generation: Generation) -> Told<u64> {
        let known = self.passwords.get(&generation).copied();
        known.ok_or_else(|| format!("the ledger holds no password for generation {generation}"))
    }
}

fn full() -> Fault {
    Fault::new(Kind::LedgerFull, "the disk is full")
}

fn broken_disk(what: &str) -> Fault {
    Fault::new(Kind::LedgerUnusable, what)
}

/// The ledger as one process sees it.
pub struct DiskOf(pub Arc<Process>);

impl DiskOf {
    fn readable(inner: &mut Inner) -> Result<(), Fault> {
        if inner.now < inner.disk.unreadable_until {
            inner.count("ledger read failed");
            return Err(broken_disk("EIO while reading"));
        }
        Ok(())
    }

    fn writable(inner: &mut Inner) -> Result<(), Fault> {
        if inner.now < inner.disk.full_until {
            inner.count("disk full");
            return Err(full());
        }
        if inner.strikes(10, "ledger write failed, not written") {
            return Err(broken_disk("EIO while writing"));
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for DiskOf {
    async fn enlist(&self, targets: &[TargetName], now: Moment) -> Result<(), Fault> {
        self.0.wait().await;
        let mut inner = self.0.sim.lock();
        Self::writable(&mut inner)?;
        for (name, record) in &mut inner.disk.records {
            let named = targets.contains(name);
            if !named && !record.retired {
                record.projection.wake_at = Moment::NEVER;
                record.projection.holds = None;
            } else if named && record.retired {
                record.projection.wake_at = now;
            }
            record.retired = !named;
        }
        for name in targets {
            inner.disk.records.entry(name.clone()).or_insert_with(|| Record::new(now));
        }
        Ok(())
    }

    /// What is claimed is looked after and is left out.
    async fn due(&self, now: Moment, limit: usize) -> Result<Vec<TargetName>, Fault> {
        self.0.alive().await;
        let mut inner = self.0.sim.lock();
        Self::readable(&mut inner)?;
        let at = inner.now;
        let due = |record: &Record| record.projection.wake_at <= now && record.held(at).is_none();
        let records = inner.disk.records.iter().filter(|(_, record)| due(record));
        let mut found: Vec<_> = records.map(|(name, record)| (record.projection.wake_at, name.clone())).collect();
        found.sort();
        Ok(found.into_iter().take(limit).map(|(_, name)| name).collect())
    }

    async fn claim(&self, target: &TargetName, _now: Moment) -> Result<Option<Box<dyn Claim>>, Fault> {
        self.0.wait().await;
        let mut inner = self.0.sim.lock();
        let now = inner.now;
        if inner.disk.records.get(target).is_some_and(|record| record.held(now).is_some()) {
            return Ok(None);
        }
        Self::writable(&mut inner)?;
        let Some(record) = inner.disk.records.get_mut(target) else {
            return Err(Fault::new(Kind::Bug, "it was never enlisted"));
        };
        record.fence += 1;
        let fence = record.fence;
        record.holder = Some(Holder { process: self.0.id, fence, until: now + LEASE });
        drop(inner);
        Ok(Some(Box::new(ClaimOf { process: Arc::clone(&self.0), target: target.clone(), fence })))
    }

    async fn recent(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.0.wait().await;
        let mut inner = self.0.sim.lock();
        Self::readable(&mut inner)?;
        let record = inner.disk.records.get(target);
        Ok(record.map(|record| record.rows[record.base..].to_vec()).unwrap_or_default())
    }

    async fn history(&self, target: &TargetName) -> Result<Vec<Row>, Fault> {
        self.0.alive().await;
        Ok(self.0.sim.lock().disk.records.get(target).map(|record| record.rows.clone()).unwrap_or_default())
    }

    async fn listing(&self) -> Result<Vec<Listing>, Fault> {
        self.0.wait().await;
        let mut inner = self.0.sim.lock();
        Self::readable(&mut inner)?;
        let listing = |(name, record): (&TargetName, &Record)| Listing {
            target: name.clone(),
            projection: record.projection.clone(),
        };
        Ok(inner.disk.records.iter().map(listing).collect())
    }

    async fn password(&self, target: &TargetName, generation: Generation) -> Result<Secret, Fault> {
        self.0.alive().await;
        let mut inner = self.0.sim.lock();
        Self::readable(&mut inner)?;
        let known = inner.disk.records.get(target).and_then(|record| record.passwords.get(&generation));
        known.map(|&known| text(known)).ok_or_else(|| Fault::new(Kind::LedgerCorrupt, "no such password"))
    }

    async fn keep_list(&self, _selection: &TargetName, _list: &[Known]) -> Result<(), Fault> {
        Ok(())
    }

    async fn lists(&self) -> Result<Lists, Fault> {
        Ok(Lists::new())
    }

    async fn keep_note(&self, _name: &'static str, _text: &str) -> Result<(), Fault> {
        Ok(())
    }

    async fn note(&self, _name: &'static str) -> Result<Option<String>, Fault> {
        Ok(None)
    }
}

struct ClaimOf {
    process: Arc<Process>,
    target: TargetName,
    fence: u64,
}

#[async_trait]
impl Claim for ClaimOf {
    fn fence(&self) -> Fence {
        Fence(self.fence)
    }

    async fn append(&mut self, entries: &[Entry], projection: &Projection) -> Result<(), Fault> {
        // A process that dies in this wait has not written, one that dies in the other has, and neither knows.
        self.process.wait().await;
        let (outcome, verdict) = {
            let mut inner = self.process.sim.lock();
            let written = DiskOf::writable(&mut inner);
            match written {
                Err(fault) => (Err(fault), Ok(())),
                Ok(()) => commit(&mut inner, self, entries, projection),
            }
        };
        self.process.sim.judge(verdict);
        self.process.wait().await;
        outcome?;
        if self.process.sim.lock().strikes(10, "ledger write failed, written all the same") {
            return Err(broken_disk("fsync failed"));
        }
        Ok(())
    }
}

impl Drop for ClaimOf {
    fn drop(&mut self) {
        // Who is dead gives nothing up: its lease has to run out.
        if self.process.is_dead() {
            return;
        }
        let mut inner = self.process.sim.lock();
        if let Some(record) = inner.disk.records.get_mut(&self.target)
            && record.holder.is_some_and(|holder| holder.fence == self.fence)
        {
            record.holder = None;
        }
        drop(inner);
        self.process.released.notify_one();
    }
}

/// One transaction.
fn commit(inner: &mut Inner, claim: &ClaimOf, entries: &[Entry], projection: &Projection) -> (Result<(), Fault>, Told) {
    let (now, name) = (inner.now, &claim.target);
    let records = &inner.disk.records;
    let Some(record) = records.get(name) else {
        return (Err(Fault::new(Kind::Bug, "it was never enlisted")), Ok(()));
    };
    if record.fence != claim.fence {
        inner.say(|| format!("{name}: process {} is fenced off", claim.process.id));
        inner.count("claim lost");
        return (Err(Fault::new(Kind::ClaimLost, "claimed again")), Ok(()));
    }
    let clashes = |(other, record): (&TargetName, &Record)| {
        other != name && projection.holds.is_some() && record.projection.holds == projection.holds
    };
    if !record.retired && records.iter().any(clashes) {
        inner.count("instance held by another target");
        return (Err(Fault::new(Kind::Busy, "another target holds the instance")), Ok(()));
    }
    let verdict = entries.iter().try_for_each(|entry| write(inner, name, entry));
    let verdict = verdict.and_then(|()| {
        let record = inner.disk.records.get_mut(name).ok_or("the record is gone")?;
        let (wake_at, holds) = match record.retired {
            true => (record.projection.wake_at, None),
            false => (projection.wake_at, projection.holds.clone()),
        };
        record.projection = Projection { wake_at, holds, ..projection.clone() };
        record.holder = Some(Holder { process: claim.process.id, fence: claim.fence, until: now + LEASE });
        promises::check(inner, name)
    });
    (Ok(()), verdict)
}

/// One event, with what it means for the promises.
fn write(inner: &mut Inner, name: &TargetName, entry: &Entry) -> Told {
    inner.say(|| format!("{name} + {:?}", entry.event.what));
    // It begins without waiting for a sink that is down; one that comes back before the call has had its time all the same.
    if let What::Began { by, slot, .. } = &entry.event.what {
        promises::excuse(inner, name);
        let freezes = inner.truths.get(name).map_or(&[][..], |truth| &truth.freezes);
        let frozen = freezes.iter().filter_map(|freeze| freeze.ahead(entry.event.at));
        let frozen = frozen.map(|frozen| frozen.from).any(|from| from <= entry.event.at);
        ensure(!(frozen && slot.is_some() && *by == By::Schedule), || format!("{name} begins by itself in a freeze"))?;
    }
    let record = inner.disk.records.get_mut(name).ok_or("the record is gone")?;
    if let Some((generation, password)) = &entry.password {
        let before = record.passwords.insert(*generation, number(password));
        ensure(before.is_none(), || format!("generation {generation} of {name} gets a second password"))?;
    }
    match &entry.event.what {
        What::Adopted { generation, account, .. }
        | What::Replaced { generation, account, .. }
        | What::Prepared { generation, account, .. } => {
            record.password(*generation)?;
            record.opens.insert(*generation, account.clone());
        }
        What::Paired { generation, account, .. } => {
            record.password(*generation)?;
            record.opens.insert(*generation, Some(account.clone()));
        }
        What::Settled { .. } => record.base = record.rows.len(),
        _ => {}
    }
    let before = record.state.clone();
    let after = apply(before.clone(), &entry.event);
    record.state = after.map_err(|illegal| format!("{name}: the record makes no sense: {illegal}"))?;
    let seq = record.rows.len() as u64 + 1;
    record.rows.push(Row { seq, rotation: entry.rotation, event: entry.event.clone() });
    promises::after_event(inner, name, &before, &entry.event)
}

/// Recovery is the same fold, and a fold may begin at the last `settled`.
pub fn check_folds(record: &Record) -> Told {
    let whole = fold(record.rows.iter().map(|row| &row.event)).map_err(|illegal| illegal.to_string())?;
    let recent =
        fold(record.rows[record.base..].iter().map(|row| &row.event)).map_err(|illegal| illegal.to_string())?;
    ensure(whole == record.state && recent == whole, || "the folds differ".to_owned())
}
