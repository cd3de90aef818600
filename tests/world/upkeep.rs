//! Between rotations: passwords are taken in, verified and taken away.

use super::instance::{Instance, PAIR, index};
use super::perform::Performed;
use super::plan::PLACE;
use super::{Told, World, ensure, fault};
use keywheel::fault::{Fault, Kind};
use keywheel::name::{Generation, SinkName};
use keywheel::rotation::answer::{Answer, Login};
use keywheel::rotation::event::{By, Proof, What};

macro_rules! or_die {
    ($world:ident) => {
        if let Err(crash) = $world.may_crash() {
            return Ok(Err(crash));
        }
    };
}

impl World {
    /// The password that worked when the story began. One that the instance refuses is not taken in.
    pub(super) fn adopt(&mut self) -> Told<What> {
        let generation = self.state.standing.newest.following();
        let proof = if self.plan.login { Proof::Login } else { Proof::Stated };
        if self.plan.login {
            match self.instance.login(0, 1, self.now, &mut self.dice) {
                Login::Accepted => {}
                Login::Refused if self.plan.take_over => return Ok(What::Blocked { fault: fault(Kind::LoginRefused) }),
                Login::Refused => return Ok(What::Halted { fault: fault(Kind::LoginRefused) }),
                Login::Mixed | Login::PasswordFree | Login::Unreachable { .. } => {
                    return Ok(What::Blocked { fault: fault(Kind::LoginUnreachable) });
                }
            }
        }
        self.take_in(generation, 1, 0);
        let account = self.plan.strategy.is_alternate().then(|| PAIR[0].to_owned());
        Ok(What::Adopted { generation, proof, by: By::Configuration, reason: None, place: PLACE.to_owned(), account })
    }

    /// The resting account's password, as it was when the story began: it may have changed since.
    pub(super) fn pair(&mut self, account: String) -> Told<What> {
        ensure(self.plan.adopts_resting, "asks for a password that nobody knows")?;
        let at = index(Some(&account));
        let password = 1 + at as u64;
        let generation = self.state.standing.newest.following();
        let proof = if self.plan.login { Proof::Login } else { Proof::Stated };
        if self.plan.login && self.instance.login(at, password, self.now, &mut self.dice) != Login::Accepted {
            return Ok(What::Blocked { fault: fault(Kind::LoginRefused) });
        }
        self.take_in(generation, password, at);
        Ok(What::Paired { generation, proof, by: By::Configuration, reason: None, account })
    }

    /// A login with current, and a look into every sink.
    pub(super) fn verify(&mut self, generation: Generation) -> Performed {
        ensure(self.plan.login && self.plan.verify_every.is_some(), "a verification without a route or a wish")?;
        let account = self.opens[&generation];
        let password = self.password(generation)?;
        let login = self.instance.login(account, password, self.now, &mut self.dice);
        or_die!(self);
        self.append(What::Verified { login })?;
        for sink in self.plan.sinks.clone() {
            or_die!(self);
            self.look_into(sink, generation)?;
        }
        Ok(Ok(()))
    }

    fn look_into(&mut self, sink: SinkName, generation: Generation) -> Told {
        let outlet = self.state.standing.sinks.get(&sink);
        let Some(outlet) = outlet.filter(|outlet| outlet.generation == Some(generation)) else { return Ok(()) };
        let differs = outlet.differs;
        if self.fails() {
            return Ok(());
        }
        if self.deleted.contains(&sink) {
            return self.append(What::SinkLost { sink });
        }
        match (self.meddled.contains(&sink), differs) {
            (true, false) => self.append(What::SinkDiffers { sink }),
            (false, true) => self.append(What::SinkAgrees { sink }),
            (true, true) | (false, false) => Ok(()),
        }
    }

    /// Takes a password away, as a driver does: current is proven first, and given again to a node that forgot it.
    pub(super) fn retire(&mut self, generation: Generation, current: Generation) -> Performed {
        ensure(self.instance.nodes().is_some(), "an account of a cloud has one password at a time")?;
        let (old, new) = (self.password(generation)?, self.password(current)?);
        // A person gave again what one of them was already: what would go is what stays.
        let taken = if old == new { Ok(()) } else { self.take_away(old, new) };
        self.say_what_is_live();
        self.check_promises()?;
        or_die!(self);
        if taken.as_ref().is_err_and(|fault| fault.kind == Kind::LoginRefused) {
            self.append(What::Verified { login: Login::Refused })?;
        }
        self.append(match taken {
            Ok(()) => What::Retired { generation },
            Err(fault) => What::RetireFailed { generation, fault },
        })?;
        Ok(Ok(()))
    }

    fn take_away(&mut self, old: u64, new: u64) -> Result<(), Fault> {
        let (now, dice) = (self.now, &mut self.dice);
        let Instance::Nodes(nodes) = &mut self.instance else { return Err(fault(Kind::Bug)) };
        match nodes.login(new, dice) {
            Login::Accepted => {}
            Login::Mixed => match nodes.add(new, now, dice) {
                Answer::Accepted { .. } => {}
                Answer::Refused { fault, .. } | Answer::Unanswered { fault } => return Err(fault),
            },
            Login::Refused => return Err(fault(Kind::LoginRefused)),
            Login::PasswordFree | Login::Unreachable { .. } => return Err(fault(Kind::LoginUnreachable)),
        }
        nodes.remove(old, new, now, dice)?;
        match (nodes.login(old, dice), nodes.login(new, dice)) {
            (Login::Refused, Login::Accepted) => Ok(()),
            (_, _) => Err(fault(Kind::Busy)),
        }
    }

    pub(super) fn say_what_is_live(&mut self) {
        let live = match &self.instance {
            Instance::Accounts(clouds) => format!("{:?}", clouds.iter().map(|cloud| cloud.live).collect::<Vec<_>>()),
            Instance::Nodes(nodes) => {
                format!("{:?}", nodes.nodes.iter().map(|node| (&node.valid, &node.forgot)).collect::<Vec<_>>())
            }
        };
        self.say(format!("    . live: {live}"));
    }
}
