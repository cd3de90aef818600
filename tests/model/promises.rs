//! The promises as properties. P1 to P5 hold in every state. P6 is two of them: nothing is left to be done only where the target is settled or a person is asked
//! (here), and no run is endless (`endless.rs`).

use super::cloud::{Change, Password, STRANGE, bit, each};
use super::turn::index;
use super::world::{Broken, Setting, World};
use keywheel::name::Generation;
use keywheel::rotation::answer::Login;
use keywheel::rotation::event::Proof;
use keywheel::rotation::plan::Strategy;
use keywheel::rotation::state::{DoubtCause, Phase, State};
use stateright::{Model, Property};
use std::collections::BTreeSet;

pub fn always() -> Vec<Property<Setting>> {
    vec![
        Property::always("P1 what may become live is on disk", |_, world: &World| on_disk(world)),
        Property::always("P1 what may be live is named", |setting: &Setting, world: &World| named(setting, world)),
        Property::always("P2 nothing is dropped without proof", |_, world: &World| {
            !matches!(world.broken, Some(Broken::Dropped(_)))
        }),
        Property::always("P2 one new password at a time", |_, world: &World| one_at_a_time(world)),
        Property::always("P3 a sink holds only what was proven", |setting: &Setting, world: &World| {
            proven(setting, world)
        }),
        Property::always("P4 the record credits no sink with more than it has", |setting: &Setting, world: &World| {
            credited(setting, world)
        }),
        Property::always("P4 no sink goes backwards", |_, world: &World| world.broken != Some(Broken::Backwards)),
        Property::always("P5 who lost its claim writes nothing", |_, world: &World| {
            world.broken != Some(Broken::Usurped)
        }),
        Property::always(
            "current is let in everywhere, where it is not replaced",
            |setting: &Setting, world: &World| {
                matches!(setting.plan.strategy, Strategy::InPlace) || world.cloud.disturbed || current_is_let_in(world)
            },
        ),
        Property::always("P6 at rest of an overlap nothing else is let in", |setting: &Setting, world: &World| {
            !setting.plan.strategy.is_overlap()
                || world.cloud.disturbed
                || !is_settled(setting, world)
                || has_moves(setting, world)
                || only_current_is_let_in(world)
        }),
        Property::always("P6 it ends settled, or asks a person", |setting: &Setting, world: &World| {
            is_at_rest(setting, world) || has_moves(setting, world)
        }),
        Property::always("P6 at rest current is live", |setting: &Setting, world: &World| {
            !is_settled(setting, world) || !world.cloud.changes.is_empty() || current_is_live(world)
        }),
        Property::always("P6 no person is asked without a cause", |setting: &Setting, world: &World| {
            !setting.prompt || world.durable().halt.is_none() || has_cause(setting, world)
        }),
        Property::always("the core never contradicts itself", |_, world: &World| {
            !matches!(world.broken, Some(Broken::Contradiction(_)))
        }),
    ]
}

/// Changes that would happen if they took effect now, those of calls about to leave among them. Calls that nobody could take back are left out.
fn possible(world: &World) -> Vec<Change> {
    let all = world.cloud.changes.iter().cloned().chain(world.calls_to_come());
    all.filter(|change| !change.stray && world.cloud.fits(change)).collect()
}

/// Whether this is current on the cloud's word alone, and the word may still come true. Only where no login route exists.
fn on_word(setting: &Setting, world: &World, password: Password) -> bool {
    let current = world.durable().standing.current.as_ref();
    let on_word = !setting.plan.login && current.is_some_and(|current| current.proof == Proof::Acceptance);
    on_word && world.cloud.changes.iter().any(|change| change.new == password)
}

fn on_disk(world: &World) -> bool {
    let known = |password: Password| world.ledger.disk.passwords.iter().any(|(_, known)| *known == password);
    each(world.cloud.live()).all(|live| live == STRANGE || known(live))
        && world.cloud.changes.iter().all(|change| known(change.new))
}

fn named(setting: &Setting, world: &World) -> bool {
    let named: BTreeSet<Password> =
        world.durable().candidates().iter().filter_map(|&generation| world.ledger.disk.password(generation)).collect();
    let current = world.durable().standing.current.as_ref();
    let word = current.and_then(|current| world.ledger.disk.password(current.generation));
    let on_word = word.is_some_and(|password| on_word(setting, world, password));
    let live = world.cloud.disturbed || on_word || each(world.cloud.live()).all(|live| named.contains(&live));
    live && possible(world).iter().all(|change| named.contains(&change.new))
}

fn one_at_a_time(world: &World) -> bool {
    let possible = possible(world);
    let at = |door| possible.iter().filter(move |change| change.door == door).map(|change| change.new);
    (0..world.cloud.doors.len()).all(|door| at(door).collect::<BTreeSet<_>>().len() <= 1)
}

/// What a sink holds is current or was, in the record, and was live. Where no login can tell, the cloud's word stands for it.
fn proven(setting: &Setting, world: &World) -> bool {
    let Some(current) = &world.durable().standing.current else { return false };
    world.sinks.iter().all(|&held| {
        let was_live =
            world.ledger.disk.password(held).is_some_and(|password| {
                world.cloud.ever_live & bit(password) != 0 || on_word(setting, world, password)
            });
        let by_word = !setting.plan.login && world.cloud.disturbed;
        held <= current.generation && (was_live || by_word)
    })
}

