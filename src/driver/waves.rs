//! Which targets of a selection may begin in a slot, as their records stand now. What stands there is read once and noted from then on.

use super::target::{PlanSettings, Target};
use super::{Driver, Fleet, lock};
use crate::fault::{Fault, Kind};
use crate::moment::Moment;
use crate::name::TargetName;
use crate::rotation::fold;
use crate::rotation::plan::{Hold, Plan};
use crate::rotation::state::State;
use crate::rotation::waves::{Members, Stand, Stop, Waves};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// The selections whose targets follow each other.
pub(super) struct Boards {
    /// By the selection's name.
    boards: Mutex<BTreeMap<TargetName, Board>>,
    /// One at a time reads the records of a selection.
    reading: tokio::sync::Mutex<()>,
    /// Whose wait may be over, and what is rung then.
    woken: Mutex<BTreeSet<TargetName>>,
    bell: Arc<Notify>,
}

struct Board {
    members: Arc<Members>,
    /// Whose record was noted already, until all of them are.
    unread: BTreeSet<TargetName>,
    /// By slot who waits for the others, and why nothing more began when somebody looked last.
    waiting: BTreeMap<Moment, BTreeSet<TargetName>>,
    stop: Option<Stop>,
}

/// Which of these targets follow each other: by selection, and in their order. Who goes first is who is due first; of those that are due together the
/// first by name.
pub fn followers<'a>(
    targets: impl Iterator<Item = (&'a TargetName, &'a PlanSettings)>,
) -> BTreeMap<TargetName, Members> {
    let mut all: BTreeMap<TargetName, (Waves, BTreeSet<(Duration, TargetName)>)> = BTreeMap::new();
    for (name, settings) in targets.filter(|(_, settings)| !settings.timetable.is_by_hand()) {
        if let Some((selection, waves)) = &settings.wave {
            let (_, order) = all.entry(selection.clone()).or_insert_with(|| (*waves, BTreeSet::new()));
            order.insert((settings.timetable.own_splay(), name.clone()));
        }
    }
    let members = |(waves, order): (Waves, BTreeSet<(Duration, TargetName)>)| {
        Members::new(waves, order.into_iter().map(|(_, name)| name).collect())
    };
    all.into_iter().map(|(selection, order)| (selection, members(order))).collect()
}

impl Boards {
    /// None yet.
    pub(super) fn new(bell: Arc<Notify>) -> Self {
        Self { boards: Mutex::default(), reading: tokio::sync::Mutex::default(), woken: Mutex::default(), bell }
    }

    /// Another fleet.
    pub(super) fn replace(&self, fleet: &Fleet) {
        let targets = fleet.values().map(|target| (&target.name, &target.settings));
        let mut boards = BTreeMap::new();
        for (selection, members) in followers(targets) {
            let unread = members.names().cloned().collect();
            let board = Board { members: Arc::new(members), unread, waiting: BTreeMap::new(), stop: None };
            boards.insert(selection, board);
        }
        *lock(&self.boards) = boards;
    }

    /// What stands in the target's record from now on. Those that waited for it look again.
    pub(super) fn note(&self, target: &Target, state: &State, now: Moment) {
        let Some((selection, _)) = &target.settings.wave else { return };
        let mut boards = lock(&self.boards);
        let Some(board) = boards.get_mut(selection) else { return };
        board.unread.remove(&target.name);
        if !Arc::make_mut(&mut board.members).note(&target.name, Stand::of(state)) {
            return;
        }
        let Board { members, waiting, stop, .. } = board;
        let before = std::mem::replace(stop, members.stop(now));
        let mut woken = BTreeSet::new();
        waiting.retain(|slot, names| {
            match (before == *stop, &stop) {
                (false, _) => woken.append(names),
                (true, Some(_)) => {}
                // A place may be another one, too: somebody before it was paused.
                (true, None) => woken.extend(members.beginning(*slot, now).filter_map(|name| names.take(name))),
            }
            !names.is_empty()
        });
        if !woken.is_empty() {
            lock(&self.woken).append(&mut woken);
            self.bell.notify_one();
        }
    }

    /// Whose wait may be over since this was asked last.
    pub(super) fn woken(&self) -> BTreeSet<TargetName> {
        std::mem::take(&mut lock(&self.woken))
    }
}

impl Driver {
    /// Keeps a target from beginning before others of its selection have settled. It is woken when they have. `false` where their records had to be read
    /// first: then it is another time, and everything is to be looked at anew.
    ///
    /// # Errors
    /// When a record cannot be read: then nobody knows whether it may begin.
    pub(super) async fn hold_back(&self, target: &Target, plan: &mut Plan, now: Moment) -> Result<bool, Fault> {
        let (Some((selection, _)), Some(slot), true, None) =
            (&target.settings.wave, plan.slot, plan.may_start, &plan.hold)
        else {
            return Ok(true);
        };
        if self.read_records(selection).await? {
            return Ok(false);
        }
        let mut boards = lock(&self.boards.boards);
        let Some(board) = boards.get_mut(selection) else { return Ok(true) };
        plan.hold = board.members.held(&target.name, slot.nominal, now).map(Hold::Wave);
        board.waiting.retain(|_, names| {
            names.remove(&target.name);
            !names.is_empty()
        });
        if plan.hold.is_some() {
            if board.waiting.is_empty() {
                board.stop = board.members.stop(now);
            }
            board.waiting.entry(slot.nominal).or_default().insert(target.name.clone());
        }
        Ok(true)
    }

    /// The targets that this one follows or goes before, as far as their records are known.
    pub fn members(&self, target: &Target) -> Option<Arc<Members>> {
        let (selection, _) = target.settings.wave.as_ref()?;
        let boards = lock(&self.boards.boards);
        boards.get(selection).filter(|board| board.unread.is_empty()).map(|board| Arc::clone(&board.members))
    }

    /// The selections of which nothing more begins, and why.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub async fn stopped_waves(&self) -> Result<Vec<(TargetName, Stop)>, Fault> {
        let selections: Vec<TargetName> = lock(&self.boards.boards).keys().cloned().collect();
        for selection in &selections {
            self.read_records(selection).await?;
        }
        let (boards, now) = (lock(&self.boards.boards), self.tools.clock.now());
        Ok(boards.iter().filter_map(|(selection, board)| Some((selection.clone(), board.members.stop(now)?))).collect())
    }

    /// Whether there was anything to read.
    async fn read_records(&self, selection: &TargetName) -> Result<bool, Fault> {
        let unread = || {
            let boards = lock(&self.boards.boards);
            boards.get(selection).map(|board| board.unread.clone()).unwrap_or_default()
        };
        if unread().is_empty() {
            return Ok(false);
        }
        let _one_at_a_time = self.boards.reading.lock().await;
        for name in unread() {
            let rows = self.tools.ledger.recent(&name).await?;
            let state = fold(rows.iter().map(|row| &row.event))
                .map_err(|illegal| Fault::new(Kind::LedgerCorrupt, format!("target {name}: {illegal}")))?;
            let mut boards = lock(&self.boards.boards);
            let Some(board) = boards.get_mut(selection) else { break };
            // What a turn noted meanwhile is newer than what was read.
            if board.unread.remove(&name) {
                Arc::make_mut(&mut board.members).note(&name, Stand::of(&state));
            }
        }
        Ok(true)
    }
}
