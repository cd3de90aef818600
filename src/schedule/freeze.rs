//! Dates on which nothing begins by itself: the end of the year, a sale, a move.

use super::calendar::first_shown;
use crate::moment::Moment;
use crate::name::FreezeName;
use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;

/// Years around a moment in which a yearly freeze is looked for: it may begin in one and end in the next, and a zone's clock may show another one.
const YEARS_AROUND: std::ops::RangeInclusive<i32> = -2..=9;

/// A year with every day that a yearly freeze may name.
const LEAP_YEAR: i32 = 2_024;

/// One freeze, once or every year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    name: FreezeName,
    from: Edge,
    to: Edge,
    zone: Tz,
}

/// Where a freeze begins or ends, on the zone's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edge {
    /// `None` = every year.
    year: Option<i32>,
    month: u32,
    day: u32,
    /// `None` = the whole day.
    time: Option<NaiveTime>,
}

/// One stretch of a freeze.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frozen {
    /// What it is called.
    pub name: FreezeName,
    /// The first moment of it.
    pub from: Moment,
    /// The first moment after it.
    pub until: Moment,
}

/// What is wrong with a freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FreezeProblem {
    /// Not a date.
    #[error("this is not a date: write \"2026-12-20\", \"2026-12-20 18:00\", or \"12-20\" for every year")]
    NotADate,
    /// One edge has a year and the other has none.
    #[error("one end has a year and the other has none: write both with a year, or both without")]
    HalfYearly,
    /// It ends before it begins.
    #[error("it ends before it begins")]
    Backwards,
}

impl Freeze {
    /// A freeze from the beginning of `from` to the end of `to`: a date is the whole day, on the wall clock of `zone`. Without years it comes every year.
    ///
    /// # Errors
    /// What is wrong, and whether it is wrong with `to`.
    pub fn parse(name: FreezeName, from: &str, to: &str, zone: Tz) -> Result<Self, (FreezeProblem, bool)> {
        let from = Edge::parse(from).ok_or((FreezeProblem::NotADate, false))?;
        let to = Edge::parse(to).ok_or((FreezeProblem::NotADate, true))?;
        let freeze = Self { name, from, to, zone };
        match (from.year, to.year) {
            (Some(from), Some(_)) if freeze.stretch(from).is_none() => Err((FreezeProblem::Backwards, true)),
            (Some(_), None) | (None, Some(_)) => Err((FreezeProblem::HalfYearly, true)),
            (None, None) if freeze.lasts_for_ever() => Err((FreezeProblem::Backwards, true)),
            (Some(_), Some(_)) | (None, None) => Ok(freeze),
        }
    }

    /// Whether a yearly one would end when it begins, and so never.
    fn lasts_for_ever(&self) -> bool {
        self.from == self.to && self.from.time.is_some()
    }

    /// The first stretch that is not over at `at`.
    pub fn ahead(&self, at: Moment) -> Option<Frozen> {
        let stretch = match self.from.year {
            Some(year) => self.stretch(year).filter(|stretch| at < stretch.until),
            None => {
                let year = at.utc().year();
                let mut stretches = YEARS_AROUND.filter_map(|around| self.stretch(year + around));
                stretches.find(|stretch| at < stretch.until)
            }
        };
        stretch.filter(|stretch| stretch.until < Moment::NEVER)
    }

    /// The stretch that begins in this year; `None` where it would end before it begins: one of the 29th of February alone, in a year without.
    fn stretch(&self, year: i32) -> Option<Frozen> {
        let begins = self.from.begins(year)?;
        let over_the_turn = i32::from(self.is_over_the_turn()?);
        let ends = self.to.ends(self.to.year.unwrap_or(year + over_the_turn))?;
        let [from, until] = [begins, ends].map(|wall| Moment::from(first_shown(wall, self.zone)));
        (from < until).then(|| Frozen { name: self.name.clone(), from, until })
    }

    /// Whether a yearly one ends in the year after that in which it begins. Every year has the same answer, whether it has a 29th of February or not.
    fn is_over_the_turn(&self) -> Option<bool> {
        Some(self.to.ends(LEAP_YEAR)? <= self.from.begins(LEAP_YEAR)?)
    }
}

impl Edge {
    fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.trim().split_once([' ', 'T']) {
            None => (text.trim(), None),
            Some((date, time)) => {
                let time = time.trim();
                let read = |form| NaiveTime::parse_from_str(time, form).ok();
                (date, Some(read("%H:%M").or_else(|| read("%H:%M:%S"))?))
            }
        };
        let numbers: Vec<&str> = date.split('-').collect();
        let number = |text: &str, digits: usize| -> Option<u32> {
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse().ok())?
        };
        let (year, month, day) = match numbers[..] {
            [year, month, day] => (Some(i32::try_from(number(year, 4)?).ok()?), month, day),
            [month, day] => (None, month, day),
            _ => return None,
        };
        let edge = Self { year, month: number(month, 2)?, day: number(day, 2)?, time };
        // The 29th of February is a day of every year that has one.
        edge.date(year.unwrap_or(LEAP_YEAR)).map(|_| edge)
    }

    fn date(&self, year: i32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(year, self.month, self.day)
    }

    fn begins(&self, year: i32) -> Option<NaiveDateTime> {
        match self.date(year) {
            Some(date) => Some(date.and_time(self.time.unwrap_or(NaiveTime::MIN))),
            // The 29th of February of a year without: between the day before and the day after.
            None => Some(NaiveDate::from_ymd_opt(year, 3, 1)?.and_time(NaiveTime::MIN)),
        }
    }

    fn ends(&self, year: i32) -> Option<NaiveDateTime> {
        match (self.time, self.date(year)) {
            (None, Some(date)) => Some((date + Days::new(1)).and_time(NaiveTime::MIN)),
            (None, None) | (Some(_), _) => self.begins(year),
        }
    }
}