fn credited(setting: &Setting, world: &World) -> bool {
    let believed = |place: usize| {
        let outlet = world.durable().standing.sinks.get(&setting.plan.sinks[place]);
        outlet.and_then(|outlet| outlet.generation)
    };
    world.sinks.iter().enumerate().all(|(place, held)| believed(place) <= Some(*held))
}

fn has_moves(setting: &Setting, world: &World) -> bool {
    let mut moves = Vec::new();
    setting.actions(world, &mut moves);
    !moves.is_empty()
}

fn is_at_rest(setting: &Setting, world: &World) -> bool {
    world.broken.is_some()
        || is_settled(setting, world)
        || world.durable().halt.as_ref().is_some_and(|halt| !halt.fault.next_step.is_empty())
}

/// Nothing is open, nothing is asked for, and every sink holds current.
pub fn is_settled(setting: &Setting, world: &World) -> bool {
    let state = world.durable();
    let Some(current) = &state.standing.current else { return false };
    state.open.is_none()
        && state.halt.is_none()
        && state.asked.is_none()
        && world.sinks.len() == setting.plan.sinks.len()
        && world.sinks.iter().all(|&held| held == current.generation)
}

fn current_is_live(world: &World) -> bool {
    let standing = &world.durable().standing;
    // An overlap's former password is on its way out.
    let former = standing.former.as_ref().filter(|_| !world.cloud.beside);
    world.cloud.disturbed
        || standing.current.iter().chain(former).all(|known| {
            let password = world.ledger.disk.password(known.generation);
            password.is_some_and(|password| world.cloud.live() & bit(password) != 0)
        })
}

fn current(world: &World) -> Option<(usize, Password)> {
    let current = world.durable().standing.current.as_ref()?;
    Some((index(current.account.as_deref()), world.ledger.disk.password(current.generation)?))
}

fn current_is_let_in(world: &World) -> bool {
    current(world).is_some_and(|(account, password)| world.cloud.login(account, password) == Login::Accepted)
}

fn only_current_is_let_in(world: &World) -> bool {
    current(world).is_some_and(|(_, password)| world.cloud.doors.iter().all(|&door| door == bit(password)))
}

/// Something went wrong, or somebody else interfered.
fn has_cause(setting: &Setting, world: &World) -> bool {
    let (then, now) = (&setting.left, &world.left);
    (then.faults, then.crashes, then.sleeps, then.intrusions, then.delays)
        != (now.faults, now.crashes, now.sleeps, now.intrusions, now.delays)
}

/// What an exploration has to come across, or it explores nothing.
pub mod sometimes {
    use super::*;

    fn open(world: &World, holds: fn(&keywheel::rotation::state::Rotation) -> bool) -> bool {
        world.durable().open.as_ref().is_some_and(holds)
    }

    fn generation(state: &State) -> Generation {
        state.standing.current.as_ref().map(|current| current.generation).unwrap_or_default()
    }

    pub fn settles() -> Property<Setting> {
        Property::sometimes("a new generation settles", |setting: &Setting, world: &World| {
            is_settled(setting, world) && generation(world.durable()) > generation(setting.begin.durable())
        })
    }

    pub fn goes_on_without_a_sink() -> Property<Setting> {
        Property::sometimes("the next rotation begins while a sink is behind", |_, world: &World| {
            world.durable().earlier.is_some()
        })
    }

    pub fn settles_twice() -> Property<Setting> {
        Property::sometimes("two rotations settle", |setting: &Setting, world: &World| {
            is_settled(setting, world) && generation(world.durable()).0 > generation(setting.begin.durable()).0 + 1
        })
    }

    pub fn halts() -> Property<Setting> {
        Property::sometimes("a person is asked", |_, world: &World| world.durable().halt.is_some())
    }

    pub fn repeats() -> Property<Setting> {
        Property::sometimes("the same call goes out again after doubt", |_, world: &World| {
            open(world, |open| open.exposed && matches!(open.phase, Phase::Sent { .. }))
        })
    }

    pub fn old_password_gone() -> Property<Setting> {
        Property::sometimes("the repeated call finds the old password gone", |_, world: &World| {
            open(world, |open| {
                open.exposed
                    && matches!(&open.phase, Phase::Doubt(doubt) if doubt.cause == DoubtCause::OldPasswordWrong)
            })
        })
    }

    pub fn redraws() -> Property<Setting> {
        Property::sometimes("a candidate that broke a rule is replaced", |_, world: &World| {
            open(world, |open| open.redraws > 0)
        })
    }

    pub fn spares() -> Property<Setting> {
        Property::sometimes("a window closes on an unsent candidate", |_, world: &World| {
            world.durable().standing.spare.is_some()
        })
    }

    pub fn fences() -> Property<Setting> {
        Property::sometimes("a sleeper is about to write with a lost claim", |_, world: &World| {
            world.sleeper.as_ref().is_some_and(|turn| {
                turn.fence < world.ledger.fence && matches!(turn.step, super::super::turn::Step::Append { .. })
            })
        })
    }

    pub fn sends_asleep() -> Property<Setting> {
        Property::sometimes("a sleeper's call leaves after its claim was lost", |_, world: &World| {
            world.sleeper.as_ref().is_some_and(|turn| turn.fence < world.ledger.fence)
                && world.calls_to_come().count() > 0
                && world.holder.is_some()
        })
    }
}
